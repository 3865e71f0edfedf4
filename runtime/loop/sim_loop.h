// A loop on virtual time for tests and simulations: nothing waits, time leaps to the next timer.
// Descriptors and children are real if a test brings any: time moves only while none of them is
// ready, and the loop really waits when nothing else is left.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <vector>

#include "loop/loop.h"
#include "loop/timers.h"
#include "loop/workers.h"

namespace choline {

class SimLoop : public Loop {
 public:
  explicit SimLoop(double wall_at_start = 1'800'000'000) : wall_offset_(wall_at_start) {}

  double wall() override { return now_ + wall_offset_; }
  double ticks() override { return now_; }
  TimerId timer(double seconds, Fn fn) override;
  void cancel(TimerId id) override { timers_.cancel(id); }
  WatchId watch(int fd, unsigned events, std::function<void(unsigned)> fn) override;
  void rewatch(WatchId id, unsigned events) override;
  void unwatch(WatchId id) override { watches_.erase(id); }
  void post(Fn fn) override { posts_.push_back(std::move(fn)); }
  void post_from_thread(Fn fn) override { inbox_.push(std::move(fn)); }
  void on_signal(int number, std::function<void(int)> fn) override;
  void on_exit(pid_t pid, std::function<void(ExitStatus)> fn) override;
  void on_clock_jump(Fn fn) override;
  // On this thread, on the next turn.
  void work(Fn blocking, Fn done) override;
  void run() override;
  void stop() override { stopped_ = true; }

  // For the test that holds the strings.
  void jump_wall(double seconds);  // somebody sets the clock; handlers run on the next turn
  void suspend(double seconds);    // the machine sleeps: both clocks move on, then it wakes
  void stall(double seconds);      // only this process stood still, and nothing tells it so
  void raise_signal(int number);   // as if the process had got it
  void run_for(double seconds);    // run(), at most so long in virtual time
  size_t timers_waiting() const { return timers_.size(); }

 private:
  struct Watch {
    int fd;
    unsigned events;
    std::shared_ptr<std::function<void(unsigned)>> fn;
  };
  bool run_turn(double until);
  bool poll_watches(bool block);
  void clock_jumped();

  double now_ = 1000;
  double wall_offset_;
  TimerQueue timers_;
  std::map<WatchId, Watch> watches_;
  WatchId last_watch_ = 0;
  std::deque<Fn> posts_;
  Inbox inbox_;
  std::map<int, std::shared_ptr<std::function<void(int)>>> signals_;
  std::vector<std::shared_ptr<Fn>> jumps_;
  bool stopped_ = false;
};

}  // namespace choline
