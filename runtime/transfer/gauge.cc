#include "transfer/gauge.h"

#include <time.h>

#include <algorithm>

#include "transfer/posix.h"

namespace choline {

namespace {

constexpr int64_t kGlance = 50'000'000;     // nanoseconds that one glance at a link takes
constexpr size_t kGlanceBytes = 512 << 10;  // and what it sees at the least: more than buffers hold
constexpr double kMostlyWaits = 0.4;        // of its time in writing: then the link is what is slow

}  // namespace

int64_t LinkGauge::now() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return nanoseconds(time);
}

void LinkGauge::wrote(size_t bytes, int64_t from, int64_t until) {
  if (began_ == 0) began_ = from;
  waiting_ += until - from;
  bytes_ += bytes;
  int64_t whole = until - began_;
  if (whole < kGlance || bytes_ < kGlanceBytes) return;
  double seen = static_cast<double>(bytes_) * 1e9 / static_cast<double>(whole);
  bool waits = static_cast<double>(waiting_) > kMostlyWaits * static_cast<double>(whole);
  if (waits) {
    rate_ = rate_ ? (*rate_ + seen) / 2 : seen;
  } else if (rate_) {
    // Who writes is what is slow now: the link takes that much at the least.
    rate_ = std::max(*rate_, seen);
  }
  began_ = until;
  waiting_ = 0;
  bytes_ = 0;
}

}  // namespace choline
