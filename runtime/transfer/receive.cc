// The receiving role: compares the manifest with what is here, says what it wants, writes it.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <set>

#include "base/digest_fast.h"
#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/receive_plan.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/tree.h"

namespace choline {

namespace {

std::string folder_of(std::string_view path) {
  size_t slash = path.find_last_of('/');
  return std::string(slash == std::string_view::npos ? std::string_view() : path.substr(0, slash));
}

bool has_errno(const Error& error, const char* name) {
  if (!error.fields.is_object()) return false;
  auto found = error.fields.find("errno");
  return found != error.fields.end() && *found == name;
}

// The disk itself, rather than this one file.
bool is_fatal(const Error& error) {
  for (const char* name : {"ENOSPC", "EIO", "EDQUOT", "EROFS"}) {
    if (has_errno(error, name)) return true;
  }
  return false;
}

class Receiver {
 public:
  Receiver(FrameReader& in, FrameWriter& out, const SyncOptions& options, const SessionHooks& hooks)
      : in_(in), out_(out), options_(options), hooks_(hooks) {}

  Result<SyncReport> run(const std::string& path) {
    ReceivePlan plan(in_, options_, hooks_);
    Status status = plan.make(path);
    if (!status.ok()) return status.error();
    plan_ = &plan;
    status = tell_plan();
    if (!status.ok()) return status.error();
    if (plan.target) parts_.emplace(*plan.target, options_.durable);
    if (!options_.dry_run) {
      status = mark_checkpoints();
      if (status.ok()) status = make_folders_and_links();
      if (!status.ok()) return status.error();
    }
    status = receive_contents();
    if (status.ok() && !options_.dry_run) status = finish();
    if (!status.ok()) return status.error();
    fill_report();
    status = out_.put_json(FrameType::report, to_json(report_));
    if (status.ok()) status = out_.flush();
    if (!status.ok()) return status.error();
    report_progress();
    return report_;
  }

 private:
  const Entry& entry_of(const PlanItem& item) const { return plan_->entries[item.index]; }
  static bool is_wanted(const PlanItem& item) {
    return item.action == PlanAction::send || item.action == PlanAction::compare;
  }

  Status tell_plan() {
    std::string batch;
    for (const PlanItem& item : plan_->items) {
      batch += pack(item);
      if (batch.size() >= 64 << 10) {
        Status status = out_.put(FrameType::plan, std::exchange(batch, {}));
        if (!status.ok()) return status;
      }
      if (!is_wanted(item)) continue;
      ++progress_.files_total;
      progress_.bytes_total += entry_of(item).size;
    }
    Status status = batch.empty() ? done() : out_.put(FrameType::plan, batch);
    if (status.ok()) status = out_.put(FrameType::plan_end, std::string_view());
    report_progress();
    return status.ok() ? out_.flush() : status;
  }

  // A failure that concerns one path goes on the list; one of the disk ends the session.
  Status note(const std::string& path, Status status) {
    if (status.ok()) return status;
    if (is_fatal(status.error())) return status;
    fail(path, status.error().message);
    return done();
  }
  void fail(const std::string& path, std::string why) {
    broken_.emplace(checkpoint_of(path));
    add_note(report_.failed, path, std::move(why));
  }

  // Before anything in the folder of a checkpoint changes, it is marked as incomplete.
  Status mark_checkpoints() {
    if (!options_.checkpoints) return done();
    for (const PlanItem& item : plan_->items) {
      const std::string& path =
          item.action == PlanAction::removed ? item.path : entry_of(item).path;
      std::string unit(checkpoint_of(path));
      bool is_folder = unit.size() < path.size() || (item.action != PlanAction::removed &&
                                                     entry_of(item).kind == EntryKind::folder);
      if (is_folder && plan_->marked.insert(unit).second) {
        Status status = note(unit, mark(unit));
        if (!status.ok()) return status;
      }
    }
    return done();
  }

