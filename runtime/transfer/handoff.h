// Values that one thread makes and another takes, in order, a bounded number under way: the only
// place of the transfer that has a mutex.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>

namespace choline {

template <typename T>
class Handoff {
 public:
  explicit Handoff(size_t most) : most_(most) {}
  Handoff(const Handoff&) = delete;
  Handoff& operator=(const Handoff&) = delete;

  // Waits for room. False once either end has closed: the value is dropped.
  bool put(T value) {
    std::unique_lock lock(mutex_);
    room_.wait(lock, [this] { return closed_ || values_.size() < most_; });
    if (closed_) return false;
    values_.push_back(std::move(value));
    more_.notify_one();
    return true;
  }

  // Waits for a value; nothing once it is closed and empty.
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    more_.wait(lock, [this] { return closed_ || !values_.empty(); });
    if (values_.empty()) return std::nullopt;
    std::optional<T> value(std::move(values_.front()));
    values_.pop_front();
    room_.notify_one();
    return value;
  }

  // No more will be put; what is there can be taken.
  void close() {
    std::lock_guard lock(mutex_);
    closed_ = true;
    more_.notify_all();
    room_.notify_all();
  }

  // As many as are put.
  void widen() {
    std::lock_guard lock(mutex_);
    most_ = SIZE_MAX;
  }

  // Something small that either end reads and writes meanwhile.
  template <typename Fn>
  auto locked(Fn fn) {
    std::lock_guard lock(mutex_);
    return fn();
  }

 private:
  size_t most_;
  std::mutex mutex_;
  std::condition_variable more_, room_;
  std::deque<T> values_;
  bool closed_ = false;
};

}  // namespace choline
