#include "loop/epoll_loop.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cerrno>
#include <cmath>
#include <exception>
#include <system_error>
#include <utility>

#include "base/time.h"

namespace choline {

namespace {

constexpr int kWorkers = 2;
constexpr int kBatch = 256;
// epoll_data marks: (descriptor << 32 | generation) for watches; generation 0 is ours alone.
enum : uint64_t {
  kTimerMark = 0,
  kInboxMark = 1ULL << 32,
  kSignalMark = 2ULL << 32,
  kJumpMark = 3ULL << 32
};
// Where a kernel has no pidfds, children are asked after this often.
constexpr double kExitPollSeconds = 0.05;

[[noreturn]] void broken(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

uint32_t epoll_bits(unsigned events) {
  uint32_t bits = 0;
  if (events & kReadable) bits |= EPOLLIN | EPOLLRDHUP;
  if (events & kWritable) bits |= EPOLLOUT;
  return bits;
}

unsigned ready_bits(uint32_t bits) {
  unsigned seen = 0;
  if (bits & (EPOLLIN | EPOLLRDHUP)) seen |= kReadable;
  if (bits & EPOLLOUT) seen |= kWritable;
  if (bits & (EPOLLHUP | EPOLLERR)) seen |= kHangup;
  return seen;
}

int open_pidfd(pid_t pid) {
  return static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
}

ExitStatus exit_status(const siginfo_t& info) {
  ExitStatus status;
  if (info.si_code == CLD_EXITED) {
    status.code = info.si_status;
  } else {
    status.signal = info.si_status;
    status.code = 128 + info.si_status;
  }
  return status;
}

// Reaps `pid` if it has ended. A pid that is no child of ours counts as ended with 255.
bool try_reap(pid_t pid, ExitStatus& status) {
  siginfo_t info{};
  int outcome = 0;
  do {
    outcome = waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG);
  } while (outcome != 0 && errno == EINTR);
  if (outcome != 0) {
    status.code = 255;
    return true;
  }
  if (info.si_pid == 0) return false;
  status = exit_status(info);
  return true;
}

}  // namespace

EpollLoop::EpollLoop()
    : epoll_(epoll_create1(EPOLL_CLOEXEC)),
      timer_fd_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)),
      workers_(inbox_, kWorkers) {
  if (!epoll_) broken("epoll_create1");
  if (!timer_fd_) broken("timerfd_create");
  add_internal(timer_fd_.get(), kTimerMark);
  add_internal(inbox_.fd(), kInboxMark);
  pthread_sigmask(SIG_SETMASK, nullptr, &mask_before_);
}

EpollLoop::~EpollLoop() {
  if (!signals_.empty()) pthread_sigmask(SIG_SETMASK, &mask_before_, nullptr);
}

double EpollLoop::wall() {
  return wall_now();
}
double EpollLoop::ticks() {
  return boot_now();
}

void EpollLoop::add_internal(int fd, uint64_t mark) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = mark;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) broken("epoll_ctl");
}

TimerId EpollLoop::timer(double seconds, Fn fn) {
  assert(seconds >= 0);
  return timers_.add(ticks() + seconds, std::move(fn));
}

void EpollLoop::cancel(TimerId id) {
  timers_.cancel(id);
}

// Makes epoll wait for what the watches of `fd` together want.
void EpollLoop::arm(int fd, Descriptor& descriptor) {
  uint32_t wanted = 0;
  for (WatchId id : descriptor.watches) wanted |= epoll_bits(watches_.at(id).events);
  bool known = descriptor.generation != 0;
  if (descriptor.always_ready || (known && wanted == descriptor.armed)) return;
  if (!known) {
    if (++last_generation_ == 0) ++last_generation_;
    descriptor.generation = last_generation_;
  }
  epoll_event event{};
  event.events = wanted;
  event.data.u64 = static_cast<uint64_t>(static_cast<uint32_t>(fd)) << 32 | descriptor.generation;
  int outcome = epoll_ctl(epoll_.get(), known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event);
  // The number was closed and given out again while somebody still watched it, or the other way
  // round: say the other thing.
  if (outcome != 0 && known && errno == ENOENT) {
    outcome = epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
  } else if (outcome != 0 && !known && errno == EEXIST) {
    outcome = epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
  }
  if (outcome != 0) {
    // EPERM: a regular file or a folder. EBADF: closed under its watcher; its reader sees the
    // error from read(), which is better than a wait without end.
    if (errno != EPERM && errno != EBADF) broken("epoll_ctl");
    descriptor.always_ready = true;
    ++always_ready_;
  }
  descriptor.armed = wanted;
}

WatchId EpollLoop::watch(int fd, unsigned events, std::function<void(unsigned)> fn) {
  WatchId id = ++last_watch_;
  watches_.emplace(
      id, Watch{fd, events, std::make_shared<std::function<void(unsigned)>>(std::move(fn))});
  Descriptor& descriptor = descriptors_[fd];
  descriptor.watches.push_back(id);
  arm(fd, descriptor);
  return id;
}

