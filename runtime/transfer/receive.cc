// The receiving role: compares the manifest with what is here, says what it wants, writes it.
#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/posix.h"
#include "transfer/receive_contents.h"
#include "transfer/receive_plan.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/tree.h"

namespace choline {

namespace {

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
    contents_.emplace(ContentsReceiver::Context{
        in_, options_, hooks_, plan.target ? &*plan.target : nullptr, received_,
        [this](const std::string& folder) { return open_folder(folder); }});
    if (!options_.dry_run) {
      status = mark_checkpoints();
      if (status.ok()) status = make_folders_and_links();
      if (!status.ok()) return status.error();
    }
    status = receive_contents();
    if (status.ok() && !options_.dry_run) status = finish();
    if (!status.ok()) return status.error();
    fill_report();
    status = out_.put_json(FrameType::report, to_json(received_.report));
    if (status.ok()) status = out_.flush();
    if (!status.ok()) return status.error();
    report_progress();
    return received_.report;
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
      ++received_.progress.files_total;
      received_.progress.bytes_total += entry_of(item).size;
    }
    Status status = batch.empty() ? done() : out_.put(FrameType::plan, batch);
    if (status.ok()) status = out_.put(FrameType::plan_end, std::string_view());
    report_progress();
    return status.ok() ? out_.flush() : status;
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
        Status status = received_.note(unit, mark(unit));
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
      if (status.ok()) ++received_.report.touched;
      status = received_.note(entry.path, std::move(status));
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
    if (entry.kind == EntryKind::file) return contents_->adopt(entry);
    folder_modes_.push_back(&entry);
    new_folders_ = new_folders_ || item.reason != MoveReason::mode;
    return target.make_folder(entry.path);
  }

  Status receive_contents() {
    for (PlanItem& item : plan_->items) {
      if (!is_wanted(item)) continue;
      if (options_.dry_run && item.action == PlanAction::send) continue;
      Status status = contents_->take(item, entry_of(item));
      if (!status.ok()) return status;
    }
    Result<Json> end = in_.expect_json(FrameType::finished);
    if (!end.ok()) return end.error();
    for (auto [key, list] :
         {std::pair{"skipped", &received_.report.skipped}, {"failed", &received_.report.failed}}) {
      Result<std::vector<SyncNote>> notes = notes_from_json(end->value(key, Json::array()));
      if (!notes.ok()) return notes.error();
      add_notes(*list, *notes);
    }
    return done();
  }

  // A folder that is closed even to its owner stays open until the end.
  bool open_folder(const std::string& path) {
    if (!plan_->target->make_folder(path).ok()) return false;
    for (const Entry& entry : plan_->entries) {
      if (entry.path == path) folder_modes_.push_back(&entry);
    }
    return true;
  }

  Status finish() {
    Target& target = *plan_->target;
    Status status = contents_->commit();
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
        ++received_.report.removed;
      } else if (has_errno(status.error(), "ENOTEMPTY") || has_errno(status.error(), "EEXIST")) {
        add_note(received_.report.skipped, item.path,
                 "not removed, as it holds files that are left alone");
      } else {
        status = received_.note(item.path, std::move(status));
        if (!status.ok()) return status;
      }
    }
    target.forget_cache();
    for (auto entry = folder_modes_.rbegin(); entry != folder_modes_.rend(); ++entry) {
      status = received_.note((*entry)->path,
                              target.set_mode((*entry)->path, (*entry)->mode, EntryKind::folder));
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
      if (received_.broken.contains(unit)) continue;
      std::string marker = unit + "/" + std::string(kIncompleteMarker);
      Status status = plan_->target->remove(marker, false);
      if (status.ok() && options_.durable) status = plan_->target->sync_folder(unit);
      // The whole folder may have been extra, and be gone.
      if (!status.ok() && !has_errno(status.error(), "ENOENT")) {
        status = received_.note(unit, std::move(status));
        if (!status.ok()) return status;
      }
    }
    return done();
  }

  void fill_report() {
    received_.report.entries = plan_->entries.size();
    received_.report.unchanged = plan_->unchanged;
    std::vector<SyncNote> during = std::move(received_.report.skipped),
                          failed = std::move(received_.report.failed);
    received_.report.skipped = plan_->skipped;
    received_.report.failed = plan_->failed;
    add_notes(received_.report.skipped, during);
    add_notes(received_.report.failed, failed);
    for (const PlanItem& item : plan_->items) {
      if (options_.dry_run) count_wish(item);
      if (received_.report.moves.size() >= kListLimit) continue;
      if (item.action == PlanAction::removed) {
        received_.report.moves.push_back({item.path, MoveReason::removed, 0});
      } else if (!received_.skipped.contains(item.index)) {
        uint64_t bytes = is_wanted(item) ? entry_of(item).size : 0;
        received_.report.moves.push_back({entry_of(item).path, item.reason, bytes});
      }
    }
  }

  // What a dry run would have moved.
  void count_wish(const PlanItem& item) {
    if (item.action == PlanAction::removed) {
      ++received_.report.removed;
    } else if (is_wanted(item) && !received_.skipped.contains(item.index)) {
      ++received_.report.files_moved;
      received_.report.bytes_moved += entry_of(item).size;
    }
  }

  void report_progress() {
    if (hooks_.progress) hooks_.progress(received_.progress);
  }

  FrameReader& in_;
  FrameWriter& out_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  ReceivePlan* plan_ = nullptr;
  std::optional<ContentsReceiver> contents_;
  Received received_;
  std::vector<const Entry*> folder_modes_;  // get their modes at the end, inner ones first
  bool new_folders_ = false;
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
