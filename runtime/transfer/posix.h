// Small things of POSIX that reading and writing a tree share.
#pragma once

#include <dirent.h>

#include <algorithm>
#include <cstdint>
#include <ctime>

#include "base/result.h"

namespace choline {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

// Two changes of a file within a tick of the file system's clock look like one.
constexpr int64_t kClockTick = 20'000'000;  // nanoseconds; the longest that Linux has, and more

// Times further than 290 years from 1970 count as that far.
inline int64_t nanoseconds(const timespec& time) {
  constexpr int64_t kFar = INT64_MAX / 1'000'000'000 - 2;
  int64_t seconds = std::clamp<int64_t>(time.tv_sec, -kFar, kFar);
  return seconds * 1'000'000'000 + time.tv_nsec;
}

inline int64_t wall_nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now);
}

inline timespec time_of(int64_t nanoseconds) {
  timespec out{};
  out.tv_sec = nanoseconds / 1'000'000'000;
  out.tv_nsec = nanoseconds % 1'000'000'000;
  if (out.tv_nsec < 0) {
    out.tv_nsec += 1'000'000'000;
    --out.tv_sec;
  }
  return out;
}

inline bool has_errno(const Error& error, const char* name) {
  if (!error.fields.is_object()) return false;
  auto found = error.fields.find("errno");
  return found != error.fields.end() && *found == name;
}

// The disk itself, rather than this one file.
inline bool is_fatal(const Error& error) {
  for (const char* name : {"ENOSPC", "EIO", "EDQUOT", "EROFS"}) {
    if (has_errno(error, name)) return true;
  }
  return false;
}

}  // namespace choline
