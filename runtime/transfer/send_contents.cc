#include "transfer/send_contents.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/mutant.h"
#include "base/text.h"
#include "transfer/posix.h"

namespace choline {

namespace {

constexpr int kAttempts = 4;
constexpr const char* kKeepsChanging = "kept changing while it was read";

void nap(long milliseconds) {
  timespec time{0, milliseconds * 1'000'000};
  nanosleep(&time, nullptr);
}

bool is_same_file(const struct stat& a, const struct stat& b) {
  return a.st_size == b.st_size && nanoseconds(a.st_mtim) == nanoseconds(b.st_mtim) &&
         nanoseconds(a.st_ctim) == nanoseconds(b.st_ctim);
}

// Sends no byte further than this many, and says where data and holes lie.
struct Extent {
  uint64_t start = 0;
  uint64_t length = 0;
  bool hole = false;
};

// The next stretch of data or zeros at `from`. A file system that knows no holes has data only.
Extent next_extent(int file, uint64_t from, uint64_t size, bool sparse) {
  Extent all{from, size - from, false};
  if (!sparse) return all;
  off_t data = lseek(file, static_cast<off_t>(from), SEEK_DATA);
  if (data < 0) return errno == ENXIO ? Extent{from, size - from, true} : all;
  if (static_cast<uint64_t>(data) > from) {
    return Extent{from, std::min(static_cast<uint64_t>(data), size) - from, true};
  }
  off_t hole = lseek(file, static_cast<off_t>(from), SEEK_HOLE);
  if (hole <= static_cast<off_t>(from)) return all;
  return Extent{from, std::min(static_cast<uint64_t>(hole), size) - from, false};
}

}  // namespace

ContentsSender::ContentsSender(Context context)
    : out_(context.out),
      options_(context.options),
      hooks_(context.hooks),
      root_(context.root),
      progress_(context.progress),
      block_(kDataBlock, '\0') {}

Status ContentsSender::grant(const PlanItem& item, const Entry& entry, const std::string& source) {
  uint64_t before = progress_.bytes_done;
  Status status = answer(item, entry, source);
  if (!status.ok()) return status;
  ++progress_.files_done;
  // What did not have to be sent, or was sent twice, still moves the bar by its size.
  progress_.bytes_done = before + entry.size;
  report_progress();
  return done();
}

Status ContentsSender::answer(const PlanItem& item, const Entry& entry, const std::string& source) {
  std::string index = std::move(Packer().number(item.index).out());
  Result<UniqueFd> file = root_.open_file(source);
  if (!file.ok()) return skip(index, entry, file.error());
  if (item.action == PlanAction::compare) {
    Result<std::string> digest = digest_of(file->get());
    if (!digest.ok()) return skip(index, entry, digest.error());
    bool same = *digest == item.digest;
    if (same) return out_.put(FrameType::same, index);
    if (options_.dry_run) return out_.put(FrameType::differs, index);
  }
  grown_ = Grown();
  // A checkpoint must not change at all; anything else gets a few more tries.
  int attempts = options_.checkpoints ? 1 : kAttempts;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    Result<Outcome> outcome = send_file(file->get(), item.index);
    if (!outcome.ok()) return outcome.error();
    if (*outcome == Outcome::sent) return done();
    if (*outcome == Outcome::gone || attempt == attempts) break;
    nap(20L << attempt);
  }
  add_note(skipped, entry.path, kKeepsChanging);
  return out_.put(FrameType::file_skip, index);
}

Status ContentsSender::skip(const std::string& index, const Entry& entry, const Error& error) {
  // Deleted since the scan: as if it had never been there.
  if (error.kind == ErrorKind::not_found) {
    add_note(skipped, entry.path, "went away before it was read");
  } else {
    add_note(failed, entry.path, error.message);
  }
  return out_.put(FrameType::file_skip, index);
}

