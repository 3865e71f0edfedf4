#include "loop/sim_loop.h"

#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cassert>
#include <cerrno>
#include <cmath>
#include <limits>
#include <system_error>
#include <utility>

#include "base/unique_fd.h"

namespace choline {

TimerId SimLoop::timer(double seconds, Fn fn) {
  assert(seconds >= 0);
  return timers_.add(now_ + seconds, std::move(fn));
}

WatchId SimLoop::watch(int fd, unsigned events, std::function<void(unsigned)> fn) {
  WatchId id = ++last_watch_;
  watches_.emplace(
      id, Watch{fd, events, std::make_shared<std::function<void(unsigned)>>(std::move(fn))});
  return id;
}

void SimLoop::rewatch(WatchId id, unsigned events) {
  auto found = watches_.find(id);
  if (found != watches_.end()) found->second.events = events;
}

void SimLoop::on_signal(int number, std::function<void(int)> fn) {
  signals_[number] = std::make_shared<std::function<void(int)>>(std::move(fn));
}

void SimLoop::raise_signal(int number) {
  auto found = signals_.find(number);
  if (found == signals_.end()) return;
  post([fn = found->second, number] { (*fn)(number); });
}

void SimLoop::on_exit(pid_t pid, std::function<void(ExitStatus)> fn) {
  int raw = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  auto pidfd = std::make_shared<UniqueFd>(raw);
  auto id = std::make_shared<WatchId>(0);
  auto finish = [this, pid, pidfd, id, fn = std::move(fn)](unsigned) {
    siginfo_t info{};
    ExitStatus status;
    if (waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG) != 0) {
      status.code = 255;  // no child of ours
    } else if (info.si_pid == 0) {
      return;
    } else if (info.si_code == CLD_EXITED) {
      status.code = info.si_status;
    } else {
      status.signal = info.si_status;
      status.code = 128 + info.si_status;
    }
    auto call = fn;  // unwatch() destroys this closure
    unwatch(*id);
    call(status);
  };
  if (raw < 0) {
    post([finish] { finish(0); });
  } else {
    *id = watch(raw, kReadable, finish);
  }
}

void SimLoop::on_clock_jump(Fn fn) {
  jumps_.push_back(std::make_shared<Fn>(std::move(fn)));
}

void SimLoop::work(Fn blocking, Fn done) {
  post([this, blocking = std::move(blocking), done = std::move(done)] {
    blocking();
    post(done);
  });
}

void SimLoop::clock_jumped() {
  for (const std::shared_ptr<Fn>& fn : jumps_) post([fn] { (*fn)(); });
}

void SimLoop::jump_wall(double seconds) {
  wall_offset_ += seconds;
  clock_jumped();
}

void SimLoop::suspend(double seconds) {
  now_ += seconds;
  clock_jumped();
}

void SimLoop::stall(double seconds) {
  now_ += seconds;
}

// Delivers what is ready, asking the kernel. True when a handler ran.
bool SimLoop::poll_watches(bool block) {
  std::vector<pollfd> polls;
  std::vector<WatchId> ids;
  polls.push_back({inbox_.fd(), POLLIN, 0});
  ids.push_back(0);
  for (const auto& [id, watch] : watches_) {
    short events = 0;
    if (watch.events & kReadable) events |= POLLIN | POLLRDHUP;
    if (watch.events & kWritable) events |= POLLOUT;
    polls.push_back({watch.fd, events, 0});
    ids.push_back(id);
  }
  int count = poll(polls.data(), polls.size(), block ? -1 : 0);
  if (count < 0 && errno != EINTR) throw std::system_error(errno, std::generic_category(), "poll");
  bool any = false;
  for (size_t at = 0; at < polls.size() && count > 0 && !stopped_; ++at) {
    int seen = polls[at].revents;
    if (seen == 0) continue;
    any = true;
    if (at == 0) {
      for (Fn& fn : inbox_.take()) posts_.push_back(std::move(fn));
      continue;
    }
    auto found = watches_.find(ids[at]);
    if (found == watches_.end() || found->second.fd != polls[at].fd) continue;
    unsigned ready = 0;
    if (seen & (POLLIN | POLLRDHUP)) ready |= kReadable;
    if (seen & POLLOUT) ready |= kWritable;
    if (seen & (POLLHUP | POLLERR)) ready |= kHangup;
    if (seen & POLLNVAL) ready |= kReadable | kWritable;  // closed: its reader sees the error
    ready &= found->second.events | kHangup;
    auto fn = found->second.fn;
    if (ready != 0) (*fn)(ready);
  }
  return any;
}

// One turn. False when nothing is left to do up to `until`.
bool SimLoop::run_turn(double until) {
  for (size_t left = posts_.size(); left > 0 && !stopped_; --left) {
    Fn fn = std::move(posts_.front());
    posts_.pop_front();
    fn();
  }
  if (stopped_) return true;
  bool polled = poll_watches(false);
  if (polled || !posts_.empty() || stopped_) return true;
  std::optional<double> earliest = timers_.earliest();
  if (earliest && *earliest <= until) {
    if (*earliest > now_) now_ = *earliest;
    TimerId newest = timers_.last_id();
    while (!stopped_) {
      std::optional<Fn> fn = timers_.take_due(now_, newest);
      if (!fn) break;
      (*fn)();
    }
    return true;
  }
  // With nothing but descriptors left, waiting for them takes no virtual time: only a run without
  // an end may block on them.
  if (earliest || watches_.empty() || std::isfinite(until)) return false;
  poll_watches(true);
  return true;
}

void SimLoop::run() {
  stopped_ = false;
  while (!stopped_ && run_turn(std::numeric_limits<double>::infinity())) {
  }
}

void SimLoop::run_for(double seconds) {
  stopped_ = false;
  double until = now_ + seconds;
  bool more = true;
  while (!stopped_ && more) more = run_turn(until);
  if (!stopped_ && now_ < until) now_ = until;
}

}  // namespace choline
