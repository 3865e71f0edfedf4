#include "transfer/pace.h"

#include <time.h>

#include <algorithm>

#include "transfer/posix.h"
#include "transfer/source_file.h"

namespace choline {

namespace {

constexpr int64_t kNanosASecond = 1'000'000'000;
constexpr int64_t kSaved = kNanosASecond / 5;  // of a pause, what may be made up for
constexpr int64_t kLook = 50;                  // milliseconds between looks whether to stop

int64_t monotonic() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return nanoseconds(now);
}

}  // namespace

bool Pace::wait(uint64_t bytes, const SessionHooks& hooks) {
  auto stopped = [&] { return hooks.stop && *hooks.stop; };
  if (rate_ == 0) return !stopped();
  int64_t until = 0;
  {
    std::lock_guard lock(mutex_);
    until = due_ = std::max(due_, monotonic() - kSaved);
    due_ += static_cast<int64_t>(static_cast<double>(bytes) / static_cast<double>(rate_) *
                                 kNanosASecond);
  }
  for (int64_t left = until - monotonic(); left > 0; left = until - monotonic()) {
    if (stopped()) return false;
    nap(static_cast<long>(std::clamp<int64_t>(left / 1'000'000, 1, kLook)));
  }
  return !stopped();
}

}  // namespace choline
