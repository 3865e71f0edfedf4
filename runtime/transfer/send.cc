// The sending role: a manifest, then the contents that the receiver wants.
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest_fast.h"
#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/posix.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/tree.h"

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

enum class Outcome { sent, changed, gone };

class Sender {
 public:
  Sender(FrameReader& in, FrameWriter& out, const SyncOptions& options, const SessionHooks& hooks)
      : in_(in), out_(out), options_(options), hooks_(hooks), block_(kDataBlock, '\0') {}

  Result<SyncReport> run(const std::string& path) {
    Status status = scan(path);
    if (status.ok()) status = send_manifest();
    if (status.ok()) status = read_plan();
    if (status.ok()) status = send_contents();
    if (!status.ok()) return status.error();
    Result<Json> told = in_.expect_json(FrameType::report);
    if (!told.ok()) return told.error();
    report_progress();
    return sync_report_from_json(*told);
  }

 private:
  Status scan(const std::string& path) {
    ScanOptions scan;
    scan.exclude = options_.exclude;
    scan.use_ignore_files = options_.use_ignore_files;
    Result<Tree> tree = options_.checkpoints
                            ? scan_checkpoints(path, scan, options_.settle, hooks_.stop)
                            : scan_tree(path, scan, hooks_.stop);
    if (!tree.ok()) return tree.error();
    tree_ = std::move(tree).value();
    if (!options_.outside_links.value_or(true)) {
      std::erase_if(tree_.entries, [this](const Entry& entry) {
        bool leaves = entry.kind == EntryKind::link && leads_outside(entry.path, entry.link);
        if (leaves) add_note(tree_.skipped, entry.path, "a link that leads out of the tree");
        return leaves;
      });
    }
    Result<Target> root = Target::open(tree_.folder, false);
    if (!root.ok()) return root.error();
    root_.emplace(std::move(root).value());
    return done();
  }

  Status send_manifest() {
    Json head = Json::object();
    head["single"] = tree_.single;
    head["name"] = tree_.name;
    Json rules = Json::array();
    for (const IgnoreFile& file : tree_.rules) {
      Json rule = Json::object();
      rule["folder"] = file.folder;
      rule["text"] = file.text;
      rule["above"] = file.above;
      rules.push_back(std::move(rule));
    }
    // Rules matter to what is removed at the target only.
    if (options_.delete_extra) head["rules"] = std::move(rules);
    Status status = out_.put_json(FrameType::tree, head);
    ManifestWriter manifest;
    for (const Entry& entry : tree_.entries) {
      std::string batch = manifest.add(entry);
      if (status.ok() && !batch.empty()) status = out_.put(FrameType::entries, batch);
      if (!status.ok()) return status;
    }
    std::string rest = manifest.rest();
    if (status.ok() && !rest.empty()) status = out_.put(FrameType::entries, rest);
    Json end = Json::object();
    end["count"] = tree_.entries.size();
    end["skipped"] = to_json(tree_.skipped);
    // A list that was cut does not tell all that must stay at the target.
    end["cut"] =
        end["skipped"].size() != tree_.skipped.size() || tree_.skipped.size() >= kListLimit;
    end["failed"] = to_json(tree_.failed);
    if (status.ok()) status = out_.put_json(FrameType::entries_end, end);
    return status.ok() ? out_.flush() : status;
  }

  Status read_plan() {
    for (;;) {
      Result<Frame> frame = in_.next();
      if (!frame.ok()) return frame.error();
      if (frame->type == FrameType::plan_end) break;
      if (frame->type != FrameType::plan) return protocol_error("no plan where one was due");
      Status status = unpack_plan(frame->payload, tree_.entries.size(), plan_);
      if (!status.ok()) return status;
    }
    for (const PlanItem& item : plan_) {
      if (!is_wanted(item)) continue;
      if (tree_.entries[item.index].kind != EntryKind::file) {
        return protocol_error("a wish for the contents of what is no file");
      }
      ++progress_.files_total;
      progress_.bytes_total += tree_.entries[item.index].size;
    }
    report_progress();
    return done();
  }

  static bool is_wanted(const PlanItem& item) {
    return item.action == PlanAction::send || item.action == PlanAction::compare;
  }

  Status send_contents() {
    for (const PlanItem& item : plan_) {
      if (!is_wanted(item)) continue;
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      if (options_.dry_run && item.action == PlanAction::send) continue;
      uint64_t before = progress_.bytes_done;
      Status status = send_one(item);
      if (!status.ok()) return status;
      ++progress_.files_done;
      // What did not have to be sent, or was sent twice, still moves the bar by its size.
      progress_.bytes_done = before + tree_.entries[item.index].size;
      report_progress();
    }
    Json end = Json::object();
    end["skipped"] = to_json(skipped_);
    end["failed"] = to_json(failed_);
    Status status = out_.put_json(FrameType::finished, end);
    return status.ok() ? out_.flush() : status;
  }

