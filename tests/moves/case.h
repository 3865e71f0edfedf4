// One seed: two trees, a few syncs that are broken off, one that is not, and what must hold.
#pragma once

#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "moves/attempt.h"
#include "moves/trees.h"

namespace choline::moves {

// What a sync promised was not so.
struct Wrong : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Setting {
  bool pull = false, delete_extra = false, exclude = false, ignore = false;
  // Trees with equal settings can be shown to the oracle side by side.
  int kind() const { return delete_extra | exclude << 1 | ignore << 2; }
};

// Notes of the last sync: what differs there was told.
class Told {
 public:
  Told() = default;
  explicit Told(const SyncReport& report);
  bool covers(const std::string& path) const;  // it, or a folder above it
  bool nothing_removed() const { return nothing_removed_; }

 private:
  std::set<std::string> paths_;
  bool nothing_removed_ = false;
};

using Moves = std::set<std::pair<std::string, std::string>>;  // path and reason

// Where the trees of a seed lie.
struct Places {
  std::string from, to, outside;
};

class Case {
 public:
  Case(uint64_t seed, Places places);
  // Throws Wrong.
  void run();

  const Setting& setting() const { return setting_; }
  const Told& told() const { return told_; }
  const std::vector<std::string>& story() const { return story_; }
  int syncs() const { return syncs_; }
  int struck() const { return struck_; }

 private:
  void plant();
  void obstruct();
  void break_off();
  void finish();
  void rehearse();
  void sync_again();
  Attempt attempt();
  Outcome sync(const Attempt& attempt);
  Fault strike(Attempt& attempt);
  void check_whole(const std::set<std::string>& unseen) const;
  void check_modes(const Tree& before) const;
  void check_kept(const Tree& before, bool finished) const;
  void check_same() const;
  void check_foretold(const SyncReport& report) const;
  void check_outside() const;
  bool is_ignored(const Tree& tree, const std::string& path) const;
  std::set<std::string> blind() const;
  void tell(std::string text) { story_.push_back(std::move(text)); }

  Dice dice_;
  Setting setting_;
  SyncOptions options_;
  std::string outside_folder_;
  Garden from_, to_;
  Tree outside_;
  std::set<uint64_t> known_;  // contents that may be at the target
  uint64_t volume_ = 0;       // bytes of the last session, to aim at
  Told told_;
  std::optional<Moves> foretold_;  // by a dry run just before the last sync
  std::vector<std::string> story_;
  int syncs_ = 0, struck_ = 0;
};

}  // namespace choline::moves
