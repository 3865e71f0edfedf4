// Timers ordered by (time, order of asking), shared by both loops. Cancelling is cheap: the entry
// stays in the heap until it comes up or too many such have gathered.
#pragma once

#include <algorithm>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "loop/loop.h"

namespace choline {

class TimerQueue {
 public:
  TimerId add(double at, Loop::Fn fn) {
    TimerId id = ++last_id_;
    handlers_.emplace(id, std::move(fn));
    heap_.push_back({at, id});
    std::push_heap(heap_.begin(), heap_.end(), later);
    return id;
  }

  void cancel(TimerId id) {
    if (handlers_.erase(id) == 0) return;
    if (heap_.size() > 2 * handlers_.size() + 64) compact();
  }

  bool empty() const { return handlers_.empty(); }
  size_t size() const { return handlers_.size(); }
  // The youngest id so far: what is added while others fire waits for the next turn.
  TimerId last_id() const { return last_id_; }

  std::optional<double> earliest() {
    drop_cancelled();
    if (heap_.empty()) return std::nullopt;
    return heap_.front().at;
  }

  // Takes out the next timer due at `now` whose id is at most `newest`.
  std::optional<Loop::Fn> take_due(double now, TimerId newest) {
    drop_cancelled();
    if (heap_.empty() || heap_.front().at > now || heap_.front().id > newest) return std::nullopt;
    auto found = handlers_.find(heap_.front().id);
    Loop::Fn fn = std::move(found->second);
    handlers_.erase(found);
    pop();
    return fn;
  }

 private:
  struct Entry {
    double at;
    TimerId id;
  };
  static bool later(const Entry& a, const Entry& b) {
    return a.at != b.at ? a.at > b.at : a.id > b.id;
  }
  void pop() {
    std::pop_heap(heap_.begin(), heap_.end(), later);
    heap_.pop_back();
  }
  void drop_cancelled() {
    while (!heap_.empty() && !handlers_.contains(heap_.front().id)) pop();
  }
  void compact() {
    std::erase_if(heap_, [this](const Entry& entry) { return !handlers_.contains(entry.id); });
    std::make_heap(heap_.begin(), heap_.end(), later);
  }

  std::vector<Entry> heap_;
  std::unordered_map<TimerId, Loop::Fn> handlers_;
  TimerId last_id_ = 0;
};

}  // namespace choline