  Status mark(const std::string& unit) {
    Target& target = *plan_->target;
    std::string marker = unit + "/" + std::string(kIncompleteMarker);
    Status status = target.make_folder(unit);
    if (!status.ok()) return status;
    Result<std::optional<Entry>> present = target.look(marker);
    if (present.ok() && *present) return done();
    PartFiles writer(target, options_.durable);
    Entry entry;
    entry.path = marker;
    entry.mode = 0644;
    status = writer.begin(marker);
    if (status.ok()) status = writer.write("files are on their way into this folder\n");
    if (status.ok()) status = writer.finish(entry, false);
    if (status.ok()) status = writer.commit();
    if (status.ok() && !writer.failed.empty()) {
      return Error(ErrorKind::io, writer.failed.front().why);
    }
    return status;
  }

  Status make_folders_and_links() {
    for (const PlanItem& item : plan_->items) {
      if (item.action != PlanAction::touched) continue;
      const Entry& entry = entry_of(item);
      Status status = touch(item, entry);
      if (status.ok()) ++report_.touched;
      status = note(entry.path, std::move(status));
      if (!status.ok()) return status;
    }
    return done();
  }

  Status touch(const PlanItem& item, const Entry& entry) {
    Target& target = *plan_->target;
    if (item.reason == MoveReason::kind && options_.delete_extra) {
      Status status = target.remove(entry.path, true);
      if (!status.ok()) return status;
    }
    if (entry.kind == EntryKind::link) return target.make_link(entry.path, entry.link);
    if (entry.kind == EntryKind::file) return adopt(entry);
    folder_modes_.push_back(&entry);
    new_folders_ = new_folders_ || item.reason != MoveReason::mode;
    return target.make_folder(entry.path);
  }

  // The contents are right: only mode and time are the sender's.
  Status adopt(const Entry& entry) {
    Status status = plan_->target->set_mode(entry.path, entry.mode, EntryKind::file);
    return status.ok() ? plan_->target->set_mtime(entry.path, entry.mtime_ns) : status;
  }

  Status receive_contents() {
    for (PlanItem& item : plan_->items) {
      if (!is_wanted(item)) continue;
      if (options_.dry_run && item.action == PlanAction::send) continue;
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      uint64_t before = progress_.bytes_done;
      Status status = receive_one(item);
      if (!status.ok()) return status;
      ++progress_.files_done;
      progress_.bytes_done = before + entry_of(item).size;
      report_progress();
    }
    Result<Json> end = in_.expect_json(FrameType::finished);
    if (!end.ok()) return end.error();
    for (auto [key, list] : {std::pair{"skipped", &report_.skipped}, {"failed", &report_.failed}}) {
      Result<std::vector<SyncNote>> notes = notes_from_json(end->value(key, Json::array()));
      if (!notes.ok()) return notes.error();
      add_notes(*list, *notes);
    }
    return done();
  }

  // The answer to one wish: maybe several tries at a file.
  Status receive_one(PlanItem& item) {
    for (;;) {
      Result<Frame> frame = in_.next();
      if (!frame.ok()) return frame.error();
      Unpacker in(frame->payload);
      uint64_t index = 0;
      if (!in.number(index) || index != item.index)
        return protocol_error("a file that was not due");
      switch (frame->type) {
        case FrameType::file: {
          Result<bool> came = receive_file(item, in);
          if (!came.ok()) return came.error();
          if (*came) return done();
          break;
        }
        case FrameType::same:
          item.action = PlanAction::touched;
          if (options_.dry_run) return done();
          ++report_.touched;
          return note(entry_of(item).path, adopt(entry_of(item)));
        case FrameType::differs:
          if (!options_.dry_run) return protocol_error("a comparison in place of a file");
          item.reason = MoveReason::content;
          return done();
        case FrameType::file_skip:
          broken_.emplace(checkpoint_of(entry_of(item).path));
          skipped_.insert(item.index);
          return done();
        default:
          return protocol_error("something else in place of a file");
      }
    }
  }