Result<std::string> ContentsSender::digest_of(int file) {
  FastDigest digest;
  for (uint64_t at = 0;;) {
    ssize_t got = pread(file, block_.data(), block_.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read", errno);
    if (got == 0) return digest.bytes();
    digest.update(std::string_view(block_).substr(0, static_cast<size_t>(got)));
    at += static_cast<uint64_t>(got);
  }
}

// Error: the stream broke. Anything about the file itself is an Outcome.
Result<ContentsSender::Outcome> ContentsSender::send_file(int file, uint64_t index) {
  struct stat before {};
  if (fstat(file, &before) != 0) return Outcome::gone;
  // Two changes within a tick of the file system's clock look like one: let the tick pass.
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (nanoseconds(now) - nanoseconds(before.st_mtim) < 20'000'000) {
    struct stat earlier = before;
    nap(20);
    if (fstat(file, &before) != 0) return Outcome::gone;
    // Somebody is at it right now. One that only grows is another matter: see is_steady().
    if (!is_same_file(earlier, before) && before.st_size <= earlier.st_size) {
      return Outcome::changed;
    }
  }
  auto size = static_cast<uint64_t>(before.st_size);
  Packer head;
  head.number(index).number(size).signed_number(nanoseconds(before.st_mtim));
  head.number(before.st_mode & 0777);
  Status status = out_.put(FrameType::file, head.out());
  if (!status.ok()) return status.error();
  FastDigest digest;
  bool sparse = static_cast<uint64_t>(before.st_blocks) * 512 < size;
  Result<uint64_t> read = send_bytes(file, size, sparse, digest);
  if (!read.ok()) return read.error();
  struct stat after {};
  bool fine = *read == size && fstat(file, &after) == 0;
  if (fine && !is_same_file(before, after) && !mutant("no-second-look")) {
    fine = !options_.checkpoints && after.st_size > before.st_size &&
           is_steady(file, size, digest.bytes());
  }
  if (fine) {
    status = out_.put(FrameType::file_end, digest.bytes());
    return status.ok() ? Result<Outcome>(Outcome::sent) : Result<Outcome>(status.error());
  }
  progress_.bytes_done -= std::min(progress_.bytes_done, *read);
  status = out_.put(FrameType::file_again, std::string_view());
  if (!status.ok()) return status.error();
  return Outcome::changed;
}

// How many bytes there were.
Result<uint64_t> ContentsSender::send_bytes(int file, uint64_t size, bool sparse,
                                            FastDigest& digest) {
  uint64_t at = 0;
  while (at < size) {
    Extent extent = next_extent(file, at, size, sparse);
    if (extent.hole) {
      std::string count = std::move(Packer().number(extent.length).out());
      digest.update(count);
      Status status = out_.put(FrameType::hole, count);
      if (!status.ok()) return status.error();
      at += extent.length;
      progress_.bytes_done += extent.length;
      continue;
    }
    uint64_t end = at + extent.length;
    while (at < end) {
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      size_t want = static_cast<size_t>(std::min<uint64_t>(block_.size(), end - at));
      ssize_t got = pread(file, block_.data(), want, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return at;  // shorter than it was, or unreadable: told as a change
      std::string_view bytes(block_.data(), static_cast<size_t>(got));
      digest.update(bytes);
      Status status = out_.put(FrameType::data, bytes);
      if (!status.ok()) return status.error();
      at += bytes.size();
      progress_.bytes_done += bytes.size();
      report_progress();
    }
  }
  return at;
}

// A file that only grew is a true copy of what it was: so a log can be fetched while it is
// written. Read again, the same bytes must be there. That it grew by its end, and was not written
// anew and longer just before it was read, shows only when it begins as it did in the try before.
bool ContentsSender::is_steady(int file, uint64_t size, const std::string& sent) {
  bool tried = !grown_.digest.empty();
  Grown before = std::exchange(grown_, Grown{size, sent});
  bool known = tried && before.size == 0;
  FastDigest digest;
  for (uint64_t at = 0; at < size;) {
    if (at == before.size && at > 0) known = digest.bytes() == before.digest;
    uint64_t end = at < before.size ? std::min(size, before.size) : size;
    size_t want = static_cast<size_t>(std::min<uint64_t>(block_.size(), end - at));
    ssize_t got = pread(file, block_.data(), want, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    digest.update(std::string_view(block_.data(), static_cast<size_t>(got)));
    at += static_cast<uint64_t>(got);
  }
  return known && digest.bytes() == sent;  // a sparse one has another digest: tried again
}

void ContentsSender::report_progress() {
  if (hooks_.progress) hooks_.progress(progress_);
}

}  // namespace choline
