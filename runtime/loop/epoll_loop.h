// The real loop: epoll, a timerfd that counts through a suspend, signalfd, pidfds, two workers.
#pragma once

#include <signal.h>

#include <deque>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "base/unique_fd.h"
#include "loop/loop.h"
#include "loop/timers.h"
#include "loop/workers.h"

namespace choline {

class EpollLoop : public Loop {
 public:
  EpollLoop();
  ~EpollLoop() override;

  double wall() override;
  double ticks() override;
  TimerId timer(double seconds, Fn fn) override;
  void cancel(TimerId id) override;
  WatchId watch(int fd, unsigned events, std::function<void(unsigned)> fn) override;
  void rewatch(WatchId id, unsigned events) override;
  void unwatch(WatchId id) override;
  void post(Fn fn) override;
  void post_from_thread(Fn fn) override;
  void on_signal(int number, std::function<void(int)> fn) override;
  void on_exit(pid_t pid, std::function<void(ExitStatus)> fn) override;
  void on_clock_jump(Fn fn) override;
  void work(Fn blocking, Fn done) override;
  void run() override;
  void stop() override { stopped_ = true; }

 private:
  using WatchFn = std::shared_ptr<std::function<void(unsigned)>>;
  struct Watch {
    int fd;
    unsigned events;
    WatchFn fn;  // shared: a handler may take its own watch away while it runs
  };
  // All watches of one descriptor number; epoll knows a number once.
  struct Descriptor {
    uint32_t generation = 0;
    uint32_t armed = 0;
    bool always_ready = false;  // a regular file: epoll refuses it, reads and writes never wait
    std::vector<WatchId> watches;
  };

  void arm(int fd, Descriptor& descriptor);
  void add_internal(int fd, uint64_t mark);
  bool is_alive() const;
  void run_posts();
  void run_timers();
  void arm_timer();
  void wait_and_dispatch(bool may_block);
  void dispatch(uint64_t mark, uint32_t epoll_events);
  void deliver(int fd, unsigned seen);
  void deliver_always_ready();
  void take_inbox();
  void take_signals();
  void take_clock_jump();
  void arm_clock_jump();
  void poll_exit(pid_t pid, std::shared_ptr<std::function<void(ExitStatus)>> fn);

  UniqueFd epoll_;
  UniqueFd timer_fd_;
  UniqueFd signal_fd_;
  UniqueFd jump_fd_;
  Inbox inbox_;
  TimerQueue timers_;
  double armed_for_ = -1;  // what timer_fd_ is set to; negative: nothing
  std::unordered_map<WatchId, Watch> watches_;
  std::unordered_map<int, Descriptor> descriptors_;
  WatchId last_watch_ = 0;
  uint32_t last_generation_ = 0;
  size_t always_ready_ = 0;
  std::deque<Fn> posts_;
  std::map<int, std::shared_ptr<std::function<void(int)>>> signals_;
  sigset_t mask_before_;
  std::vector<std::shared_ptr<Fn>> jumps_;
  size_t working_ = 0;  // jobs given to workers whose end has not run yet
  bool stopped_ = false;
  Workers workers_;  // last: its threads end before what they post to
};

}  // namespace choline
