// What has to move and why: the manifest on the wire, the comparison, the answer to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/options.h"
#include "transfer/tree.h"

namespace choline {

// Batches of entries for the wire; a path shares its beginning with the one before it.
class ManifestWriter {
 public:
  // A batch when one is full, else empty.
  std::string add(const Entry& entry);
  std::string rest();

 private:
  std::string batch_;
  std::string last_path_;
};

// Reads batches and refuses what no honest sender says: unsafe paths, a wrong order, an entry below
// something that is no folder.
class ManifestReader {
 public:
  Status add(std::string_view batch);
  std::vector<Entry> take() { return std::move(entries_); }
  size_t size() const { return entries_.size(); }

 private:
  Status check(const Entry& entry);
  std::vector<Entry> entries_;
  std::vector<std::string> open_folders_;  // the folders above the last entry
  std::string last_path_;
};

enum class PlanAction : uint8_t {
  send = 1,     // contents wanted
  compare = 2,  // contents wanted unless their digest is the one given
  touched = 3,  // the receiver does it alone: a folder, a link, a mode, a time
  removed = 4,  // something extra that goes; `path` is set, `index` is not
};

struct PlanItem {
  PlanAction action = PlanAction::send;
  MoveReason reason = MoveReason::created;
  uint64_t index = 0;
  std::string digest;  // 16 bytes
  std::string path;
};

std::string pack(const PlanItem& item);
// Appends the items of a batch; indexes stay below `entries` and grow, digests are whole.
Status unpack_plan(std::string_view batch, size_t entries, std::vector<PlanItem>& items);

// What to do about `wanted` when `present` is there; nullopt: nothing. A `compare` lacks its
// digest.
std::optional<PlanItem> compare_entry(const Entry& wanted, const std::optional<Entry>& present,
                                      const SyncOptions& options);

// Whether a link at `path` that points to `to` leads out of the tree, by its text.
bool leads_outside(std::string_view path, std::string_view to);

}  // namespace choline
