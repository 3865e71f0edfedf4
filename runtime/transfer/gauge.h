// How fast a connection is, as who writes to it sees it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

namespace choline {

// How fast a connection takes what one thread writes to it.
class LinkGauge {
 public:
  // So much was written, which took from one time to another, in nanoseconds.
  void wrote(size_t bytes, int64_t from, int64_t until);
  // Bytes a second; nothing as long as it takes them faster than they come.
  std::optional<double> rate() const { return rate_; }

  static int64_t now();

 private:
  int64_t began_ = 0;    // of the present glance
  int64_t waiting_ = 0;  // nanoseconds of it, spent in writing
  size_t bytes_ = 0;     // of it
  std::optional<double> rate_;
};

}  // namespace choline
