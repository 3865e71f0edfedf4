#include "native/signals.h"

#include <csignal>

namespace choline {

Signals::Signals(Loop& loop) : came_(loop) {
  for (int number : {SIGINT, SIGTERM, SIGHUP}) {
    loop.on_signal(number, [this](int seen) { on(seen); });
  }
}

void Signals::on(int number) {
  seen_.push_back(number == SIGINT ? "INT" : number == SIGTERM ? "TERM" : "HUP");
  came_.set();
}

std::string Signals::take() {
  std::string name = std::move(seen_.front());
  seen_.pop_front();
  if (seen_.empty()) came_.clear();
  return name;
}

}  // namespace choline
