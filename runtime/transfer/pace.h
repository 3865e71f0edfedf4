// Holds a sender to a rate, whatever number of threads sends.
#pragma once

#include <cstdint>
#include <mutex>

#include "transfer/session.h"

namespace choline {

class Pace {
 public:
  explicit Pace(uint64_t rate) : rate_(rate) {}  // bytes a second; 0: no limit
  // Waits until so many bytes may go; false when the session is to stop.
  bool wait(uint64_t bytes, const SessionHooks& hooks);

 private:
  uint64_t rate_;
  std::mutex mutex_;
  int64_t due_ = 0;  // nanoseconds of the monotonic clock, when all so far may have gone
};

}  // namespace choline
