// The change that a person agreed to: see durable/rehearsal.h.
#include <unordered_set>

#include "base/digest.h"
#include "durable/rehearsal.h"
#include "store/rewrite.h"
#include "store/store.h"

namespace choline {

namespace {

std::string word(const Json& step, const char* key) {
  return step.is_object() && step.contains(key) && step[key].is_string()
             ? step[key].get<std::string>()
             : std::string();
}

std::vector<std::string> texts(const Json& list) {
  std::vector<std::string> out;
  if (!list.is_array()) return out;
  for (const Json& each : list) {
    if (each.is_string()) out.push_back(each.get<std::string>());
  }
  return out;
}

// The command of a start: {tag, {key = …}}.
std::string command_of(const Json& step) {
  const Json args = step.value("recorded", Json());
  if (word(step, "verb") != "instance.start" || !args.is_array() || args.size() < 2) return {};
  return word(args[1], "key");
}

std::optional<ChangedStep> changed_step(const Json& step) {
  if (!step.contains("recorded") || !step.contains("asked")) return std::nullopt;
  ChangedStep out;
  out.key = word(step, "key");
  out.args = to_text(step["asked"]);
  out.args_hash = sha256_hex(out.args);
  out.again = step["what"] == "redone" && !step.value("unfinished", false);
  const Json& asked = step["asked"];
  if (word(step, "class") == "wait" && asked.is_array() && !asked.empty() && asked[0].is_number())
    out.wait = asked[0].get<double>();
  return out;
}

}  // namespace

Result<Json> apply_update(Txn& txn, const std::string& run, const Update& update, double now) {
  Result<std::optional<RunRow>> row = get_run(txn.db(), run, now);
  if (!row) return row.error();
  if (!*row) return Error(ErrorKind::not_found, "there is no run " + run);
  RunRow next = **row;
  ++next.code_version;
  next.params = update.params;
  next.env = update.env;
  next.budget = update.budget;
  std::vector<ChangedStep> changed;
  std::vector<std::string> dropped;
  Json releasing = Json::array(), ending = Json::array(), restarted = Json::array();
  const Json steps = update.plan.value("steps", Json::array());
  for (const Json& step : steps) {
    std::string what = word(step, "what"), key = word(step, "key");
    if (what == "new") continue;
    if (what != "replaced" && what != "unreached") {
      if (std::optional<ChangedStep> one = changed_step(step)) changed.push_back(std::move(*one));
      continue;
    }
    dropped.push_back(key);
    if (word(step, "class") == "adoptable") {
      Result<std::vector<std::string>> tags = release_of_step(txn, run, key);
      if (!tags) return tags.error();
      for (const std::string& tag : *tags) releasing.push_back(tag);
    }
    std::string command = command_of(step);
    if (command.empty()) continue;
    restarted.push_back(command);
    Result<bool> runs = replace_proc(txn, run, command);
    if (!runs) return runs.error();
    if (*runs) ending.push_back({{"key", command}, {"tag", step["recorded"][0]}});
  }
  std::vector<std::string> order = texts(update.plan.value("order", Json::array()));
  Status rewritten = rewrite_steps(txn, run, next.code_version, order, changed, dropped);
  if (!rewritten) return rewritten.error();
  if (Status coded = replace_code(txn, next, update.sources); !coded) return coded.error();
  std::vector<std::string> emitted = texts(update.plan.value("events", Json::array()));
  Status freed = free_events(txn, run, next.code_version,
                             std::unordered_set<std::string>(emitted.begin(), emitted.end()));
  if (!freed) return freed.error();
  EventRow event;
  event.key = "run_updated/" + std::to_string(next.code_version);
  event.at = now;
  event.kind = "run_updated";
  event.data = update.told;
  event.data["version"] = next.code_version;
  event.data["releasing"] = std::move(releasing);
  event.data["ending"] = std::move(ending);
  event.data["restarted"] = std::move(restarted);
  Result<EventRow> kept = append_event(txn, run, event);
  if (!kept) return kept.error();
  return event.data;
}

}  // namespace choline
