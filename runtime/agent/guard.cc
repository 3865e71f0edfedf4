#include "agent/guard.h"

#include <signal.h>
#include <unistd.h>

#include <cerrno>

#include "agent/process.h"

namespace choline {

namespace {

constexpr int kSteps = 150;  // until what ignores SIGHUP is killed
constexpr useconds_t kStep = 20000;

// To the session, also when its leader has not got to begin it yet; how many processes there are.
int kill_all(const ProcessName& leader, int number) {
  int found = kill_session(leader.pid, number);
  if (found > 0 || !is_alive(leader)) return found;
  if (number != 0) ::kill(leader.pid, number);
  return 1;
}

// Anything but the word that the session has ended by itself means that it must.
[[noreturn]] void watch(pid_t pid, int leash, Guard::Way way) {
  restore_defaults();
  ::setsid();
  ::dup2(leash, 0);
  close_from(1);
  ProcessName leader = name_process(pid).value_or(ProcessName{pid, 0});
  char word = 0;
  ssize_t got = 0;
  do {
    got = ::read(0, &word, 1);
  } while (got < 0 && errno == EINTR);
  if (got == 1 && word == 'x') ::_exit(0);
  if (way == Guard::Way::hang_up) {
    kill_all(leader, SIGHUP);
    kill_all(leader, SIGCONT);
    for (int step = 0; step < kSteps && kill_all(leader, 0) > 0; step++) ::usleep(kStep);
  }
  // Again and again: it may be making children while it is killed.
  for (int step = 0; step < kSteps && kill_all(leader, SIGKILL) > 0; step++) ::usleep(kStep);
  ::_exit(0);
}

}  // namespace

Guard::~Guard() {
  end();
  if (pid_ > 0) reactor_.forget_exit(pid_);
}

Status Guard::start(pid_t leader, Way way) {
  Result<Pipe> leash = make_pipe();
  if (!leash) return leash.error();
  pid_ = ::fork();
  if (pid_ < 0) return errno_error("fork", errno);
  if (pid_ == 0) watch(leader, leash->read.get(), way);
  reactor_.on_exit(pid_, [this](int) { pid_ = 0; });
  leash_ = std::move(leash->write);
  return done();
}

// By a word and not only by the end of the pipe: another child of the agent may have a copy of it.
void Guard::tell(char word) {
  if (!leash_) return;
  // A guard that was killed reads nothing, and nothing more can be done.
  if (::write(leash_.get(), &word, 1) != 1) leash_.reset();
  leash_.reset();
}

}  // namespace choline
