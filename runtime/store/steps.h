// Rows of the journal.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

class Database;
class Txn;

enum class StepState { intent = 0, ok = 1, error = 2, abandoned = 3 };
std::string_view to_text(StepState state);

struct StepRow {
  std::string key, verb, cls;
  std::string args;       // canonical JSON; empty where a list did not ask for it
  std::string args_hash;  // SHA-256 in hexadecimal
  StepState state = StepState::intent;
  int attempt = 1;
  std::optional<double> deadline;
  std::string result;  // JSON text; empty when there is none or it is in a blob
  std::string blob;    // name of the file that holds a large result
  std::optional<int64_t> seq;
  int64_t epoch = 0;
  double intent_at = 0;
  std::optional<double> done_at;
};

Status insert_step(Txn& txn, const std::string& run, const StepRow& row);
// An intent found by a later process: the next attempt begins.
Status resume_step(Txn& txn, const std::string& run, const StepRow& row);
// Sets state, result, blob, seq and done_at of a step that is an intent.
Status finish_step(Txn& txn, const std::string& run, const StepRow& row);
// From intent to abandoned; a step that has a result, or was never begun, is left alone.
Status abandon_step(Txn& txn, const std::string& run, const std::string& key, double at);

// All of them without `args`; those with a result first, by seq.
Result<std::vector<StepRow>> load_steps(Database& db, const std::string& run);
Result<std::optional<StepRow>> find_step(Database& db, const std::string& run,
                                         const std::string& key);

struct StepFilter {
  std::optional<StepState> state;
  std::optional<std::string> verb;
  int64_t most = -1;  // all
  bool newest =
      false;  // the last `most` instead of the first; the order is that of intents in both
};
Result<std::vector<StepRow>> list_steps(Database& db, const std::string& run,
                                        const StepFilter& filter);

}  // namespace choline
