// Instances and the commands on them as rows with a state of their own, usable without a cholfile.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace choline {

class Database;
class Txn;

// intended → live → releasing → gone; intended → void; live → lost → gone.
enum class ResourceState { intended, live, releasing, gone, voided, lost };
std::string_view to_text(ResourceState state);  // "void" for voided

struct ResourceRow {
  std::string tag;   // cho-<install>-<run>-<step>-<attempt>
  std::string run;   // "" when rented outside a run
  std::string step;  // key of the step that made it
  std::string kind = "instance";
  std::string name;  // as declared in the cholfile
  std::string provider;
  Json spec;                // what was asked of the provider
  Json handle;              // all that is needed to end it from a cold start
  std::string provider_id;  // "" until it is known
  ResourceState state = ResourceState::intended;
  double price = 0;  // USD per hour
  std::string host;
  std::optional<double> lease_until;
  double intended_at = 0;
  std::optional<double> live_at;
  std::optional<double> gone_at;  // also for void and lost
  int misses = 0;                 // lists in a row that did not show it
  double cost(double now) const;  // USD until then
};

struct ResourceFilter {
  std::optional<std::string> run, name, provider, step;
  std::vector<ResourceState> states;  // empty: any
};

// Each of the changes below demands a state that allows it and answers `conflict` when the row is
// in another one; one that is already in the wanted state is left as it is.
Status insert_intended(Txn& txn, const ResourceRow& row);
struct LiveFacts {
  std::string provider_id;
  double price = 0;
  std::string host;
  Json handle;
  double at = 0;
};
Status set_live(Txn& txn, const std::string& tag, const LiveFacts& facts);  // from intended, live
// From any but void, gone. `ended`: when it ended by itself, by its provider's word.
Status set_releasing(Txn& txn, const std::string& tag, std::optional<double> ended = {});
Status set_gone(Txn& txn, const std::string& tag, double at);  // from any but void
Status set_void(Txn& txn, const std::string& tag, double at);  // from intended
Status set_lost(Txn& txn, const std::string& tag, double at);  // from live, releasing
Status set_misses(Txn& txn, const std::string& tag, int misses);
Status set_lease(Txn& txn, const std::string& tag, double until);
Status set_handle(Txn& txn, const std::string& tag, const Json& handle);

Result<std::optional<ResourceRow>> find_resource(Database& db, const std::string& tag);
Result<std::vector<ResourceRow>> list_resources(Database& db, const ResourceFilter& filter);
// USD of all of `run`'s instances until `now`.
Result<double> run_cost(Database& db, const std::string& run, double now);

// One process tree on an instance: starting → running → done, or lost.
struct ProcRow {
  std::string run;
  std::string key;  // unique in the run; the agent knows the command by it
  std::string tag;
  std::string task;
  int attempt = 1;
  Json cmd;                // {shell=} or {list=}, secrets as references
  std::string log;         // path here
  int64_t log_offset = 0;  // bytes that are safely here
  std::string state = "starting";
  std::optional<int> code;
  std::optional<int> signal;
  std::optional<double> started, ended;
  Json facts;  // what the agent said: pid, start ticks, boot id, memory, ...
};
Status insert_proc(Txn& txn, const ProcRow& row);  // a row that is there already stays
Status update_proc(Txn& txn, const ProcRow& row);  // all fields but run, key and log_offset
Status set_log_offset(Txn& txn, const std::string& run, const std::string& key, int64_t offset);
Result<std::optional<ProcRow>> find_proc(Database& db, const std::string& run,
                                         const std::string& key);
Result<std::vector<ProcRow>> list_procs(Database& db, const std::string& run);

}  // namespace choline
