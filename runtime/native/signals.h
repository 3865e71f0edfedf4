// SIGINT, SIGTERM and SIGHUP in the order they came, for whoever waits for the next one.
#pragma once

#include <deque>
#include <string>

#include "loop/await.h"
#include "loop/loop.h"

namespace choline {

class Signals {
 public:
  // From here on these signals no longer end the process.
  explicit Signals(Loop& loop);

  bool empty() const { return seen_.empty(); }
  std::string take();
  Event::Waiter wait() { return came_.wait(); }

 private:
  void on(int number);
  Event came_;
  std::deque<std::string> seen_;
};

}  // namespace choline
