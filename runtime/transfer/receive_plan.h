// What a receiver decides before any contents move: the manifest, as it comes in, is compared with
// a walk of what is here. Of both only what has to be done is kept.
#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "transfer/plan.h"
#include "transfer/session.h"
#include "transfer/target.h"
#include "transfer/walk.h"

namespace choline {

class ReceivePlan {
 public:
  // Begins to read what is at `path` at once.
  ReceivePlan(FrameReader& in, const std::string& path, const SyncOptions& options,
              const SessionHooks& hooks);

  // Reads the manifest to its end and compares. Nothing at the target has changed before it is
  // over.
  Status make();
  // The wishes as they travel, with how much is wanted.
  Status tell(FrameWriter& out) const;

  std::optional<Target> target;  // absent only in a dry run into nothing
  EntryLog wishes;               // files whose contents are wanted
  EntryLog touched;              // what is done without the sender
  EntryLog removed;              // paths that go, outer things first
  uint64_t entries = 0;
  uint64_t unchanged = 0;  // files
  uint64_t bytes_wanted = 0;
  uint64_t sends = 0, send_bytes = 0;  // of those wishes that need no comparison
  bool asks = false;                   // whether the sender has anything to do
  std::vector<SyncNote> skipped, failed;
  std::set<std::string> marked;        // folders of checkpoints that carry the incomplete marker
  std::set<std::string> changing;      // folders of checkpoints of which something changes
  std::set<std::string> part_folders;  // hold parts of writers that may be dead

  // What moves, by index and then what is removed; the first kListLimit.
  struct Move {
    uint64_t index = 0;
    SyncMove move;
    bool gone = false;  // it did not, after all
  };
  std::vector<Move> moves;

  static uint64_t note_of(const PlanItem& item) {
    return static_cast<uint64_t>(item.action) | static_cast<uint64_t>(item.reason) << 2 |
           static_cast<uint64_t>(item.other_mode) << 5;
  }
  static PlanItem item_of(const EntryLog::Item& kept);
  // Whether a folder in the place of a file or link may go, with all that is in it.
  bool may_clear(const std::string& path) const;

 private:
  Status read_head();
  Status read_end(const Frame& frame);
  Status place_single(const std::string& name);
  Status take(Record& record);
  Status compare(const Entry& entry);
  bool is_patched(const PlanItem& item, const Entry& entry, const Entry* present);
  Result<const Entry*> find_present(const Entry& entry);
  Status take_extra(const Record& record);
  Status drop_kept();
  Status open_target();
  void note_change(const Entry& entry, bool is_folder);
  void add_move(uint64_t index, const std::string& path, MoveReason reason, uint64_t bytes);
  Result<std::string> digest_of(const std::string& path);

  FrameReader& in_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  std::string path_, root_;
  std::optional<WalkReader> here_;
  std::string unread_;  // a folder here that the walk did not enter
  Entry looked_;
  IgnoreRules theirs_;                                       // what the sender ignores
  std::vector<std::pair<std::string, size_t>> their_marks_;  // folder, mark before its rules
  ManifestCheck manifest_;
  PlanWriter plan_;
  std::vector<std::string> plan_batches_;
  bool single_ = false;
  std::string single_name_;  // the name that the sender gives it
  std::string single_path_;  // and the one that it gets here
  bool may_remove_ = true;
  std::string in_the_way_;         // the last folder here in whose place something else is to come
  std::set<std::string> guarded_;  // those of them that hold what stays
};

}  // namespace choline
