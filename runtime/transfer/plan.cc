#include "transfer/plan.h"

#include <algorithm>

#include "base/text.h"
#include "transfer/frame.h"

namespace choline {

namespace {
constexpr size_t kBatch = 64 << 10;
constexpr size_t kDigest = 16;
constexpr uint64_t kMostSize = 1ULL << 62;
constexpr size_t kMostLink = 4096;
constexpr size_t kManifestBytes = 512 << 20;
}  // namespace

std::string ManifestWriter::add(const Entry& entry) {
  size_t most = std::min(last_path_.size(), entry.path.size());
  size_t shared = 0;
  while (shared < most && last_path_[shared] == entry.path[shared]) ++shared;
  Packer packer;
  packer.number(static_cast<uint64_t>(entry.kind)).number(shared);
  packer.text(std::string_view(entry.path).substr(shared)).number(entry.mode);
  if (entry.kind == EntryKind::file) packer.number(entry.size).signed_number(entry.mtime_ns);
  if (entry.kind == EntryKind::link) packer.text(entry.link);
  batch_ += packer.out();
  last_path_ = entry.path;
  return batch_.size() >= kBatch ? rest() : std::string();
}

std::string ManifestWriter::rest() {
  return std::exchange(batch_, {});
}

Status ManifestReader::add(std::string_view batch) {
  Unpacker in(batch);
  while (!in.at_end()) {
    uint64_t kind = 0, shared = 0, mode = 0;
    std::string_view tail, link;
    Entry entry;
    bool fine = in.number(kind) && kind >= 1 && kind <= 3 && in.number(shared) &&
                shared <= last_path_.size() && in.text(tail) && in.number(mode) && mode <= 0777;
    if (!fine) return protocol_error("a list of files that cannot be read");
    entry.kind = static_cast<EntryKind>(kind);
    entry.mode = static_cast<uint32_t>(mode);
    if (entry.kind == EntryKind::file) {
      fine = in.number(entry.size) && entry.size <= kMostSize && in.signed_number(entry.mtime_ns);
    } else if (entry.kind == EntryKind::link) {
      fine = in.text(link) && !link.empty() && link.size() <= kMostLink &&
             link.find('\0') == std::string_view::npos;
    }
    if (!fine) return protocol_error("a list of files that cannot be read");
    entry.link = link;
    entry.path = last_path_.substr(0, shared) + std::string(tail);
    Status status = check(entry);
    if (!status.ok()) return status;
    last_path_ = entry.path;
    entries_.push_back(std::move(entry));
  }
  return done();
}

Status ManifestReader::check(const Entry& entry) {
  if (!is_safe_path(entry.path)) {
    return Error(ErrorKind::refused, "transfer: the far end names " + choline::quoted(entry.path) +
                                         ", which is no path inside the tree");
  }
  if (!entries_.empty() && !path_less(last_path_, entry.path)) {
    return protocol_error("files out of order: " + choline::quoted(entry.path));
  }
  if (entries_.size() >= kMostEntries || entries_.size() * 64 > kManifestBytes) {
    return protocol_error("more files than can be taken");
  }
  while (!open_folders_.empty() && !entry.path.starts_with(open_folders_.back() + "/")) {
    open_folders_.pop_back();
  }
  size_t slash = entry.path.find_last_of('/');
  std::string above = slash == std::string::npos ? "" : entry.path.substr(0, slash);
  if (above != (open_folders_.empty() ? "" : open_folders_.back())) {
    return protocol_error("a file without its folder: " + choline::quoted(entry.path));
  }
  if (entry.kind == EntryKind::folder) open_folders_.push_back(entry.path);
  return done();
}

std::string pack(const PlanItem& item) {
  Packer packer;
  packer.number(static_cast<uint64_t>(item.action)).number(static_cast<uint64_t>(item.reason));
  if (item.action == PlanAction::removed) {
    packer.text(item.path);
  } else {
    packer.number(item.index);
  }
  if (item.action == PlanAction::compare) packer.text(item.digest);
  return std::move(packer.out());
}

Status unpack_plan(std::string_view batch, size_t entries, std::vector<PlanItem>& items) {
  Unpacker in(batch);
  while (!in.at_end()) {
    uint64_t action = 0, reason = 0;
    std::string_view digest, path;
    PlanItem item;
    bool fine = in.number(action) && action >= 1 && action <= 4 && in.number(reason) &&
                reason <= static_cast<uint64_t>(MoveReason::removed);
    item.action = static_cast<PlanAction>(action);
    item.reason = static_cast<MoveReason>(reason);
    if (fine && item.action == PlanAction::removed) {
      fine = in.text(path) && is_safe_path(path) && items.size() < kMostEntries;
    } else if (fine) {
      fine = in.number(item.index) && item.index < entries;
      bool first = items.empty() || items.back().action == PlanAction::removed;
      if (fine && !first) fine = item.index > items.back().index;
      if (fine && first) fine = items.empty();
    }
    if (fine && item.action == PlanAction::compare)
      fine = in.text(digest) && digest.size() == kDigest;
    if (!fine) return protocol_error("a plan that cannot be read");
    item.digest = digest;
    item.path = path;
    items.push_back(std::move(item));
  }
  return done();
}

std::optional<PlanItem> compare_entry(const Entry& wanted, const std::optional<Entry>& present,
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
  if (wanted.kind == EntryKind::file) {
    bool time_differs = present->mtime_ns != wanted.mtime_ns;
    if (present->size != wanted.size) {
      item.reason = MoveReason::size;
      return item;
    }
    if (time_differs || options.compare_content) {
      item.reason = time_differs ? MoveReason::mtime : MoveReason::content;
      item.action = wanted.size == 0 ? PlanAction::touched : PlanAction::compare;
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