  // False when the sender takes it back, to send it again.
  Result<bool> receive_file(const PlanItem& item, Unpacker& head) {
    Entry entry = entry_of(item);
    uint64_t mode = 0;
    bool fine = head.number(entry.size) && entry.size < 1ULL << 62 &&
                head.signed_number(entry.mtime_ns) && head.number(mode) && mode <= 0777 &&
                head.at_end() && !options_.dry_run;
    if (!fine) return protocol_error("a file that cannot be read");
    entry.mode = static_cast<uint32_t>(mode);
    Status ready = begin(entry.path);
    bool discard = !ready.ok();
    if (discard && is_fatal(ready.error())) return ready.error();
    uint64_t got = 0;
    FastDigest digest;
    for (;;) {
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      Result<Frame> frame = in_.next();
      if (!frame.ok()) return frame.error();
      if (frame->type == FrameType::data || frame->type == FrameType::hole) {
        Status status = take(*frame, entry.size, discard, got, digest);
        if (!status.ok()) return status.error();
        continue;
      }
      if (frame->type == FrameType::file_again) {
        parts_->drop();
        progress_.bytes_done -= std::min(progress_.bytes_done, got);
        return false;
      }
      if (frame->type != FrameType::file_end) return protocol_error("something else within a file");
      if (got != entry.size) return protocol_error("a file of another size than it said");
      if (frame->payload != digest.bytes()) {
        return Error(ErrorKind::io, "transfer: " + choline::quoted(entry.path) +
                                        " was damaged on the way; try again");
      }
      if (discard) {
        fail(entry.path, ready.error().message);
        skipped_.insert(item.index);
        return true;
      }
      ++report_.files_moved;
      report_.bytes_moved += got;
      Status status = parts_->finish(entry, options_.delete_extra);
      return status.ok() ? Result<bool>(true) : Result<bool>(status.error());
    }
  }

  Status begin(const std::string& path) {
    std::string above = folder_of(path);
    if (!cleared_ || *cleared_ != above) {
      cleared_ = above;
      Result<SharedFd> folder = plan_->target->folder(above);
      if (folder.ok()) clear_dead_parts((*folder)->get());
    }
    Status status = parts_->begin(path);
    if (status.ok() || !has_errno(status.error(), "EACCES") || above.empty()) return status;
    // A folder that is closed even to its owner: open it until the end.
    if (!plan_->target->make_folder(above).ok()) return status;
    for (const Entry& entry : plan_->entries) {
      if (entry.path == above) folder_modes_.push_back(&entry);
    }
    return parts_->begin(path);
  }

  Status take(const Frame& frame, uint64_t size, bool discard, uint64_t& got, FastDigest& digest) {
    uint64_t count = frame.payload.size();
    if (frame.type == FrameType::hole) {
      Unpacker in(frame.payload);
      if (!in.number(count) || !in.at_end()) return protocol_error("a hole that cannot be read");
    }
    if (count > size - got) return protocol_error("more of a file than it said");
    got += count;
    progress_.bytes_done += count;
    digest.update(frame.payload);
    report_progress();
    if (discard) return done();
    return frame.type == FrameType::hole ? parts_->hole(count) : parts_->write(frame.payload);
  }

