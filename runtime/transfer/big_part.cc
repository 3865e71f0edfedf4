#include "transfer/big_part.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest_fast.h"
#include "base/random.h"
#include "base/text.h"

namespace choline {

namespace {

constexpr std::string_view kBigMark = "~";  // no letter of a random name
constexpr uint64_t kWorthKeeping = 1 << 20;

Error failed(const char* what, std::string_view name) {
  int code = errno;
  return errno_error(std::string(what) + " " + choline::quoted(name), code);
}

std::string hex(uint64_t value) {
  std::string out(16, '0');
  for (size_t at = out.size(); at > 0; value >>= 4) out[--at] = "0123456789abcdef"[value & 15];
  return out;
}

// Where the last data ends.
uint64_t data_end(int file, uint64_t size) {
  uint64_t end = 0;
  for (uint64_t at = 0; at < size;) {
    off_t data = lseek(file, static_cast<off_t>(at), SEEK_DATA);
    if (data < 0) return errno == ENXIO ? end : size;
    off_t hole = lseek(file, data, SEEK_HOLE);
    if (hole <= data) return size;
    at = end = static_cast<uint64_t>(hole);
  }
  return std::min(end, size);
}

// Locked, ours, and still what its name leads to.
bool is_usable(int folder, const std::string& name, int file, struct stat& info) {
  struct stat named {};
  return flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &info) == 0 && S_ISREG(info.st_mode) &&
         info.st_uid == geteuid() && info.st_nlink == 1 &&
         fstatat(folder, name.c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
         named.st_ino == info.st_ino && named.st_dev == info.st_dev;
}

}  // namespace

std::string big_part_name(std::string_view name) {
  return std::string(kPartPrefix) + std::string(kBigMark) + hex(fast_hash64(name));
}

bool is_big_part_name(std::string_view name) {
  return name.starts_with(kPartPrefix) && name.substr(kPartPrefix.size()).starts_with(kBigMark);
}

bool has_big_part(Target& target, std::string_view path) {
  Result<Target::Place> place = target.place(path);
  struct stat info {};
  return place.ok() &&
         fstatat(place->folder->get(), big_part_name(place->name).c_str(), &info,
                 AT_SYMLINK_NOFOLLOW) == 0 &&
         S_ISREG(info.st_mode) && info.st_blocks > 0;
}

Result<BigPart> BigPart::open(Target& target, std::string_view path) {
  Result<Target::Place> place = target.place(path);
  if (!place.ok()) return place.error();
  BigPart part;
  part.place = std::move(place).value();
  int folder = part.place.folder->get();
  part.name = big_part_name(part.place.name);
  constexpr int kFlags = O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
  part.file_.reset(openat(folder, part.name.c_str(), kFlags, 0600));
  struct stat info {};
  if (part.file_ && is_usable(folder, part.name, part.file_.get(), info)) {
    part.had_ = data_end(part.file_.get(), static_cast<uint64_t>(info.st_size));
    return part;
  }
  // Another writer is at it, or somebody else put something there: one of our own, then.
  part.name = std::string(kPartPrefix) + random_id(12);
  part.file_.reset(openat(folder, part.name.c_str(), kFlags | O_EXCL, 0600));
  if (!part.file_) return failed("write", path);
  if (flock(part.file_.get(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    return failed("lock", path);
  }
  part.worth_ = false;
  return part;
}

BigPart& BigPart::operator=(BigPart&& other) noexcept {
  std::swap(place, other.place);
  std::swap(name, other.name);
  std::swap(file_, other.file_);
  std::swap(had_, other.had_);
  std::swap(worth_, other.worth_);
  return *this;
}

BigPart::~BigPart() {
  if (!file_) return;
  struct stat info {};
  bool keep = worth_ && fstat(file_.get(), &info) == 0 &&
              static_cast<uint64_t>(info.st_blocks) * 512 >= kWorthKeeping;
  if (!keep) unlinkat(place.folder->get(), name.c_str(), 0);
}

bool BigPart::clone(int from) {
  return ioctl(file_.get(), FICLONE, from) == 0;
}

Status BigPart::resize(uint64_t size, bool empty) {
  if (empty && ftruncate(file_.get(), 0) != 0) return failed("write", place.name);
  if (ftruncate(file_.get(), static_cast<off_t>(size)) != 0) return failed("write", place.name);
  return done();
}

Status BigPart::write(uint64_t offset, std::string_view bytes) const {
  while (!bytes.empty()) {
    ssize_t put = pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return failed("write", place.name);
    bytes.remove_prefix(static_cast<size_t>(put));
    offset += static_cast<uint64_t>(put);
  }
  return done();
}

Status BigPart::zero(uint64_t offset, uint64_t length) const {
  if (fallocate(file_.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset),
                static_cast<off_t>(length)) == 0) {
    return done();
  }
  const std::string zeros(std::min<uint64_t>(64 << 10, length), '\0');
  while (length > 0) {
    size_t part = std::min<uint64_t>(zeros.size(), length);
    Status status = write(offset, std::string_view(zeros).substr(0, part));
    if (!status.ok()) return status;
    offset += part;
    length -= part;
  }
  return done();
}

}  // namespace choline
