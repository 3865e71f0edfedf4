// The receiving role: compares the manifest with what is here, says what it wants, writes it.
#include <algorithm>
#include <optional>
#include <set>

#include "base/text.h"
#include "transfer/checkpoint.h"
#include "transfer/plan.h"
#include "transfer/posix.h"
#include "transfer/receive_contents.h"
#include "transfer/receive_pack.h"
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
    ReceivePlan plan(in_, path, options_, hooks_);
    plan_ = &plan;
    Status status = plan.make();
    if (status.ok()) status = plan.tell(out_);
    // Where nothing is asked for, the report follows without a word from the sender.
    if (status.ok() && plan.asks) status = out_.flush();
    if (!status.ok()) return status.error();
    received_.progress.files_total = plan.wishes.size();
    received_.progress.bytes_total = plan.bytes_wanted;
    report_progress();
    contents_.emplace(ContentsReceiver::Context{
        in_, out_, options_, hooks_, plan.target ? &*plan.target : nullptr, received_,
        [this](const std::string& folder) { return open_folder(folder); },
        [this](const PlanItem& item) { correct_move(item); }});
    if (!options_.dry_run) {
      expect_contents();
      clear_parts();
      status = mark_checkpoints();
      if (status.ok()) status = make_folders_and_links();
      if (!status.ok()) return status.error();
    }
    if (plan.asks) status = receive_contents();
    if (status.ok() && !options_.dry_run) status = finish();
    if (!status.ok()) return status.error();
    fill_report();
    status = out_.put_json(FrameType::report, to_json(received_.report));
    if (status.ok()) status = out_.flush();
    if (!status.ok()) return status.error();
    report_progress();
    return std::move(received_.report);
  }

 private:
  void expect_contents() {
    EntryLog::Cursor wishes(plan_->wishes);
    while (const EntryLog::Item* kept = wishes.next()) {
      contents_->expect(ReceivePlan::item_of(*kept), kept->entry);
    }
  }

  void clear_parts() {
    for (const std::string& folder : plan_->part_folders) {
      Result<SharedFd> found = plan_->target->folder(folder);
      if (!found.ok()) continue;
      clear_dead_parts((*found)->get(), [&](const std::string& name) {
        return contents_->may_use(folder.empty() ? name : folder + "/" + name);
      });
    }
  }

  // Before anything in the folder of a checkpoint changes, it is marked as incomplete.
  Status mark_checkpoints() {
    for (const std::string& unit : plan_->changing) {
      if (!plan_->marked.insert(unit).second) continue;
      Status status = received_.note(unit, mark(unit));
      if (!status.ok()) return status;
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
    EntryLog::Cursor cursor(plan_->touched);
    while (const EntryLog::Item* kept = cursor.next()) {
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      Status status = touch(ReceivePlan::item_of(*kept), kept->entry);
      if (status.ok()) ++received_.report.touched;
      status = received_.note(kept->entry.path, std::move(status));
      if (!status.ok()) return status;
    }
    return done();
  }

  Status touch(const PlanItem& item, const Entry& entry) {
    Target& target = *plan_->target;
    if (item.reason == MoveReason::kind && plan_->may_clear(entry.path)) {
      Status status = target.remove(entry.path, true);
      if (!status.ok()) return status;
    }
    if (entry.kind == EntryKind::link) return target.make_link(entry.path, entry.link);
    if (entry.kind == EntryKind::file) return contents_->adopt(entry);
    folder_modes_.add(entry, 0, 0);
    if (item.reason != MoveReason::mode) ++new_folders_;
    return target.make_folder(entry.path);
  }

  Status receive_contents() {
    contents_->start();
    // A dry run into nothing has no target, and gets no packs either.
    std::optional<PackReceiver> packs;
    if (plan_->target) {
      packs.emplace(
          PackReceiver::Context{in_, options_, *plan_->target, received_, contents_->meter(),
                                [this](const std::string& folder) { return open_folder(folder); }});
    }
    EntryLog::Cursor cursor(plan_->wishes);
    while (const EntryLog::Item* kept = cursor.next()) {
      PlanItem item = ReceivePlan::item_of(*kept);
      if (options_.dry_run && item.action == PlanAction::send) continue;
      item.may_clear = item.reason == MoveReason::kind && plan_->may_clear(kept->entry.path);
      if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
      bool may = goes_in_pack(item, kept->entry, options_);
      // Between packs there may be pieces of big files.
      if (may && packs && !packs->in_pack()) {
        Result<bool> held = contents_->take_pieces();
        if (!held.ok()) return held.error();
        may = !*held;
      }
      Result<bool> packed = packs ? packs->has_next(may) : Result<bool>(false);
      if (!packed.ok()) return packed.error();
      Status status = *packed ? packs->take(item, kept->entry) : contents_->take(item, kept->entry);
      if (!status.ok()) return status;
      if (*packed) correct_move(item);
      if (options_.dry_run) count_compared(item, kept->entry);
    }
    Status named = packs ? packs->finish() : done();
    return named.ok() ? contents_->finish() : named;
  }

  // Of two that may be equal, only the sender's answer tells what a dry run would have moved.
  void count_compared(const PlanItem& item, const Entry& entry) {
    if (item.action != PlanAction::compare || received_.skipped.contains(item.index)) return;
    ++received_.report.files_moved;
    received_.report.bytes_moved += entry.size;
  }

  // The list of what moves was made before any of it did.
  void correct_move(const PlanItem& item) {
    bool skipped = received_.skipped.contains(item.index);
    received_.skipped.clear();
    std::vector<ReceivePlan::Move>& moves = plan_->moves;
    auto move = std::lower_bound(
        moves.begin(), moves.end(), item.index,
        [](const ReceivePlan::Move& each, uint64_t index) { return each.index < index; });
    if (move == moves.end() || move->index != item.index) return;
    move->gone = skipped;
    // One that came although only its time differed has other contents.
    bool came = item.reason == MoveReason::mtime && item.action != PlanAction::touched;
    move->move.reason = came ? MoveReason::content : item.reason;
    if (item.action == PlanAction::touched) move->move.bytes = 0;
  }

  // A folder that is closed even to its owner stays open until the end.
  bool open_folder(const std::string& path) {
    Result<std::optional<Entry>> now = plan_->target->look(path);
    if (!plan_->target->make_folder(path).ok()) return false;
    if (now.ok() && *now) folder_modes_.add(**now, 0, 0);
    return true;
  }

  Status finish() {
    Target& target = *plan_->target;
    Status status = plan_->removed.backwards(
        [this](const EntryLog::Item& item) { return remove_extra(item.entry.path); });
    if (!status.ok()) return status;
    target.forget_cache();
    status = folder_modes_.backwards([&](const EntryLog::Item& item) {
      const Entry& folder = item.entry;
      return received_.note(folder.path,
                            target.set_mode(folder.path, folder.mode, EntryKind::folder));
    });
    if (status.ok()) status = sync_new_folders();
    return status.ok() ? unmark_checkpoints() : status;
  }

  Status remove_extra(const std::string& path) {
    Target& target = *plan_->target;
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    if (plan_->marked.contains(path)) {
      (void)target.remove(path + "/" + std::string(kIncompleteMarker), false);
    }
    Status status = target.remove(path, false);
    bool gone = status.ok();
    // Where a file took the place of a folder, what was in it went along.
    for (const char* name : {"ENOENT", "ENOTDIR", "ELOOP"}) {
      gone = gone || has_errno(status.error(), name);
    }
    if (gone) {
      ++received_.report.removed;
    } else if (has_errno(status.error(), "ENOTEMPTY") || has_errno(status.error(), "EEXIST")) {
      add_note(received_.report.skipped, path,
               "not removed, as it holds files that are left alone");
    } else {
      return received_.note(path, std::move(status));
    }
    return done();
  }

  // A folder's name is on disk only when the folder above it is.
  Status sync_new_folders() {
    if (!options_.durable || new_folders_ == 0) return done();
    std::set<std::string> above;
    EntryLog::Cursor cursor(folder_modes_);
    while (const EntryLog::Item* item = cursor.next()) above.insert(folder_of(item->entry.path));
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
    SyncReport& report = received_.report;
    report.entries = plan_->entries;
    report.unchanged += plan_->unchanged;
    if (options_.dry_run) {
      report.files_moved += plan_->sends;
      report.bytes_moved += plan_->send_bytes;
      report.removed = plan_->removed.size();
    }
    std::vector<SyncNote> skipped = std::move(plan_->skipped), failed = std::move(plan_->failed);
    add_notes(skipped, report.skipped);
    add_notes(failed, report.failed);
    report.skipped = std::move(skipped);
    report.failed = std::move(failed);
    for (ReceivePlan::Move& each : plan_->moves) {
      if (!each.gone) report.moves.push_back(std::move(each.move));
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
  EntryLog folder_modes_;  // get their modes at the end, inner ones first
  size_t new_folders_ = 0;
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