  Status finish() {
    Target& target = *plan_->target;
    Status status = parts_->commit();
    for (const SyncNote& note : parts_->failed) {
      broken_.emplace(checkpoint_of(note.path));
      --report_.files_moved;
    }
    add_notes(report_.failed, parts_->failed);
    if (!status.ok()) return status;
    for (const PlanItem& item : plan_->items) {
      if (item.action != PlanAction::removed) continue;
      if (plan_->marked.contains(item.path)) {
        (void)target.remove(item.path + "/" + std::string(kIncompleteMarker), false);
      }
      status = target.remove(item.path, false);
      bool gone = status.ok();
      // Where a file took the place of a folder, what was in it went along.
      for (const char* name : {"ENOENT", "ENOTDIR", "ELOOP"}) {
        gone = gone || has_errno(status.error(), name);
      }
      if (gone) {
        ++report_.removed;
      } else if (has_errno(status.error(), "ENOTEMPTY") || has_errno(status.error(), "EEXIST")) {
        add_note(report_.skipped, item.path, "not removed, as it holds files that are left alone");
      } else {
        status = note(item.path, std::move(status));
        if (!status.ok()) return status;
      }
    }
    target.forget_cache();
    for (auto entry = folder_modes_.rbegin(); entry != folder_modes_.rend(); ++entry) {
      status =
          note((*entry)->path, target.set_mode((*entry)->path, (*entry)->mode, EntryKind::folder));
      if (!status.ok()) return status;
    }
    status = sync_new_folders();
    return status.ok() ? unmark_checkpoints() : status;
  }

  // A folder's name is on disk only when the folder above it is.
  Status sync_new_folders() {
    if (!options_.durable || !new_folders_) return done();
    std::set<std::string> above;
    for (const Entry* entry : folder_modes_) above.insert(folder_of(entry->path));
    for (const std::string& path : above) {
      Status status = plan_->target->sync_folder(path);
      if (!status.ok() && is_fatal(status.error())) return status;
    }
    return done();
  }

  Status unmark_checkpoints() {
    for (const std::string& unit : plan_->marked) {
      if (broken_.contains(unit)) continue;
      std::string marker = unit + "/" + std::string(kIncompleteMarker);
      Status status = plan_->target->remove(marker, false);
      if (status.ok() && options_.durable) status = plan_->target->sync_folder(unit);
      // The whole folder may have been extra, and be gone.
      if (!status.ok() && !has_errno(status.error(), "ENOENT")) {
        status = note(unit, std::move(status));
        if (!status.ok()) return status;
      }
    }
    return done();
  }

  void fill_report() {
    report_.entries = plan_->entries.size();
    report_.unchanged = plan_->unchanged;
    std::vector<SyncNote> during = std::move(report_.skipped), failed = std::move(report_.failed);
    report_.skipped = plan_->skipped;
    report_.failed = plan_->failed;
    add_notes(report_.skipped, during);
    add_notes(report_.failed, failed);
    for (const PlanItem& item : plan_->items) {
      if (report_.moves.size() >= kListLimit) break;
      if (item.action == PlanAction::removed) {
        report_.moves.push_back({item.path, MoveReason::removed, 0});
      } else if (!skipped_.contains(item.index)) {
        uint64_t bytes = is_wanted(item) ? entry_of(item).size : 0;
        report_.moves.push_back({entry_of(item).path, item.reason, bytes});
      }
    }
  }

  void report_progress() {
    if (hooks_.progress) hooks_.progress(progress_);
  }

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  ReceivePlan* plan_ = nullptr;
  std::optional<PartFiles> parts_;
  SyncReport report_;
  SyncProgress progress_;
  std::vector<const Entry*> folder_modes_;  // get their modes at the end, inner ones first
  bool new_folders_ = false;
  std::set<std::string, std::less<>> broken_;  // checkpoints that lack something
  std::set<uint64_t> skipped_;                 // wishes that were not granted
  std::optional<std::string> cleared_;
};

}  // namespace

Result<SyncReport> receive_tree(FrameReader& in, FrameWriter& out, const std::string& path,
                                const SyncOptions& options, const SessionHooks& hooks) {
  Receiver receiver(in, out, options, hooks);
  Result<SyncReport> report = receiver.run(path);
  if (report.ok()) return report;
  tell_failure(out, report.error());
  return peer_reason(in, std::move(report).error());
}

}  // namespace choline
