// Several coroutines at once.
#pragma once

#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "loop/await.h"
#include "loop/co.h"
#include "loop/loop.h"

namespace choline {

// Runs all of them side by side; gives their results in order.
template <class T>
Co<std::vector<T>> gather(Loop& loop, std::vector<Co<T>> works) {
  std::vector<std::optional<T>> slots(works.size());
  size_t left = works.size();
  Event all(loop);
  std::vector<Started> started;
  started.reserve(works.size());
  for (size_t i = 0; i < slots.size(); ++i) {
    std::function<void(T)> finish = [&slots, &left, &all, i](T value) {
      slots[i].emplace(std::move(value));
      if (--left == 0) all.set();
    };
    started.emplace_back(std::move(works[i]), std::move(finish));
  }
  if (left > 0) {
    Event::Waiter waiter(all);
    co_await waiter;
  }
  std::vector<T> results;
  results.reserve(slots.size());
  for (std::optional<T>& slot : slots) results.push_back(std::move(*slot));
  co_return results;
}

}  // namespace choline
