// The verb files: a transfer session in a child of its own, whose bytes the agent relays, so that a
// transfer never delays a log line or a signal.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "agent/server.h"
#include "transfer/serve.h"

namespace choline {

namespace {

constexpr uint32_t kAhead = uint32_t{4} << 20;  // bytes that a client may send before we take them

class Files : public Activity {
 public:
  using Activity::Activity;
  ~Files() override {
    if (watch_) server_.reactor().unwatch(watch_);
    if (pid_ <= 0) return;
    ::kill(pid_, SIGKILL);  // a file it was writing has not got its name yet
    server_.reactor().forget_exit(pid_);
  }

  Status start() {
    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
      return errno_error("make a socket pair", errno);
    }
    socket_.reset(ends[0]);
    UniqueFd far(ends[1]);
    pid_t self = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return errno_error("fork", errno);
    if (pid_ == 0) serve(far.get(), self);
    ::fcntl(socket_.get(), F_SETFL, O_NONBLOCK);
    watch_ = server_.reactor().watch(socket_.get(), POLLIN, [this](short seen) { ready(seen); });
    server_.reactor().on_exit(pid_, [this](int status) {
      pid_ = 0;
      status_ = status;
      pump();
    });
    return done();
  }

  void on_data(std::string_view bytes) override {
    if (waiting() == 0) bytes.remove_prefix(write(bytes));
    pending_ += bytes;
    arm();
  }
  void on_end() override {
    ended_ = true;
    if (waiting() == 0) ::shutdown(socket_.get(), SHUT_WR);
  }
  void on_room() override {
    if (!socket_ || !waits_for_room_) return;
    waits_for_room_ = false;
    arm();
  }

 private:
  [[noreturn]] void serve(int fd, pid_t parent) {
    restore_defaults();
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(1);
    int in = ::fcntl(fd, F_DUPFD, 10);
    int nothing = ::open("/dev/null", O_RDWR);
    for (int target : {0, 1, 2}) ::dup2(nothing, target);
    ::dup2(in, 3);
    close_from(4);
    ::_exit(serve_transfer(3, 3, ServeOptions{server_.place().root}));
  }

  size_t waiting() const { return pending_.size() - taken_; }

  void arm() {
    if (!watch_) return;
    server_.reactor().rewatch(watch_, static_cast<short>((waits_for_room_ ? 0 : POLLIN) |
                                                         (waiting() == 0 ? 0 : POLLOUT)));
  }

  void ready(short seen) {
    if (seen & POLLOUT) {
      taken_ += write(std::string_view(pending_).substr(taken_));
      // Seldom, as all behind it moves.
      if (taken_ == pending_.size() || taken_ >= kWindow) {
        pending_.erase(0, std::exchange(taken_, 0));
      }
      if (waiting() == 0 && ended_) ::shutdown(socket_.get(), SHUT_WR);
    }
    if (seen & (POLLIN | POLLHUP | POLLERR)) pump();
    arm();
    server_.kick();
  }

  // How much the child took, or was dropped because it has gone.
  size_t write(std::string_view bytes) {
    ssize_t wrote = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (wrote < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    size_t taken = wrote < 0 ? bytes.size() : static_cast<size_t>(wrote);
    server_.mux().consumed(channel_, taken);
    return taken;
  }

  void pump() {
    char buffer[size_t{64} << 10];
    while (socket_) {
      size_t room = server_.mux().room(channel_);
      if (room == 0) {
        waits_for_room_ = true;
        return arm();
      }
      ssize_t got = ::recv(socket_.get(), buffer, std::min(room, sizeof buffer), 0);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN && pid_ > 0) return;
      if (got <= 0) break;
      server_.mux().send(channel_, {buffer, static_cast<size_t>(got)});
      if (pid_ > 0) return;  // one read for each turn
    }
    if (socket_) {
      server_.reactor().unwatch(std::exchange(watch_, 0));
      socket_.reset();
      server_.mux().end(channel_);
      pending_.clear();
      taken_ = 0;
    }
    if (pid_ > 0) return;  // its exit will come
    server_.finish(channel_, Json{{"code", exit_code(status_)}});
    server_.kick();
  }

  UniqueFd socket_;
  pid_t pid_ = 0;
  int status_ = 0;
  Reactor::Id watch_ = 0;
  std::string pending_;  // for the child
  size_t taken_ = 0;     // of pending_
  bool ended_ = false, waits_for_room_ = false;
};

}  // namespace

std::unique_ptr<Activity> make_files(Server& server, uint32_t channel, const Json&) {
  auto files = std::make_unique<Files>(server, channel);
  Status started = files->start();
  if (started) {
    // A client behind a long line has much on its way.
    server.mux().widen(channel, kAhead - kWindow);
    return files;
  }
  server.finish(channel, error_answer(started.error()));
  return nullptr;
}

}  // namespace choline