void EpollLoop::rewatch(WatchId id, unsigned events) {
  auto found = watches_.find(id);
  if (found == watches_.end()) return;
  found->second.events = events;
  arm(found->second.fd, descriptors_.at(found->second.fd));
}

void EpollLoop::unwatch(WatchId id) {
  auto found = watches_.find(id);
  if (found == watches_.end()) return;
  int fd = found->second.fd;
  watches_.erase(found);
  auto place = descriptors_.find(fd);
  std::erase(place->second.watches, id);
  if (!place->second.watches.empty()) {
    arm(fd, place->second);
    return;
  }
  if (place->second.always_ready) {
    --always_ready_;
  } else if (epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr) != 0 && errno != EBADF &&
             errno != ENOENT) {
    broken("epoll_ctl");
  }
  descriptors_.erase(place);
}

void EpollLoop::post(Fn fn) {
  posts_.push_back(std::move(fn));
}
void EpollLoop::post_from_thread(Fn fn) {
  inbox_.push(std::move(fn));
}

void EpollLoop::on_signal(int number, std::function<void(int)> fn) {
  signals_[number] = std::make_shared<std::function<void(int)>>(std::move(fn));
  sigset_t wanted;
  sigemptyset(&wanted);
  for (const auto& [signal, handler] : signals_) sigaddset(&wanted, signal);
  pthread_sigmask(SIG_BLOCK, &wanted, nullptr);
  bool first = !signal_fd_;
  int fd = signalfd(first ? -1 : signal_fd_.get(), &wanted, SFD_CLOEXEC | SFD_NONBLOCK);
  if (fd < 0) broken("signalfd");
  if (!first) return;
  signal_fd_.reset(fd);
  add_internal(fd, kSignalMark);
}

void EpollLoop::on_exit(pid_t pid, std::function<void(ExitStatus)> fn) {
  auto shared = std::make_shared<std::function<void(ExitStatus)>>(std::move(fn));
  auto pidfd = std::make_shared<UniqueFd>(open_pidfd(pid));
  if (!*pidfd) {
    poll_exit(pid, std::move(shared));
    return;
  }
  fcntl(pidfd->get(), F_SETFD, FD_CLOEXEC);
  auto id = std::make_shared<WatchId>(0);
  *id = watch(pidfd->get(), kReadable, [this, pid, pidfd, id, shared](unsigned) {
    ExitStatus status;
    if (!try_reap(pid, status)) return;
    unwatch(*id);
    (*shared)(status);
  });
}

void EpollLoop::poll_exit(pid_t pid, std::shared_ptr<std::function<void(ExitStatus)>> fn) {
  timer(0, [this, pid, fn] {
    ExitStatus status;
    if (try_reap(pid, status)) {
      (*fn)(status);
    } else {
      timer(kExitPollSeconds, [this, pid, fn] { poll_exit(pid, fn); });
    }
  });
}

void EpollLoop::on_clock_jump(Fn fn) {
  jumps_.push_back(std::make_shared<Fn>(std::move(fn)));
  if (jump_fd_) return;
  jump_fd_.reset(timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK));
  if (!jump_fd_) broken("timerfd_create");
  arm_clock_jump();
  add_internal(jump_fd_.get(), kJumpMark);
}

// A timer of the wall clock, centuries away: the kernel cancels it when the clock is set and when
// the machine wakes.
void EpollLoop::arm_clock_jump() {
  itimerspec far{};
  far.it_value.tv_sec = 9'000'000'000;
  int outcome =
      timerfd_settime(jump_fd_.get(), TFD_TIMER_ABSTIME | TFD_TIMER_CANCEL_ON_SET, &far, nullptr);
  // ECANCELED tells of a jump in between; the timer is armed all the same.
  if (outcome != 0 && errno != ECANCELED) broken("timerfd_settime");
}

void EpollLoop::work(Fn blocking, Fn done) {
  ++working_;
  workers_.add(std::move(blocking), [this, end = std::move(done)](std::exception_ptr thrown) {
    --working_;
    if (thrown) std::rethrow_exception(thrown);
    end();
  });
}

bool EpollLoop::is_alive() const {
  return !posts_.empty() || !timers_.empty() || !watches_.empty() || working_ > 0;
}

void EpollLoop::run() {
  stopped_ = false;
  while (!stopped_) {
    run_posts();
    if (!stopped_) run_timers();
    if (stopped_) break;
    if (!is_alive()) {
      wait_and_dispatch(false);  // a thread may just have posted
      if (!is_alive()) break;
      continue;
    }
    wait_and_dispatch(posts_.empty());
  }
}

void EpollLoop::run_posts() {
  // Only those that are there now: what they post belongs to the next turn.
  for (size_t left = posts_.size(); left > 0 && !stopped_; --left) {
    Fn fn = std::move(posts_.front());
    posts_.pop_front();
    fn();
  }
}