  Status send_one(const PlanItem& item) {
    const Entry& entry = tree_.entries[item.index];
    std::string index = std::move(Packer().number(item.index).out());
    std::string source = tree_.single ? tree_.source : entry.path;
    Result<UniqueFd> file = root_->open_file(source);
    if (!file.ok()) return skip(index, entry, file.error());
    if (item.action == PlanAction::compare) {
      Result<std::string> digest = digest_of(file->get());
      if (!digest.ok()) return skip(index, entry, digest.error());
      bool same = *digest == item.digest;
      if (same) return out_.put(FrameType::same, index);
      if (options_.dry_run) return out_.put(FrameType::differs, index);
    }
    // A checkpoint must not change at all; anything else gets a few more tries.
    int attempts = options_.checkpoints ? 1 : kAttempts;
    for (int attempt = 1; attempt <= attempts; ++attempt) {
      Result<Outcome> outcome = send_file(file->get(), item.index);
      if (!outcome.ok()) return outcome.error();
      if (*outcome == Outcome::sent) return done();
      if (*outcome == Outcome::gone || attempt == attempts) break;
      nap(20L << attempt);
    }
    add_note(skipped_, entry.path, kKeepsChanging);
    return out_.put(FrameType::file_skip, index);
  }

  Status skip(const std::string& index, const Entry& entry, const Error& error) {
    // Deleted since the scan: as if it had never been there.
    if (error.kind == ErrorKind::not_found) {
      add_note(skipped_, entry.path, "went away before it was read");
    } else {
      add_note(failed_, entry.path, error.message);
    }
    return out_.put(FrameType::file_skip, index);
  }

  Result<std::string> digest_of(int file) {
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
  Result<Outcome> send_file(int file, uint64_t index) {
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
    if (fine && !is_same_file(before, after)) {
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
  Result<uint64_t> send_bytes(int file, uint64_t size, bool sparse, FastDigest& digest) {
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
  // written. Read again, the same bytes must be there.
  bool is_steady(int file, uint64_t size, const std::string& sent) {
    FastDigest digest;
    for (uint64_t at = 0; at < size;) {
      size_t want = static_cast<size_t>(std::min<uint64_t>(block_.size(), size - at));
      ssize_t got = pread(file, block_.data(), want, static_cast<off_t>(at));
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return false;
      digest.update(std::string_view(block_.data(), static_cast<size_t>(got)));
      at += static_cast<uint64_t>(got);
    }
    return digest.bytes() == sent;  // a sparse one has another digest, and is tried again
  }

  void report_progress() {
    if (hooks_.progress) hooks_.progress(progress_);
  }

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  std::string block_;
  Tree tree_;
  std::optional<Target> root_;
  std::vector<PlanItem> plan_;
  std::vector<SyncNote> skipped_, failed_;
  SyncProgress progress_;
};

}  // namespace

Result<SyncReport> send_tree(FrameReader& in, FrameWriter& out, const std::string& path,
                             const SyncOptions& options, const SessionHooks& hooks) {
  Sender sender(in, out, options, hooks);
  Result<SyncReport> report = sender.run(path);
  if (report.ok()) return report;
  tell_failure(out, report.error());
  return peer_reason(in, std::move(report).error());
}

Status write_request(FrameWriter& out, ServeRole role, const std::string& path,
                     const SyncOptions& options, const std::vector<std::string>& names) {
  Json request = Json::object();
  request["magic"] = "choline-files";
  request["version"] = kTransferVersion;
  request["role"] = role == ServeRole::send        ? "send"
                    : role == ServeRole::receive   ? "receive"
                    : role == ServeRole::manifests ? "manifests"
                                                   : "checkpoints";
  if (!names.empty()) request["names"] = names;
  request["path"] = path;
  request["options"] = to_json(options);
  Status status = out.put_json(FrameType::request, request);
  return status.ok() ? out.flush() : status;
}

void tell_failure(FrameWriter& out, const Error& error) {
  if (out.put_json(FrameType::fail, to_json(error)).ok()) (void)out.flush();
}

Error peer_reason(FrameReader& in, Error error) {
  const Json& fields = error.fields;
  bool write_failed = fields.is_object() && fields.contains("errno") &&
                      error.message.starts_with("transfer: write");
  if (!write_failed) return error;
  for (;;) {
    Result<Frame> frame = in.next();
    if (frame.ok()) continue;
    bool told = frame.error().kind != ErrorKind::lost &&
                !frame.error().message.starts_with("transfer: read");
    return told ? std::move(frame).error() : error;
  }
}

}  // namespace choline
