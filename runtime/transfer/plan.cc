#include "transfer/plan.h"

#include <algorithm>
#include <utility>

#include "base/mutant.h"
#include "base/text.h"
#include "transfer/frame.h"

namespace choline {

namespace {
constexpr size_t kDigest = 16;
constexpr uint64_t kMostWish = 32;         // bytes
constexpr size_t kMostRules = 2 << 20;     // bytes of one file of rules
constexpr size_t kMostOfRules = 16 << 20;  // of all of them
constexpr size_t kRulesCost = 128;         // each, whatever its text
constexpr size_t kMostBatch = 4 << 20;     // bytes: one file of rules, and more
}  // namespace

std::string pack_batch(std::string_view records, Squeezer* squeezer) {
  std::string_view squeezed = squeezer ? squeezer->squeeze_list(records) : std::string_view();
  std::string payload = wrapping(records, squeezed);
  payload += squeezed.empty() ? records : squeezed;
  return payload;
}

Result<std::string> unpack_batch(std::string payload) {
  return unwrap(std::move(payload), kMostBatch, "a list of files");
}

Status ManifestCheck::check_rules(const IgnoreFile& rules) {
  // They are those of the folder that was just entered, or of the root and above.
  bool in_place = rules.folder.empty() ? entries_ == 0
                                       : rules.folder == last_path_ && !open_folders_.empty() &&
                                             open_folders_.back() == last_path_.size();
  if (!in_place || rules.text.size() > kMostRules) return protocol_error("bad ignore rules");
  rules_bytes_ += rules.text.size() + kRulesCost;
  return rules_bytes_ > kMostOfRules ? protocol_error("more ignore rules than can be taken")
                                     : done();
}

Status ManifestCheck::check(const Record& record) {
  if (!record.is_entry()) return check_rules(record.rules);
  const Entry& entry = record.entry;
  if (record.kind == RecordKind::other || record.ignored || entry.mode > 0777) {
    return protocol_error("a list of files that cannot be read");
  }
  if (!is_safe_path(entry.path)) {
    return Error(ErrorKind::refused, "transfer: the far end names " + choline::quoted(entry.path) +
                                         ", which is no path inside the tree");
  }
  if (entries_ != 0 && !path_less(last_path_, entry.path)) {
    return protocol_error("files out of order: " + choline::quoted(entry.path));
  }
  if (entries_ >= kMostEntries) return protocol_error("more files than can be taken");
  auto is_open = [&](size_t length) {
    return entry.path.size() > length && entry.path[length] == '/' &&
           std::string_view(entry.path).starts_with(std::string_view(last_path_).substr(0, length));
  };
  while (!open_folders_.empty() && !is_open(open_folders_.back())) open_folders_.pop_back();
  size_t slash = entry.path.find_last_of('/');
  size_t above = slash == std::string::npos ? 0 : slash;
  if (above != (open_folders_.empty() ? 0 : open_folders_.back())) {
    return protocol_error("a file without its folder: " + choline::quoted(entry.path));
  }
  if (record.kind == RecordKind::folder) open_folders_.push_back(entry.path.size());
  last_path_ = entry.path;
  ++entries_;
  return done();
}

void SentManifest::add(std::string payload, uint32_t entries) {
  batches_.push_back({std::move(payload), entries_});
  entries_ += entries;
}

Result<const Entry*> SentManifest::find(uint64_t index) {
  if (index >= entries_ || index + 1 < next_) return protocol_error("a wish out of order");
  if (open_ && index + 1 == next_) return &record_.entry;
  size_t batch = at_;
  while (batch + 1 < batches_.size() && batches_[batch + 1].first <= index) ++batch;
  if (!begun_ || batch != at_) {
    Result<std::string> records = unpack_batch(batches_[batch].payload);
    if (!records.ok()) return records.error();
    records_ = std::move(records).value();
    reader_ = RecordReader(records_);
    next_ = batches_[batch].first;
    at_ = batch;
    begun_ = true;
  }
  while (next_ <= index) {
    if (!reader_.next(record_)) return Error(ErrorKind::io, "transfer: a manifest was lost");
    if (record_.is_entry()) ++next_;
  }
  open_ = true;
  return &record_.entry;
}

void PlanWriter::add(const PlanItem& item) {
  packer_.number(item.index - next_);
  packer_.number(static_cast<uint64_t>(item.action) | static_cast<uint64_t>(item.reason) << 2);
  if (item.action == PlanAction::compare) packer_.text(item.digest);
  next_ = item.index + 1;
}

std::string PlanWriter::take() {
  std::string batch = packer_.out();
  packer_.out().clear();
  return batch;
}

Status PlanReader::add(std::string payload) {
  Result<std::string> batch = unwrap(std::move(payload), kFrameLimit, "a plan");
  if (!batch.ok()) return batch.error();
  bytes_ += batch->size();
  if (bytes_ > entries_ * kMostWish) return protocol_error("a plan without end");
  if (!batch->empty()) batches_.push_back(std::move(batch).value());
  return done();
}

Result<std::optional<PlanItem>> PlanReader::next() {
  if (at_ < batches_.size() && offset_ == batches_[at_].size()) {
    batches_[at_++] = std::string();
    offset_ = 0;
  }
  if (at_ == batches_.size()) return std::optional<PlanItem>();
  Unpacker in(std::string_view(batches_[at_]).substr(offset_));
  uint64_t step = 0, what = 0;
  std::string_view digest;
  bool fine = in.number(step) && step < entries_ && next_ + step < entries_ && in.number(what);
  PlanItem item;
  item.index = next_ + step;
  item.action = static_cast<PlanAction>(what & 3);
  item.reason = static_cast<MoveReason>(what >> 2);
  fine = fine && item.action != PlanAction::touched &&
         what >> 2 <= static_cast<uint64_t>(MoveReason::removed);
  if (fine && item.action == PlanAction::compare) {
    fine = in.text(digest) && digest.size() == kDigest;
  }
  if (!fine) return protocol_error("a plan that cannot be read");
  item.digest = digest;
  next_ = item.index + 1;
  offset_ = batches_[at_].size() - in.left();
  return std::optional<PlanItem>(std::move(item));
}

std::optional<PlanItem> compare_entry(const Entry& wanted, const Entry* present,
                                      const SyncOptions& options) {
  PlanItem item;
  item.action = wanted.kind == EntryKind::file ? PlanAction::send : PlanAction::touched;
  if (!present || present->kind != wanted.kind) {
    item.reason = present ? MoveReason::kind : MoveReason::created;
    return item;
  }
  if (wanted.kind == EntryKind::link) {
    item.reason = MoveReason::link;
    return present->link == wanted.link ? std::nullopt : std::optional<PlanItem>(item);
  }
  bool mode_differs = present->mode != wanted.mode;
  item.other_mode = mode_differs;
  if (wanted.kind == EntryKind::file) {
    bool time_differs = present->mtime_ns != wanted.mtime_ns;
    if (present->size != wanted.size) {
      item.reason = MoveReason::size;
      return item;
    }
    if (time_differs || options.compare_content) {
      item.reason = time_differs ? MoveReason::mtime : MoveReason::content;
      bool trusted = wanted.size == 0 || mutant("no-digest");
      item.action = trusted ? PlanAction::touched : PlanAction::compare;
      bool nothing_to_do = wanted.size == 0 && !time_differs && !mode_differs;
      return nothing_to_do ? std::nullopt : std::optional<PlanItem>(item);
    }
  }
  item.action = PlanAction::touched;
  item.reason = MoveReason::mode;
  return mode_differs ? std::optional<PlanItem>(item) : std::nullopt;
}

bool leads_outside(std::string_view path, std::string_view to) {
  if (to.starts_with('/')) return true;
  auto depth = std::count(path.begin(), path.end(), '/');
  for (const std::string& name : split(to, '/')) {
    if (name == "..") {
      if (--depth < 0) return true;
    } else if (!name.empty() && name != ".") {
      ++depth;
    }
  }
  return false;
}

}  // namespace choline
