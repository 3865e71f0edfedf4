// The verb terminal: a shell or a command on a pseudo-terminal, whose bytes go over the channel.
// Its session ends with the channel, the link or the agent, however those end.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <utility>

#include "agent/guard.h"
#include "agent/server.h"

namespace choline {

namespace {

constexpr int kReads = 16;
constexpr double kLookAgain = 0.1;  // seconds, at a terminal that nobody has open for now

// A pair of descriptors by hand: a static program has no openpty that works everywhere.
struct Pty {
  UniqueFd near, far;
};

Result<Pty> open_pty() {
  Pty pty;
  pty.near.reset(::open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  if (!pty.near) {
    pty.near.reset(::open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  }
  int unlocked = 0, number = 0;
  if (pty.near && ::ioctl(pty.near.get(), TIOCSPTLCK, &unlocked) == 0 &&
      ::ioctl(pty.near.get(), TIOCGPTN, &number) == 0) {
#ifdef TIOCGPTPEER  // needs no path, so it works where /dev/pts is that of another container
    pty.far.reset(::ioctl(pty.near.get(), TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC));
#endif
    std::string path = "/dev/pts/" + std::to_string(number);
    if (!pty.far) pty.far.reset(::open(path.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC));
  }
  if (pty.far) return pty;
  Error why = errno_error("open /dev/ptmx", errno);
  return Error(ErrorKind::unsupported, "the instance has no pseudo-terminals (" + why.message +
                                           "); /dev/pts is not mounted there, or all are in use; "
                                           "a command without a terminal works");
}

void set_size(int fd, const Json& size) {
  const Json rows = size.value("rows", Json()), columns = size.value("columns", Json());
  if (!rows.is_number_unsigned() || !columns.is_number_unsigned()) return;
  winsize window{};
  window.ws_row = static_cast<uint16_t>(std::clamp<uint64_t>(rows.get<uint64_t>(), 1, UINT16_MAX));
  window.ws_col =
      static_cast<uint16_t>(std::clamp<uint64_t>(columns.get<uint64_t>(), 1, UINT16_MAX));
  // Whoever runs there gets SIGWINCH from the kernel; a size that cannot be set is no reason to
  // end.
  if (::ioctl(fd, TIOCSWINSZ, &window) != 0) return;
}

[[noreturn]] void run_on(const Program& program, int terminal, pid_t parent) {
  restore_defaults();
  ::setsid();
  ::prctl(PR_SET_PDEATHSIG, SIGHUP);
  if (::getppid() != parent) ::_exit(127);
  if (::ioctl(terminal, TIOCSCTTY, 0) != 0) ::_exit(127);
  for (int target = 0; target < 3; target++) {
    if (::dup2(terminal, target) < 0) ::_exit(127);
  }
  execute_here(program);
}

class Terminal : public Activity {
 public:
  Terminal(Server& server, uint32_t channel)
      : Activity(server, channel), guard_(server.reactor()) {}
  ~Terminal() override {
    server_.reactor().cancel(timer_);
    if (watch_) server_.reactor().unwatch(watch_);
    if (pid_ > 0) server_.reactor().forget_exit(pid_);
  }

  Status start(const Program& program, const Json& request) {
    Result<Pty> pty = open_pty();
    if (!pty) return pty.error();
    set_size(pty->near.get(), request);
    termios modes{};
    if (::tcgetattr(pty->far.get(), &modes) == 0) {
      modes.c_iflag |= IUTF8;
      if (::tcsetattr(pty->far.get(), TCSANOW, &modes) != 0) return errno_error("tcsetattr", errno);
    }
    pid_t self = ::getpid();
    pid_ = ::fork();
    if (pid_ < 0) return errno_error("fork", errno);
    if (pid_ == 0) run_on(program, pty->far.get(), self);
    server_.reactor().on_exit(pid_, [this](int status) {
      pid_ = 0;
      status_ = status;
      exited_ = true;
      pump();
    });
    Status guarded = guard_.start(pid_, Guard::Way::hang_up);
    if (!guarded) ::kill(pid_, SIGKILL);
    if (!guarded) return guarded;
    near_ = std::move(pty->near);
    watch_ = server_.reactor().watch(near_.get(), POLLIN, [this](short seen) { ready(seen); });
    return done();
  }

  void on_data(std::string_view bytes) override {
    if (!near_) return server_.mux().consumed(channel_, bytes.size());
    pending_ += bytes;
    feed();
  }
  void on_room() override { pump(); }
  void on_note(const Json& note) override {
    if (near_) set_size(near_.get(), note);
  }

 private:
  void ready(short seen) {
    if (seen & POLLOUT) feed();
    if (seen & (POLLIN | POLLHUP | POLLERR)) pump();
  }

  // At the end of input nothing is done: a terminal has none.
  void feed() {
    while (near_ && !pending_.empty()) {
      ssize_t wrote = ::write(near_.get(), pending_.data(), pending_.size());
      if (wrote < 0 && errno == EINTR) continue;
      if (wrote < 0 && errno == EAGAIN) break;
      size_t taken = wrote < 0 ? pending_.size() : static_cast<size_t>(wrote);
      pending_.erase(0, taken);
      server_.mux().consumed(channel_, taken);
    }
    arm();
    server_.kick();
  }

  void arm() {
    if (!watch_) return;
    int wanted = full_ ? 0 : POLLIN;
    if (!pending_.empty()) wanted |= POLLOUT;
    server_.reactor().rewatch(watch_, static_cast<short>(wanted));
  }

  void pump() {
    read_output();
    server_.kick();
  }

  void read_output() {
    // A terminal gives little at once; not all of it is taken in one turn, so that nothing else
    // waits.
    for (int reads = 0; near_ && (exited_ || reads < kReads); reads++) {
      size_t room = server_.mux().room(channel_);
      full_ = room == 0;
      if (full_) return arm();
      char buffer[16384];
      ssize_t got = ::read(near_.get(), buffer, std::min(room, sizeof buffer));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0 && errno == EAGAIN && !exited_) return arm();
      if (got <= 0) {
        // EIO: nobody has the terminal open. It may be opened again by what still runs there.
        if (!exited_) return wait_for_exit();
        return finish();
      }
      server_.mux().send(channel_, {buffer, static_cast<size_t>(got)});
    }
    arm();
  }

  void wait_for_exit() {
    server_.reactor().rewatch(watch_, 0);
    server_.reactor().cancel(timer_);
    timer_ = server_.reactor().timer(kLookAgain, [this] { pump(); });
  }

  void finish() {
    server_.reactor().unwatch(std::exchange(watch_, 0));
    server_.reactor().cancel(timer_);
    near_.reset();
    guard_.release();
    server_.mux().consumed(channel_, std::exchange(pending_, {}).size());
    server_.finish(channel_, Json{{"code", exit_code(status_)}, {"signal", exit_signal(status_)}});
    server_.kick();
  }

  UniqueFd near_;
  pid_t pid_ = 0;  // 0: not started, or reaped
  Guard guard_;
  Reactor::Id watch_ = 0, timer_ = 0;
  std::string pending_;  // input
  bool full_ = false, exited_ = false;
  int status_ = 0;
};

}  // namespace

std::unique_ptr<Activity> make_terminal(Server& server, uint32_t channel, const Json& request) {
  Result<Program> program = read_program(request, server.place());
  Status started = program ? done() : Status(program.error());
  auto terminal = std::make_unique<Terminal>(server, channel);
  if (started) started = terminal->start(*program, request);
  if (started) return terminal;
  server.finish(channel, error_answer(started.error()));
  return nullptr;
}

}  // namespace choline
