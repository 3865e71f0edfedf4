#include "transfer/source_file.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "transfer/posix.h"

namespace choline {

void nap(long milliseconds) {
  timespec time{0, milliseconds * 1'000'000};
  nanosleep(&time, nullptr);
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && nanoseconds(a.st_mtim) == nanoseconds(b.st_mtim) &&
         nanoseconds(a.st_ctim) == nanoseconds(b.st_ctim);
}

bool Listed::is(const struct stat& now) const {
  return static_cast<uint64_t>(now.st_size) == size && nanoseconds(now.st_mtim) == mtime_ns;
}

bool is_at_rest(int file, const Listed& listed, struct stat& now) {
  if (fstat(file, &now) != 0) return false;
  // Two changes within a tick of the file system's clock look like one: let the tick pass. One that
  // changed since the list was made may bear an old time still: ext4 sets that of a file that is
  // being cut off when it has its new size already.
  bool is_old = wall_nanoseconds() - nanoseconds(now.st_mtim) >= kClockTick;
  if (is_old && listed.is(now)) return true;
  struct stat earlier = now;
  nap(kClockTick / 1'000'000);
  if (fstat(file, &now) != 0) return false;
  // One that only grows is another matter: what was there may still be a true copy.
  return is_same_file(earlier, now) || now.st_size > earlier.st_size;
}

Extent next_extent(int file, uint64_t from, uint64_t end, bool sparse) {
  Extent all{from, end - from, false};
  if (!sparse) return all;
  off_t data = lseek(file, static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? Extent{from, end - from, true} : all;
  if (static_cast<uint64_t>(data) > from) {
    return Extent{from, std::min(static_cast<uint64_t>(data), end) - from, true};
  }
  off_t hole = lseek(file, static_cast<off_t>(from), SEEK_HOLE);
  if (hole <= static_cast<off_t>(from)) return all;
  return Extent{from, std::min(static_cast<uint64_t>(hole), end) - from, false};
}

size_t read_at(int file, uint64_t offset, char* into, size_t length) {
  size_t had = 0;
  while (had < length) {
    ssize_t got = pread(file, into + had, length - had, static_cast<off_t>(offset + had));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    had += static_cast<size_t>(got);
  }
  return had;
}

}  // namespace choline
