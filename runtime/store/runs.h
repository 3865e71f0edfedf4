// Runs and the sources they were started with.
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

// running, waiting, paused, stopping, done, failed, stopped
bool is_run_state(std::string_view word);
bool is_ended(std::string_view state);  // done, failed, stopped

// The rules by which steps get their keys and results their order (docs/design/steps.md). A run is
// replayed by those that it was recorded by.
constexpr int kReplayAbi = 1;

struct RunRow {
  std::string id, name;
  std::string state = "running";
  int64_t seed = 0;
  int64_t epoch = 0;
  Json owner;  // {host, boot, pid, started, since} of the last process that took the run, or null
  int replay_abi = kReplayAbi;
  int code_version = 1;
  Json params = Json::object(), env = Json::object();
  std::string parent;  // "run/schedule/instant" that started it, or ""
  int64_t incarnations = 0;
  std::optional<double> budget;  // USD
  Json failure;
  double created = 0;
  std::optional<double> finished;
  double cost = 0;  // USD, computed when it is read
};

struct SourceRow {
  std::string path, text, sha256;
};

struct RunFilter {
  std::optional<std::string> name, state;
  int64_t most = -1;  // all
};

// `now` closes the cost of instances that still live.
Status insert_run(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources);
// The texts of the row's code version, in their order; insert_run does it for the first.
Status insert_sources(Txn& txn, const RunRow& row, const std::vector<SourceRow>& sources);
Result<std::vector<RunRow>> list_runs(Database& db, const RunFilter& filter, double now);
Result<std::optional<RunRow>> get_run(Database& db, const std::string& id, double now);
// The run that was made with this parent; none for an empty one.
Result<std::optional<std::string>> find_child(Database& db, const std::string& parent);
// By id, name (its newest), unique prefix of an id; empty means the newest run of all.
Result<RunRow> find_run(Database& db, const std::string& reference, double now);
Result<std::vector<SourceRow>> list_sources(Database& db, const std::string& run);

// `unsupported` when this program does not know the rules that the run was recorded by.
Status check_replay_abi(const RunRow& row);

// Takes the run: a new epoch and owner. Gives the epoch.
Result<int64_t> take_run(Txn& txn, const std::string& run, const Json& owner);
// A conflict when the run was taken since `epoch`.
Status check_epoch(Database& db, const std::string& run, int64_t epoch);
Status leave_run(Txn& txn, const std::string& run, int64_t epoch);
// `at` becomes `finished` when the state is an end, else there is none.
Status set_run_state(Txn& txn, const std::string& run, const std::string& state,
                     const Json& failure, double at);

}  // namespace choline
