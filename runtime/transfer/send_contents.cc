#include "transfer/send_contents.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/mutant.h"
#include "base/text.h"
#include "transfer/posix.h"
#include "transfer/source_file.h"

namespace choline {

ContentsSender::ContentsSender(Context context)
    : in_(context.in),
      out_(context.out),
      options_(context.options),
      hooks_(context.hooks),
      root_(context.root),
      meter_(context.progress, context.hooks),
      pace_(context.options.rate),
      big_({in_, out_, options_, hooks_, root_, meter_, pace_, skipped, context.squeezer}),
      block_(kDataBlock, '\0') {}

void ContentsSender::start(uint64_t bytes) {
  if (!options_.dry_run && bytes >= kBigFile) big_.start(bytes);
}

Status ContentsSender::grant(const PlanItem& item, const Entry& entry, const std::string& source) {
  moved_ = 0;
  big_one_ = false;
  Status status = answer(item, entry, source);
  if (!status.ok()) return big_.explain(status.error());
  // What did not have to be sent, or was sent twice, still moves the bar by its size.
  if (!big_one_) meter_.file(static_cast<int64_t>(entry.size) - static_cast<int64_t>(moved_));
  return done();
}

Result<Json> ContentsSender::finish() {
  Status status = big_.finish();
  std::function<Status()> say_finished = [this] {
    Json end = Json::object();
    end["skipped"] = to_json(skipped);
    end["failed"] = to_json(failed);
    Status said = out_.put_json(FrameType::finished, end);
    return said.ok() ? out_.flush() : said;
  };
  if (!status.ok()) return big_.explain(status.error());
  Result<Json> report = big_.report(say_finished);
  if (!report.ok()) return big_.explain(report.error());
  return report;
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
  Listed listed{entry.size, entry.mtime_ns};
  struct stat now {};
  bool by_list = item.action == PlanAction::patch;
  if (by_list && !big_.listens()) return protocol_error("a list where nothing is big");
  if (by_list || (fstat(file->get(), &now) == 0 && now.st_size >= static_cast<off_t>(kBigFile))) {
    big_one_ = true;
    return big_.send({item.index, entry.path, source, listed}, std::move(file).value(), by_list);
  }
  grown_ = Grown();
  // A checkpoint must not change at all; anything else gets a few more tries.
  int attempts = options_.checkpoints ? 1 : kAttempts;
  for (int attempt = 1; attempt <= attempts; ++attempt) {
    Result<Outcome> outcome = send_file(file->get(), item.index, listed);
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
Result<ContentsSender::Outcome> ContentsSender::send_file(int file, uint64_t index,
                                                          const Listed& listed) {
  struct stat before {};
  if (!is_at_rest(file, listed, before)) return Outcome::changed;
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
  count(-static_cast<int64_t>(*read));
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
      this->count(static_cast<int64_t>(extent.length));
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
      if (!pace_.wait(bytes.size(), hooks_)) {
        return Error(ErrorKind::cancelled, "transfer: stopped");
      }
      Status status = out_.put(FrameType::data, bytes);
      if (!status.ok()) return status.error();
      at += bytes.size();
      count(static_cast<int64_t>(bytes.size()));
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

void ContentsSender::count(int64_t bytes) {
  moved_ += bytes;
  bytes < 0 ? meter_.taken_back(static_cast<uint64_t>(-bytes))
            : meter_.moved(static_cast<uint64_t>(bytes));
}

}  // namespace choline
