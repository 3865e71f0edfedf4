// Small things of POSIX that reading and writing a tree share.
#pragma once

#include <dirent.h>

#include <cstdint>
#include <ctime>

namespace choline {

struct CloseFolder {
  void operator()(DIR* folder) const { closedir(folder); }
};

inline int64_t nanoseconds(const timespec& time) {
  return static_cast<int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace choline
