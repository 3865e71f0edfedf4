// What has to move and why: the checks of a manifest, the comparison, the answer to it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "transfer/entries.h"
#include "transfer/options.h"
#include "transfer/squeeze.h"
#include "transfer/tree.h"

namespace choline {

// A batch of records as it travels, and as a sender keeps it.
std::string pack_batch(std::string_view records, Squeezer* squeezer = nullptr);
Result<std::string> unpack_batch(std::string payload);

// Refuses what no honest sender says: unsafe paths, a wrong order, an entry below something that is
// no folder, rules out of place.
class ManifestCheck {
 public:
  Status check(const Record& record);
  uint64_t entries() const { return entries_; }

 private:
  Status check_rules(const IgnoreFile& rules);
  std::string last_path_;
  std::vector<size_t> open_folders_;  // the lengths of the folders above the last entry, itself too
  uint64_t entries_ = 0;
  uint64_t rules_bytes_ = 0;
};

// What a sender keeps of its manifest: the batches as they went out.
class SentManifest {
 public:
  void add(std::string payload, uint32_t entries);
  uint64_t entries() const { return entries_; }
  // Of growing indexes below entries(); valid until the next call.
  Result<const Entry*> find(uint64_t index);

 private:
  struct Batch {
    std::string payload;
    uint64_t first = 0;
  };
  std::vector<Batch> batches_;
  uint64_t entries_ = 0;
  size_t at_ = 0;  // the batch being read
  std::string records_;
  RecordReader reader_;
  Record record_;
  uint64_t next_ = 0;  // the index that the reader gives next
  bool open_ = false, begun_ = false;
};

enum class PlanAction : uint8_t {
  patch = 0,    // contents wanted, and a list of what is here of them follows
  send = 1,     // contents wanted
  compare = 2,  // contents wanted unless their digest is the one given
  touched = 3,  // the receiver does it alone: a folder, a link, a mode, a time; it never travels
};

struct PlanItem {
  PlanAction action = PlanAction::send;
  MoveReason reason = MoveReason::created;
  uint64_t index = 0;
  std::string digest;  // 16 bytes
  // What only the receiver knows.
  bool other_mode = false;  // of a file that is there already
  bool may_clear = false;   // a folder in its place may go, with all that is in it
};

// Wishes on the wire, in batches that follow each other.
class PlanWriter {
 public:
  void add(const PlanItem& item);
  // What was added since the last time.
  std::string take();
  size_t size() const { return packer_.size(); }

 private:
  Packer packer_;
  uint64_t next_ = 0;
};

class PlanReader {
 public:
  explicit PlanReader(uint64_t entries) : entries_(entries) {}
  Status add(std::string payload);
  bool empty() const { return batches_.empty(); }
  // Nothing after the last. Indexes stay below `entries` and grow, digests are whole.
  Result<std::optional<PlanItem>> next();

 private:
  uint64_t entries_;
  std::vector<std::string> batches_;
  size_t at_ = 0;
  size_t offset_ = 0;
  uint64_t next_ = 0;
  uint64_t bytes_ = 0;
};

// What to do about `wanted` when `present` is there (null: nothing); nullopt: nothing. A `compare`
// lacks its digest.
std::optional<PlanItem> compare_entry(const Entry& wanted, const Entry* present,
                                      const SyncOptions& options);

// Whether a link at `path` that points to `to` leads out of the tree, by its text.
bool leads_outside(std::string_view path, std::string_view to);

}  // namespace choline
