#include "agent/reactor.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <vector>

namespace choline {

namespace {
double seconds_of(clockid_t clock) {
  timespec now{};
  ::clock_gettime(clock, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}
}  // namespace

double boot_seconds() {
  return seconds_of(CLOCK_BOOTTIME);
}
double wall_seconds() {
  return seconds_of(CLOCK_REALTIME);
}

Reactor::Reactor() {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGCHLD);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  signals_.reset(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!signals_) std::abort();  // nothing of the agent works without it
  watch(signals_.get(), POLLIN, [this](short) {
    signalfd_siginfo info;
    while (::read(signals_.get(), &info, sizeof info) > 0) {
    }
    reap();
  });
}

Reactor::Id Reactor::watch(int fd, short events, std::function<void(short)> fn) {
  Id id = ++last_id_;
  watches_.emplace(id,
                   Watch{fd, events, std::make_shared<std::function<void(short)>>(std::move(fn))});
  return id;
}

void Reactor::rewatch(Id id, short events) {
  auto found = watches_.find(id);
  if (found != watches_.end()) found->second.events = events;
}

void Reactor::unwatch(Id id) {
  watches_.erase(id);
}

Reactor::Id Reactor::timer(double seconds, Fn fn) {
  Id id = ++last_id_;
  double due = boot_seconds() + std::max(0.0, seconds);
  timers_.emplace(std::pair(due, id), std::move(fn));
  due_[id] = due;
  return id;
}

void Reactor::cancel(Id id) {
  auto found = due_.find(id);
  if (found == due_.end()) return;
  timers_.erase({found->second, id});
  due_.erase(found);
}

void Reactor::on_exit(pid_t pid, std::function<void(int)> fn) {
  exits_[pid] = std::move(fn);
}

void Reactor::forget_exit(pid_t pid) {
  auto found = exits_.find(pid);
  if (found != exits_.end()) found->second = nullptr;
}

void Reactor::reap() {
  std::vector<pid_t> pids;
  for (const auto& entry : exits_) pids.push_back(entry.first);
  for (pid_t pid : pids) {
    int status = 0;
    if (::waitpid(pid, &status, WNOHANG) != pid) continue;
    auto found = exits_.find(pid);
    if (found == exits_.end()) continue;
    std::function<void(int)> fn = std::move(found->second);
    exits_.erase(found);
    if (fn) fn(status);
  }
}

void Reactor::fire_timers() {
  double now = boot_seconds();
  std::vector<Id> due;
  for (const auto& [key, fn] : timers_) {
    if (key.first > now) break;
    due.push_back(key.second);
  }
  for (Id id : due) {
    auto when = due_.find(id);
    if (when == due_.end()) continue;  // cancelled by one of the others
    auto found = timers_.find({when->second, id});
    Fn fn = std::move(found->second);
    timers_.erase(found);
    due_.erase(when);
    fn();
  }
}

void Reactor::run() {
  std::vector<pollfd> polls;
  std::vector<Id> ids;
  while (!stopped_) {
    polls.clear();
    ids.clear();
    for (const auto& [id, watch] : watches_) {
      if (watch.events == 0) continue;
      polls.push_back({watch.fd, watch.events, 0});
      ids.push_back(id);
    }
    int wait = -1;
    if (!timers_.empty()) {
      double left = timers_.begin()->first.first - boot_seconds();
      wait = static_cast<int>(std::ceil(std::clamp(left, 0.0, 3600.0) * 1000));
    }
    int ready = ::poll(polls.data(), polls.size(), wait);
    if (ready < 0 && errno != EINTR) std::abort();
    for (size_t i = 0; i < polls.size() && ready > 0 && !stopped_; i++) {
      if (polls[i].revents == 0) continue;
      auto found = watches_.find(ids[i]);
      if (found == watches_.end()) continue;
      std::shared_ptr<std::function<void(short)>> fn = found->second.fn;
      (*fn)(polls[i].revents);
    }
    if (!stopped_) fire_timers();
  }
}

}  // namespace choline
