// Awaiters over Loop. Each deregisters in its destructor, so a cancelled Co leaves nothing behind.
#pragma once

#include <coroutine>
#include <deque>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

class Sleep {
 public:
  Sleep(Loop& loop, double seconds) : loop_(loop), seconds_(seconds) {}
  Sleep(const Sleep&) = delete;
  Sleep& operator=(const Sleep&) = delete;
  ~Sleep() {
    if (timer_) loop_.cancel(timer_);
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    timer_ = loop_.timer(seconds_ < 0 ? 0 : seconds_, [this, caller] {
      timer_ = 0;
      caller.resume();
    });
  }
  void await_resume() const noexcept {}

 private:
  Loop& loop_;
  double seconds_;
  TimerId timer_ = 0;
};

// Waits until `fd` is ready for `events`; gives the Ready bits seen.
class FdReady {
 public:
  FdReady(Loop& loop, int fd, unsigned events) : loop_(loop), fd_(fd), events_(events) {}
  FdReady(const FdReady&) = delete;
  FdReady& operator=(const FdReady&) = delete;
  ~FdReady() {
    if (watch_) loop_.unwatch(watch_);
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    watch_ = loop_.watch(fd_, events_, [this, caller](unsigned seen) {
      loop_.unwatch(std::exchange(watch_, 0));
      seen_ = seen;
      caller.resume();
    });
  }
  unsigned await_resume() const noexcept { return seen_; }

 private:
  Loop& loop_;
  int fd_;
  unsigned events_;
  unsigned seen_ = 0;
  WatchId watch_ = 0;
};

// A flag that coroutines wait for. set() wakes all waiters by posts, never on the setter's stack.
// The Event must outlive its waiters.
class Event {
 public:
  explicit Event(Loop& loop) : loop_(loop) {}
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  void set() {
    if (set_) return;
    set_ = true;
    // Each waiter gets its own post; one that is destroyed meanwhile takes itself off the list.
    for (Waiter* waiter : waiters_) post_wake(waiter);
  }
  void clear() { set_ = false; }
  bool is_set() const { return set_; }

  class Waiter {
   public:
    explicit Waiter(Event& event) : event_(event) {}
    Waiter(const Waiter&) = delete;
    Waiter& operator=(const Waiter&) = delete;
    ~Waiter() {
      if (token_) *token_ = nullptr;
      std::erase(event_.waiters_, this);
    }
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> caller) {
      caller_ = caller;
      event_.waiters_.push_back(this);
      if (event_.set_) event_.post_wake(this);
    }
    void await_resume() const noexcept {}

   private:
    friend class Event;
    Event& event_;
    std::coroutine_handle<> caller_;
    std::shared_ptr<Waiter*>
        token_;  // outlives the waiter inside a posted wake, to see it has gone
  };
  Waiter wait() { return Waiter(*this); }

 private:
  void post_wake(Waiter* waiter) {
    if (waiter->token_) return;
    waiter->token_ = std::make_shared<Waiter*>(waiter);
    loop_.post([token = waiter->token_] {
      Waiter* target = *token;
      if (!target) return;
      std::erase(target->event_.waiters_, target);
      target->caller_.resume();
    });
  }

  Loop& loop_;
  bool set_ = false;
  std::deque<Waiter*> waiters_;
};

// Runs `blocking` on a worker thread and gives its result. Cancelling drops the result; the work
// itself cannot be interrupted, so it must own all it touches.
template <class T>
class OnWorker {
 public:
  OnWorker(Loop& loop, std::function<T()> blocking)
      : loop_(loop), blocking_(std::move(blocking)), slot_(std::make_shared<Slot>()) {}
  OnWorker(const OnWorker&) = delete;
  OnWorker& operator=(const OnWorker&) = delete;
  ~OnWorker() { slot_->caller = nullptr; }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    slot_->caller = caller;
    loop_.work(
        [slot = slot_, blocking = std::move(blocking_)] { slot->result.emplace(blocking()); },
        [slot = slot_] {
          if (slot->caller) slot->caller.resume();
        });
  }
  T await_resume() { return std::move(*slot_->result); }

 private:
  struct Slot {  // shared with the worker, which may outlive the awaiting frame
    std::optional<T> result;
    std::coroutine_handle<> caller;
  };
  Loop& loop_;
  std::function<T()> blocking_;
  std::shared_ptr<Slot> slot_;
};

// Runs `work` for at most `seconds`; gives its result, or nothing when the time was up, and the
// work is then cancelled. `co_await WithTimeout<T>(loop, seconds, work(...))`.
template <class T>
class WithTimeout {
 public:
  WithTimeout(Loop& loop, double seconds, Co<T> work)
      : loop_(loop), seconds_(seconds), slot_(std::make_shared<Slot>()) {
    driver_ = drive(loop, std::move(work), slot_);
  }
  WithTimeout(const WithTimeout&) = delete;
  WithTimeout& operator=(const WithTimeout&) = delete;
  ~WithTimeout() {
    slot_->caller = nullptr;
    if (timer_) loop_.cancel(timer_);
  }
  bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> caller) {
    slot_->caller = caller;
    timer_ = loop_.timer(seconds_ < 0 ? 0 : seconds_, [this, caller] {
      timer_ = 0;
      if (slot_->ended) return;  // its post is on the way
      driver_ = Co<void>();
      caller.resume();
    });
    driver_.resume();
  }
  std::optional<T> await_resume() {
    if (slot_->thrown) std::rethrow_exception(slot_->thrown);
    return std::move(slot_->result);
  }

 private:
  struct Slot {  // shared with a posted end, which may outlive the awaiting frame
    std::optional<T> result;
    std::exception_ptr thrown;
    bool ended = false;
    std::coroutine_handle<> caller;
  };
  static Co<void> drive(Loop& loop, Co<T> work, std::shared_ptr<Slot> slot) {
    try {
      T result = co_await work;
      slot->result.emplace(std::move(result));
    } catch (...) {
      slot->thrown = std::current_exception();
    }
    slot->ended = true;
    // By a post: the caller may destroy the frame whose stack this is.
    loop.post([slot] {
      if (slot->caller) slot->caller.resume();
    });
  }
  Loop& loop_;
  double seconds_;
  std::shared_ptr<Slot> slot_;
  TimerId timer_ = 0;
  Co<void> driver_;
};

}  // namespace choline
