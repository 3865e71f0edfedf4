// The agent's loop: poll, timers, child exits. One thread.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "base/unique_fd.h"

namespace choline {

double boot_seconds();  // counts through a suspend
double wall_seconds();

class Reactor {
 public:
  using Fn = std::function<void()>;
  using Id = uint64_t;

  Reactor();  // blocks SIGCHLD and ignores SIGPIPE; children must undo both

  // `events` as in poll(2); may be 0 for now. The handler may unwatch anything.
  Id watch(int fd, short events, std::function<void(short)> fn);
  void rewatch(Id id, short events);
  void unwatch(Id id);
  Id timer(double seconds, Fn fn);
  void cancel(Id id);
  void on_exit(pid_t pid, std::function<void(int wait_status)> fn);
  // The child is still reaped.
  void forget_exit(pid_t pid);
  void post(Fn fn) { timer(0, std::move(fn)); }
  void run();  // until stop()
  void stop() { stopped_ = true; }

 private:
  struct Watch {
    int fd;
    short events;
    std::shared_ptr<std::function<void(short)>> fn;  // shared: a handler may unwatch itself
  };
  void reap();
  void fire_timers();

  UniqueFd signals_;
  std::map<Id, Watch> watches_;
  std::map<std::pair<double, Id>, Fn> timers_;
  std::map<Id, double> due_;
  std::map<pid_t, std::function<void(int)>> exits_;
  Id last_id_ = 0;
  bool stopped_ = false;
};

}  // namespace choline
