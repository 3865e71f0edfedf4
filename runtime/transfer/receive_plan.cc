#include "transfer/receive_plan.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/digest_fast.h"
#include "base/mutant.h"
#include "base/text.h"
#include "transfer/big_part.h"
#include "transfer/checkpoint.h"
#include "transfer/pieces.h"
#include "transfer/posix.h"
#include "transfer/receive_contents.h"

namespace choline {

namespace {
constexpr size_t kPlanBatch = 64 << 10;

bool is_folder(const std::string& path) {
  struct stat info {};
  return stat(path.c_str(), &info) == 0 && S_ISDIR(info.st_mode);
}

}  // namespace

ReceivePlan::ReceivePlan(FrameReader& in, const std::string& path, const SyncOptions& options,
                         const SessionHooks& hooks)
    : in_(in), options_(options), hooks_(hooks), path_(path), root_(path) {
  std::vector<std::string> base;
  if (options.use_ignore_files) base.push_back(".git");
  theirs_.add_patterns(base);
  theirs_.add_patterns(options.exclude);
  Result<TreePlace> place = look_at_tree(path);
  if (!place.ok() || place->single) return;
  WalkOptions walk;
  walk.scan.everything = true;
  // What is ignored here matters to what may be removed only.
  walk.scan.use_ignore_files = options.delete_extra && options.use_ignore_files;
  if (options.delete_extra) walk.scan.exclude = options.exclude;
  here_.emplace(std::make_unique<TreeWalk>(std::move(place).value(), std::move(walk), hooks.stop));
}

PlanItem ReceivePlan::item_of(const EntryLog::Item& kept) {
  PlanItem item;
  item.index = kept.index;
  item.action = static_cast<PlanAction>(kept.note & 3);
  item.reason = static_cast<MoveReason>(kept.note >> 2 & 7);
  item.other_mode = kept.note >> 5 & 1;
  return item;
}

bool ReceivePlan::may_clear(const std::string& path) const {
  bool guarded = guarded_.contains(path) && !mutant("clear-ignored");
  return options_.delete_extra && may_remove_ && !single_ && !guarded;
}

Status ReceivePlan::make() {
  Status status = read_head();
  while (status.ok()) {
    Result<Frame> frame = in_.next();
    if (!frame.ok()) return frame.error();
    if (hooks_.stop && *hooks_.stop) return Error(ErrorKind::cancelled, "transfer: stopped");
    if (frame->type == FrameType::entries_end) {
      status = read_end(*frame);
      break;
    }
    if (frame->type != FrameType::entries) return protocol_error("something else among files");
    Result<std::string> records = unpack_batch(std::move(frame->payload));
    if (!records.ok()) return records.error();
    RecordReader reader(*records);
    Record record;
    while (status.ok() && !reader.at_end()) {
      if (!reader.next(record)) return protocol_error("a list of files that cannot be read");
      status = manifest_.check(record);
      if (status.ok()) status = take(record);
    }
  }
  // What is left here lies behind the last that the sender has.
  while (status.ok() && here_ && options_.delete_extra) {
    Result<const Record*> extra = here_->peek();
    if (!extra.ok()) return extra.error();
    if (!*extra) break;
    here_->pop();
    status = take_extra(**extra);
  }
  here_.reset();
  if (single_) part_folders.insert(folder_of(single_path_));
  if (status.ok()) status = drop_kept();
  if (status.ok()) status = open_target();
  if (plan_.size() != 0) plan_batches_.push_back(plan_.take());
  asks = !plan_batches_.empty();
  return status;
}

Status ReceivePlan::tell(FrameWriter& out) const {
  Squeezer squeezer(options_.packing.value_or(Packing::never), out.gauge(), options_.rate);
  Status status = done();
  for (const std::string& batch : plan_batches_) {
    if (status.ok()) status = out.put(FrameType::plan, pack_batch(batch, &squeezer));
  }
  Packer totals;
  totals.number(wishes.size()).number(bytes_wanted);
  return status.ok() ? out.put(FrameType::plan_end, totals.out()) : status;
}

Status ReceivePlan::read_head() {
  Result<Json> head = in_.expect_json(FrameType::tree);
  if (!head.ok()) return head.error();
  if (!head->is_object() || !head->contains("single") || !(*head)["single"].is_boolean() ||
      !head->contains("name") || !(*head)["name"].is_string()) {
    return protocol_error("a tree that cannot be read");
  }
  single_ = (*head)["single"].get<bool>();
  Status status = single_ ? place_single((*head)["name"].get<std::string>()) : done();
  if (!status.ok()) return status;
  Result<Target> opened = Target::open(root_, false);
  if (opened.ok()) {
    target.emplace(std::move(opened).value());
  } else if (opened.error().kind != ErrorKind::not_found) {
    return opened.error();
  }
  return done();
}

// One file goes into a folder that exists or that is written with a '/' at its end; else the place
// is the file's own name.
Status ReceivePlan::place_single(const std::string& name) {
  here_.reset();
  single_name_ = name;
  single_path_ = name;
  if (path_.ends_with('/') || is_folder(path_)) return done();
  size_t slash = path_.find_last_of('/');
  root_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  single_path_ = slash == std::string::npos ? path_ : path_.substr(slash + 1);
  if (is_safe_path(single_path_)) return done();
  return Error(ErrorKind::invalid, "cannot write to " + choline::quoted(path_));
}

Status ReceivePlan::read_end(const Frame& frame) {
  Result<Json> end = parse_json(frame.payload);
  if (!end.ok() || !end->is_object()) return protocol_error("a bad end of the list of files");
  if (end->value("count", Json()) != Json(manifest_.entries()))
    return protocol_error("a wrong count");
  if (single_ && manifest_.entries() != 1) return protocol_error("one file that is not one");
  Result<std::vector<SyncNote>> left = notes_from_json(end->value("skipped", Json::array()));
  if (!left.ok()) return left.error();
  Result<std::vector<SyncNote>> broken = notes_from_json(end->value("failed", Json::array()));
  if (!broken.ok()) return broken.error();
  may_remove_ = broken->empty() && end->value("cut", Json(true)) == Json(false);
  add_notes(skipped, *left);
  failed = std::move(broken).value();
  return done();
}

Status ReceivePlan::take(Record& record) {
  if (record.kind == RecordKind::rules) {
    auto is_above = [&](const std::string& folder) {
      return folder.empty() || folder == record.rules.folder ||
             record.rules.folder.starts_with(folder + "/");
    };
    while (!their_marks_.empty() && !is_above(their_marks_.back().first)) {
      theirs_.rewind(their_marks_.back().second);
      their_marks_.pop_back();
    }
    their_marks_.emplace_back(record.rules.folder, theirs_.mark());
    theirs_.add(record.rules);
    return done();
  }
  Entry& entry = record.entry;
  if (single_) {
    if (entry.path != single_name_ || entry.kind == EntryKind::folder) {
      return protocol_error("one file that is not one");
    }
    entry.path = single_path_;
  }
  bool leaves = entry.kind == EntryKind::link && !options_.outside_links.value_or(true) &&
                leads_outside(entry.path, entry.link);
  if (leaves) {
    add_note(skipped, entry.path, "a link that leads out of the tree");
    return done();
  }
  ++entries;
  return compare(entry);
}

// What is here at the path of `entry`, or null. All before it that the walk met is extra.
Result<const Entry*> ReceivePlan::find_present(const Entry& entry) {
  const Entry* present = nullptr;
  while (here_) {
    Result<const Record*> next = here_->peek();
    if (!next.ok()) return next.error();
    const Record* record = *next;
    if (!record) break;
    if (record->is_entry() && record->entry.path == entry.path) {
      here_->pop();
      bool closed = record->kind == RecordKind::folder && record->ignored;
      if (closed) unread_ = entry.path;
      if (record->kind == RecordKind::folder && entry.kind != EntryKind::folder) {
        in_the_way_ = entry.path;
        if (closed) guarded_.insert(entry.path);
      }
      if (record->kind == RecordKind::folder && entry.kind != EntryKind::folder &&
          !options_.delete_extra) {
        here_->pass(entry.path);
      }
      return &record->entry;
    }
    if (record->is_entry() && !path_less(record->entry.path, entry.path)) break;
    here_->pop();
    Status status = take_extra(*record);
    if (!status.ok()) return status.error();
  }
  bool unread = !unread_.empty() && entry.path.size() > unread_.size() &&
                entry.path[unread_.size()] == '/' && entry.path.starts_with(unread_);
  if (!target || (!single_ && !unread)) return present;
  Result<std::optional<Entry>> looked = target->look(entry.path);
  if (!looked.ok() && has_errno(looked.error(), "EACCES")) return present;
  if (!looked.ok()) return looked.error();
  if (!*looked) return present;
  looked_ = std::move(**looked);
  return &looked_;
}

// Something of it is here, so that a list of that may save bytes.
bool ReceivePlan::is_patched(const PlanItem& item, const Entry& entry, const Entry* present) {
  bool may_be = target && !options_.dry_run && item.action != PlanAction::touched;
  if (!may_be || entry.size < kBigFile) return false;
  bool older = present && present->kind == EntryKind::file && present->size >= kBigFile &&
               present->size != UINT64_MAX;
  return older || has_big_part(*target, entry.path);
}

Status ReceivePlan::compare(const Entry& entry) {
  Result<const Entry*> present = find_present(entry);
  if (!present.ok()) return present.error();
  std::optional<PlanItem> item = compare_entry(entry, *present, options_);
  if (options_.checkpoints && entry.kind == EntryKind::folder && target &&
      checkpoint_of(entry.path) == entry.path) {
    // An earlier receiver died in it. It is complete once this session has ended well.
    Result<std::optional<Entry>> marker =
        target->look(entry.path + "/" + std::string(kIncompleteMarker));
    if (marker.ok() && *marker) marked.insert(entry.path);
  }
  if (!item) {
    if (entry.kind == EntryKind::file) ++unchanged;
    return done();
  }
  item->index = manifest_.entries() - 1;
  if (is_patched(*item, entry, *present)) item->action = PlanAction::patch;
  if (item->action == PlanAction::compare) {
    Result<std::string> digest = digest_of(entry.path);
    if (digest.ok()) {
      item->digest = std::move(digest).value();
    } else {
      item->action = PlanAction::send;
    }
  }
  bool wanted = item->action != PlanAction::touched;
  note_change(entry, entry.kind == EntryKind::folder);
  add_move(item->index, entry.path, item->reason, wanted ? entry.size : 0);
  (wanted ? wishes : touched).add(entry, item->index, note_of(*item));
  if (!wanted) return done();
  bytes_wanted += entry.size;
  if (item->action == PlanAction::send) {
    ++sends;
    send_bytes += entry.size;
  }
  // In a dry run only a comparison needs the sender.
  if (options_.dry_run && item->action == PlanAction::send) return done();
  plan_.add(*item);
  if (plan_.size() >= kPlanBatch) plan_batches_.push_back(plan_.take());
  return done();
}

Status ReceivePlan::take_extra(const Record& record) {
  if (!record.is_entry()) return done();  // the walk itself knows the rules here
  const Entry& entry = record.entry;
  std::string_view name = std::string_view(entry.path).substr(entry.path.find_last_of('/') + 1);
  if (name.starts_with(kPartPrefix)) {
    if (part_folders.size() < kListLimit) part_folders.insert(folder_of(entry.path));
    return done();
  }
  bool is_dir = record.kind == RecordKind::folder;
  bool goes = options_.delete_extra && !record.ignored && !theirs_.ignores(entry.path, is_dir) &&
              !(options_.checkpoints && entry.path.ends_with(kIncompleteMarker));
  bool above_is_in_the_way = !in_the_way_.empty() && entry.path.starts_with(in_the_way_ + "/");
  if (!goes && above_is_in_the_way) guarded_.insert(in_the_way_);
  if (goes) {
    Entry gone = entry;
    if (record.kind == RecordKind::other) gone.size = 0;  // what it has is no size
    removed.add(gone, 0, 0);
  } else if (is_dir && !record.ignored) {
    here_->pass(std::string(entry.path));
  }
  return done();
}

// What the sender left out stays; and all stays when it could not read the source whole.
Status ReceivePlan::drop_kept() {
  if (options_.delete_extra && !single_ && target && !may_remove_) {
    add_note(skipped, "", "nothing was removed, as the source could not be read whole");
    removed.clear();
  }
  if (removed.empty()) return done();
  std::set<std::string, std::less<>> kept;
  for (const SyncNote& note : skipped) kept.insert(note.path);
  auto is_kept = [&](std::string_view path) {
    for (size_t slash = path.find('/'); slash != std::string_view::npos;
         slash = path.find('/', slash + 1)) {
      if (kept.contains(path.substr(0, slash))) return true;
    }
    return kept.contains(path);
  };
  EntryLog all = std::move(removed);
  removed = EntryLog();
  EntryLog::Cursor cursor(all);
  while (const EntryLog::Item* item = cursor.next()) {
    if (is_kept(item->entry.path)) continue;
    removed.add(item->entry, 0, 0);
    note_change(item->entry, false);
  }
  return removed.backwards([&](const EntryLog::Item& item) {
    add_move(UINT64_MAX, item.entry.path, MoveReason::removed, 0);
    return done();
  });
}

Status ReceivePlan::open_target() {
  if (options_.dry_run || target) return done();
  Result<Target> opened = Target::open(root_, true);
  if (!opened.ok()) return opened.error();
  target.emplace(std::move(opened).value());
  return done();
}

// Before anything in the folder of a checkpoint changes, it is marked as incomplete.
void ReceivePlan::note_change(const Entry& entry, bool is_folder_itself) {
  if (!options_.checkpoints) return;
  std::string_view unit = checkpoint_of(entry.path);
  if (unit.size() < entry.path.size() || is_folder_itself) changing.emplace(unit);
}

void ReceivePlan::add_move(uint64_t index, const std::string& path, MoveReason reason,
                           uint64_t bytes) {
  if (moves.size() < kListLimit) moves.push_back({index, {path, reason, bytes}});
}

Result<std::string> ReceivePlan::digest_of(const std::string& path) {
  Result<UniqueFd> file = target->open_file(path);
  if (!file.ok()) return file.error();
  FastDigest digest;
  std::string block(kDataBlock, '\0');
  for (;;) {
    ssize_t got = read(file->get(), block.data(), block.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno_error("read", errno);
    if (got == 0) return digest.bytes();
    digest.update(std::string_view(block).substr(0, static_cast<size_t>(got)));
  }
}

}  // namespace choline
