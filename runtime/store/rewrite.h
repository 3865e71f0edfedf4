// A run whose program is replaced: the journal as the new program takes it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "store/runs.h"

namespace choline {

class Txn;

// A step that stays, with other arguments.
struct ChangedStep {
  std::string key, args, args_hash;
  std::optional<double> wait;  // seconds from its intent until it is due
  bool again = false;          // its effect is done once more, where it stands in the order
};

// Steps with a result get the order of `order`; every other one that has a result is a mistake of
// the caller and refused.
Status rewrite_steps(Txn& txn, const std::string& run, int version,
                     const std::vector<std::string>& order, const std::vector<ChangedStep>& changed,
                     const std::vector<std::string>& dropped);
// The next version of the run's sources, params and budget.
Status replace_code(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources);
// Events of the run's own tasks that are not in `keep` stay as history, and may come again.
Status free_events(Txn& txn, const std::string& run, int version,
                   const std::unordered_set<std::string>& keep);
// What may live of the instances that `step` made is to be ended. Gives their tags.
Result<std::vector<std::string>> release_of_step(Txn& txn, const std::string& run,
                                                 const std::string& step);
// The command is no longer of this run. True when it may still run.
Result<bool> replace_proc(Txn& txn, const std::string& run, const std::string& key);

}  // namespace choline
