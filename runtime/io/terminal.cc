#include "io/terminal.h"

#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>

namespace choline {

namespace {

// All that ends a process by default, but for those that choline's loop takes.
constexpr std::array kDeadly = {SIGQUIT, SIGILL,    SIGTRAP, SIGABRT, SIGBUS,    SIGFPE,
                                SIGUSR1, SIGSEGV,   SIGUSR2, SIGALRM, SIGSTKFLT, SIGXCPU,
                                SIGXFSZ, SIGVTALRM, SIGPROF, SIGIO,   SIGPWR,    SIGSYS};

// What the handler of a deadly signal needs; set before `raw_fd`.
termios saved_modes;
volatile sig_atomic_t raw_fd = -1;

void put_back(int number) {
  int kept = errno;
  if (raw_fd >= 0) ::tcsetattr(raw_fd, TCSADRAIN, &saved_modes);
  errno = kept;
  ::raise(number);  // SA_RESETHAND: now as if nobody had minded
}

void mind_deadly_signals(bool minding) {
  for (int number : kDeadly) {
    struct sigaction now {};
    if (::sigaction(number, nullptr, &now) != 0) continue;
    bool ours = now.sa_handler == put_back;
    // A handler of somebody else (a sanitizer's) stays.
    if (minding ? now.sa_handler != SIG_DFL : !ours) continue;
    struct sigaction wanted {};
    wanted.sa_handler = minding ? put_back : SIG_DFL;
    wanted.sa_flags = minding ? static_cast<int>(SA_RESETHAND) | SA_NODEFER : 0;
    if (::sigaction(number, &wanted, nullptr) != 0) return;
  }
}

bool in_foreground(int fd) {
  pid_t group = ::tcgetpgrp(fd);
  return group < 0 || group == ::getpgrp();
}

}  // namespace

std::optional<WindowSize> window_size(int fd) {
  if (!::isatty(fd)) return std::nullopt;
  winsize size{};
  if (::ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) {
    return WindowSize{};
  }
  return WindowSize{size.ws_row, size.ws_col};
}

RawTerminal::RawTerminal(int fd) : fd_(fd) {
  known_ = ::tcgetattr(fd_, &before_) == 0;
}

RawTerminal::~RawTerminal() {
  leave();
}

void RawTerminal::enter() {
  if (!known_ || raw_ || !in_foreground(fd_)) return;
  saved_modes = before_;
  raw_fd = fd_;
  mind_deadly_signals(true);
  termios raw = before_;
  ::cfmakeraw(&raw);
  raw_ = ::tcsetattr(fd_, TCSADRAIN, &raw) == 0;
}

void RawTerminal::leave() {
  if (!raw_) return;
  raw_ = false;
  // In the background it would be taken from whoever has it now; a shell has put it back itself.
  if (in_foreground(fd_) && ::tcsetattr(fd_, TCSADRAIN, &before_) != 0) known_ = false;
  raw_fd = -1;
  mind_deadly_signals(false);
}

void RawTerminal::suspend() {
  leave();
  sigset_t stop, before;
  ::sigemptyset(&stop);
  ::sigaddset(&stop, SIGTSTP);
  ::pthread_sigmask(SIG_UNBLOCK, &stop, &before);
  // By its default, and not SIGSTOP: it does nothing where nobody could ever continue us.
  ::kill(::getpid(), SIGTSTP);
  ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
  enter();
}

}  // namespace choline
