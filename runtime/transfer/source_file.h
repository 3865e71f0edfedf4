// A file that is read to be sent, while others may write to it.
#pragma once

#include <sys/stat.h>

#include <cstddef>
#include <cstdint>

namespace choline {

constexpr int kAttempts = 4;
constexpr const char* kKeepsChanging = "kept changing while it was read";

void nap(long milliseconds);
// By size and times.
bool is_same_file(const struct stat& a, const struct stat& b);

// A file as the manifest has it.
struct Listed {
  uint64_t size = 0;
  int64_t mtime_ns = 0;
  bool is(const struct stat& now) const;
};
// Its state in `now`, as soon as a change would show in it; false when somebody is at it right now,
// or it is gone.
bool is_at_rest(int file, const Listed& listed, struct stat& now);

// A stretch of data or of zeros.
struct Extent {
  uint64_t start = 0;
  uint64_t length = 0;
  bool hole = false;
};
// The next one at `from`, up to `end`. A file system that knows no holes has data only.
Extent next_extent(int file, uint64_t from, uint64_t end, bool sparse);

// Reads `length` bytes at `offset`; fewer at the end of the file, or when it cannot be read.
size_t read_at(int file, uint64_t offset, char* into, size_t length);

}  // namespace choline
