// What a receiver decides before any contents move.
#pragma once

#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/result.h"
#include "transfer/plan.h"
#include "transfer/session.h"
#include "transfer/target.h"

namespace choline {

class ReceivePlan {
 public:
  ReceivePlan(FrameReader& in, const SyncOptions& options, const SessionHooks& hooks)
      : in_(in), options_(options), hooks_(hooks) {}

  // Reads the manifest and compares it with what is at `path`.
  Status make(const std::string& path);

  std::optional<Target> target;  // absent only in a dry run into nothing
  std::vector<Entry> entries;
  std::vector<PlanItem> items;  // by index, then what is removed, inner things first
  uint64_t unchanged = 0;       // files
  std::vector<SyncNote> skipped, failed;
  std::set<std::string> marked;  // folders of checkpoints that carry the incomplete marker

 private:
  Status read_manifest(const std::string& path);
  Status place_single(const std::string& path, const std::string& name);
  Status open_target();
  Status compare();
  void find_markers();
  void drop_outside_links();
  Status find_extra();
  Result<std::string> digest_of(const std::string& path);

  FrameReader& in_;
  const SyncOptions& options_;
  const SessionHooks& hooks_;
  std::string root_;
  std::vector<IgnoreFile> rules_;
  bool single_ = false;
  bool may_remove_ = true;
};

}  // namespace choline
