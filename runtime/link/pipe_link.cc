#include "link/pipe_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "base/text.h"
#include "base/unique_fd.h"
#include "io/process.h"

namespace choline {

namespace {

constexpr size_t kRead = size_t{64} << 10;
constexpr size_t kKeptComplaint = 4096;  // of what the child wrote to stderr, the end
constexpr double kGrace = 2;             // seconds between TERM and KILL

class PipeLink : public Link {
 public:
  PipeLink(Loop& loop, std::string program, UniqueFd socket, Spawned spawned)
      : loop_(loop), program_(std::move(program)), socket_(std::move(socket)) {
    child_.emplace(loop, std::move(spawned), false, kGrace);
    complaint_watch_ =
        loop.watch(child_->err.get(), kReadable, [this](unsigned) { read_complaints(); });
    child_->on_end([this] {
      if (ended_) tell_end();
    });
  }
  ~PipeLink() override {
    *alive_ = false;
    close();
  }

  void listen(Handlers handlers) override {
    handlers_ = std::move(handlers);
    if (!watch_ && socket_ && !ended_) {
      watch_ = loop_.watch(socket_.get(), wanted(), [this](unsigned seen) { ready(seen); });
    }
  }

  size_t write(std::string_view bytes) override {
    if (!socket_ || ended_) return bytes.size();  // `closed` tells that nobody reads
    size_t sent = 0;
    while (sent < bytes.size()) {
      ssize_t wrote = ::send(socket_.get(), bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0 && errno == EAGAIN) break;
      if (wrote < 0) return bytes.size();  // the reading side will meet the end
      sent += static_cast<size_t>(wrote);
    }
    set_blocked(sent < bytes.size());
    return sent;
  }

  void close() override {
    if (!socket_) return;
    handlers_ = {};
    if (watch_) loop_.unwatch(std::exchange(watch_, 0));
    if (complaint_watch_) loop_.unwatch(std::exchange(complaint_watch_, 0));
    if (end_timer_) loop_.cancel(std::exchange(end_timer_, 0));
    socket_.reset();
    child_.reset();
  }

  std::string name() const override { return "pipe to " + program_; }

 private:
  unsigned wanted() const { return blocked_ ? kReadable | kWritable : kReadable; }

  void set_blocked(bool blocked) {
    if (blocked == blocked_) return;
    blocked_ = blocked;
    if (watch_) loop_.rewatch(watch_, wanted());
  }

  void ready(unsigned seen) {
    std::shared_ptr<bool> alive = alive_;  // a handler may lead to our end
    if ((seen & kWritable) && blocked_) {
      set_blocked(false);
      if (handlers_.writable) handlers_.writable();
      if (!*alive || !socket_) return;
    }
    if (!(seen & (kReadable | kHangup))) return;
    char buffer[kRead];
    ssize_t got = ::recv(socket_.get(), buffer, sizeof buffer, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (got > 0) {
      auto bytes = handlers_.bytes;  // a copy: the handler may set others
      if (bytes) bytes({buffer, static_cast<size_t>(got)});
      return;
    }
    ended_ = true;
    loop_.unwatch(std::exchange(watch_, 0));
    if (child_->status()) return tell_end();
    // The exit status says why; a program that closes its output and stays is not waited for.
    end_timer_ = loop_.timer(1, [this] {
      end_timer_ = 0;
      tell_end();
    });
  }

  void read_complaints() {
    char buffer[4096];
    while (child_->err) {
      ssize_t got = ::read(child_->err.get(), buffer, sizeof buffer);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN) return;
      if (got <= 0) {
        if (complaint_watch_) loop_.unwatch(std::exchange(complaint_watch_, 0));
        return;
      }
      complaint_.append(buffer, static_cast<size_t>(got));
      if (complaint_.size() > kKeptComplaint)
        complaint_.erase(0, complaint_.size() - kKeptComplaint);
    }
  }

  void tell_end() {
    if (!socket_) return;
    read_complaints();
    std::string why = "the " + name() + " has ended";
    std::optional<ExitStatus> status = child_->status();
    if (status && status->signal != 0) {
      why += " by signal " + std::to_string(status->signal);
    } else if (status) {
      why += " with exit code " + std::to_string(status->code);
    }
    std::string_view said = trim(complaint_);
    if (!said.empty()) why += ": " + std::string(said);
    auto closed = handlers_.closed;
    close();
    if (closed) closed(Error(ErrorKind::lost, std::move(why)));
  }

  Loop& loop_;
  std::string program_;
  UniqueFd socket_;             // the child's stdin and stdout
  std::optional<Child> child_;  // until close(); ends then, or is made to
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Handlers handlers_;
  WatchId watch_ = 0, complaint_watch_ = 0;
  TimerId end_timer_ = 0;
  std::string complaint_;
  bool blocked_ = false, ended_ = false;
};

}  // namespace

Result<std::unique_ptr<Link>> open_pipe_link(Loop& loop, PipeLinkOptions options) {
  if (options.argv.empty()) return Error(ErrorKind::invalid, "a link needs a program");
  // One socket for both directions: with MSG_NOSIGNAL a child that has gone is no SIGPIPE.
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return errno_error("make a socket pair", errno);
  }
  UniqueFd near(ends[0]), far(ends[1]);
  ::fcntl(near.get(), F_SETFL, O_NONBLOCK);
  SpawnOptions spawn_options;
  std::string program = options.argv[0];
  spawn_options.argv = std::move(options.argv);
  if (options.clean_env) spawn_options.env.emplace();
  spawn_options.extra_env = std::move(options.env);
  spawn_options.folder = std::move(options.dir);
  spawn_options.in_fd = spawn_options.out_fd = far.get();
  Result<Spawned> spawned = spawn(spawn_options);
  if (!spawned) return spawned.error();
  return std::unique_ptr<Link>(
      std::make_unique<PipeLink>(loop, std::move(program), std::move(near), std::move(*spawned)));
}

}  // namespace choline