void EpollLoop::run_timers() {
  if (timers_.empty()) return;
  double now = ticks();
  TimerId newest = timers_.last_id();
  while (!stopped_) {
    std::optional<Fn> fn = timers_.take_due(now, newest);
    if (!fn) break;
    (*fn)();
  }
}

void EpollLoop::arm_timer() {
  std::optional<double> earliest = timers_.earliest();
  double wanted = earliest ? std::max(*earliest, 1e-9) : -1;
  if (wanted == armed_for_) return;
  itimerspec when{};
  if (earliest) {
    double whole = std::floor(wanted);
    when.it_value.tv_sec = static_cast<time_t>(whole);
    when.it_value.tv_nsec = std::min(999'999'999L, std::lround((wanted - whole) * 1e9));
    if (when.it_value.tv_sec == 0 && when.it_value.tv_nsec == 0) when.it_value.tv_nsec = 1;
  }
  if (timerfd_settime(timer_fd_.get(), TFD_TIMER_ABSTIME, &when, nullptr) != 0) {
    broken("timerfd_settime");
  }
  armed_for_ = wanted;
}

void EpollLoop::wait_and_dispatch(bool may_block) {
  std::optional<double> earliest = timers_.earliest();
  bool due = earliest && *earliest <= ticks();
  bool block = may_block && !due && always_ready_ == 0;
  if (block) arm_timer();
  std::array<epoll_event, kBatch> events;
  int count = epoll_wait(epoll_.get(), events.data(), kBatch, block ? -1 : 0);
  if (count < 0 && errno != EINTR) broken("epoll_wait");
  for (int at = 0; at < count && !stopped_; ++at) {
    const epoll_event& event = events[static_cast<size_t>(at)];
    dispatch(event.data.u64, event.events);
  }
  if (always_ready_ > 0 && !stopped_) deliver_always_ready();
}

void EpollLoop::dispatch(uint64_t mark, uint32_t epoll_events) {
  if (mark == kTimerMark) {
    uint64_t fired = 0;
    // Only wakes epoll; run_timers() decides what is due.
    if (read(timer_fd_.get(), &fired, sizeof fired) < 0 && errno != EAGAIN) broken("timerfd");
    armed_for_ = -1;
  } else if (mark == kInboxMark) {
    take_inbox();
  } else if (mark == kSignalMark) {
    take_signals();
  } else if (mark == kJumpMark) {
    take_clock_jump();
  } else {
    int fd = static_cast<int>(mark >> 32);
    auto found = descriptors_.find(fd);
    // Another handler of this batch has let go of the descriptor, and its number may live again.
    if (found == descriptors_.end() || found->second.generation != static_cast<uint32_t>(mark)) {
      return;
    }
    deliver(fd, ready_bits(epoll_events));
  }
}

void EpollLoop::deliver(int fd, unsigned seen) {
  std::vector<WatchId> ids = descriptors_.at(fd).watches;
  for (WatchId id : ids) {
    if (stopped_) return;  // level-triggered: it comes again
    auto found = watches_.find(id);
    if (found == watches_.end() || found->second.fd != fd) continue;
    unsigned wanted = seen & (found->second.events | kHangup);
    if (wanted == 0) continue;
    WatchFn fn = found->second.fn;
    (*fn)(wanted);
  }
}

void EpollLoop::deliver_always_ready() {
  std::vector<int> ready;
  for (const auto& [fd, descriptor] : descriptors_) {
    if (descriptor.always_ready) ready.push_back(fd);
  }
  std::sort(ready.begin(), ready.end());
  for (int fd : ready) {
    if (descriptors_.contains(fd)) deliver(fd, kReadable | kWritable);
  }
}

void EpollLoop::take_inbox() {
  // Through posts_, so that one that stops the loop or throws does not lose the rest.
  for (Fn& fn : inbox_.take()) posts_.push_back(std::move(fn));
}

void EpollLoop::take_signals() {
  for (;;) {
    signalfd_siginfo info{};
    ssize_t got = read(signal_fd_.get(), &info, sizeof info);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0 && errno == EAGAIN) return;
    if (got != static_cast<ssize_t>(sizeof info)) broken("signalfd");
    int number = static_cast<int>(info.ssi_signo);
    auto found = signals_.find(number);
    if (found == signals_.end()) continue;
    std::shared_ptr<std::function<void(int)>> fn = found->second;
    (*fn)(number);
  }
}

void EpollLoop::take_clock_jump() {
  uint64_t fired = 0;
  ssize_t got = read(jump_fd_.get(), &fired, sizeof fired);
  bool jumped = got < 0 && errno == ECANCELED;
  if (got < 0 && !jumped && errno != EAGAIN) broken("timerfd");
  if (got < 0 && !jumped) return;
  arm_clock_jump();
  std::vector<std::shared_ptr<Fn>> handlers = jumps_;
  for (const std::shared_ptr<Fn>& fn : handlers) (*fn)();
}

}  // namespace choline
