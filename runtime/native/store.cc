// native.store: what is recorded, for any process, without owning a run.
#include "native/module.h"

#include "durable/journal.h"
#include "durable/owned_run_lock.h"
#include "native/rows.h"
#include "native/services.h"
#include "store/events.h"
#include "store/metrics.h"
#include "store/resources.h"
#include "store/runs.h"
#include "store/steps.h"
#include "store/store.h"

namespace choline {

namespace {

// Optional fields of a filter table.
std::optional<std::string> optional_text(const Json& filter, const char* key) {
  if (!filter.is_object() || !filter.contains(key) || !filter[key].is_string()) return std::nullopt;
  return filter[key].get<std::string>();
}

bool flag_field(const Json& filter, const char* key) {
  return filter.is_object() && filter.contains(key) && filter[key] == true;
}

// How many rows at most; -1 for all.
int64_t most_field(const Json& value) {
  return value.is_number() ? static_cast<int64_t>(value.get<double>()) : -1;
}

int64_t most_of(const Json& filter) {
  return filter.is_object() && filter.contains("most") ? most_field(filter["most"]) : -1;
}

Result<Json> runs(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  const Json& wanted = arg(args, 0);
  RunFilter filter{optional_text(wanted, "name"), optional_text(wanted, "state"), most_of(wanted)};
  Result<std::vector<RunRow>> rows = list_runs((*store)->db(), filter, services.loop.wall());
  if (!rows) return rows.error();
  Json list = Json::array();
  for (const RunRow& row : *rows) list.push_back(run_to_json(**store, row));
  return list;
}

Result<Json> find(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  std::string reference;
  if (!arg(args, 0).is_null()) {
    Result<std::string> given = string_arg(args, 0, "native.store.find");
    if (!given) return given.error();
    reference = *given;
  }
  Result<RunRow> row = find_run((*store)->db(), reference, services.loop.wall());
  if (!row) return row.error();
  return run_to_json(**store, *row);
}

// The store and the run that the first argument names.
struct Subject {
  Store* store;
  std::string run;
};

Result<Subject> subject(Services& services, const Json& args, std::string_view what) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  Result<std::string> run = string_arg(args, 0, what);
  if (!run) return run.error();
  return Subject{*store, *run};
}

Result<Json> sources(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.sources");
  if (!of) return of.error();
  Result<std::vector<SourceRow>> rows = list_sources(of->store->db(), of->run);
  if (!rows) return rows.error();
  Json list = Json::array();
  for (const SourceRow& row : *rows) {
    list.push_back({{"path", row.path}, {"text", row.text}, {"sha256", row.sha256}});
  }
  return list;
}

Json step_to_json(const Journal& journal, const StepRow& row) {
  Json out = {{"key", row.key},         {"verb", row.verb},
              {"class", row.cls},       {"state", to_text(row.state)},
              {"attempt", row.attempt}, {"intent_at", row.intent_at}};
  if (Result<Json> step_args = parse_json(row.args)) out["args"] = *step_args;
  if (row.state == StepState::ok || row.state == StepState::error) {
    Result<Json> result = journal.get_result(row);
    out["result"] = result ? *result : to_json(result.error());
  }
  if (row.seq) out["seq"] = *row.seq;
  if (row.deadline) out["deadline"] = *row.deadline;
  if (row.done_at) out["done_at"] = *row.done_at;
  return out;
}

Result<Json> steps(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.steps");
  if (!of) return of.error();
  const Json& wanted = arg(args, 1);
  StepFilter filter;
  filter.verb = optional_text(wanted, "verb");
  filter.most = most_of(wanted);
  filter.newest = flag_field(wanted, "newest");
  if (std::optional<std::string> state = optional_text(wanted, "state")) {
    for (StepState each :
         {StepState::intent, StepState::ok, StepState::error, StepState::abandoned}) {
      if (to_text(each) == *state) filter.state = each;
    }
    if (!filter.state) {
      return Error(ErrorKind::invalid, "native.store.steps: state '" + *state +
                                           "' is not intent, ok, error or abandoned");
    }
  }
  Result<std::vector<StepRow>> rows = list_steps(of->store->db(), of->run, filter);
  if (!rows) return rows.error();
  Journal journal(*of->store, of->run, 0);
  Json list = Json::array();
  for (const StepRow& row : *rows) list.push_back(step_to_json(journal, row));
  return list;
}

Result<Json> events(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.events");
  if (!of) return of.error();
  int64_t after = arg(args, 1).is_number() ? static_cast<int64_t>(arg(args, 1).get<double>()) : 0;
  Result<std::vector<EventRow>> rows =
      list_events(of->store->db(), of->run, after, most_field(arg(args, 2)));
  if (!rows) return rows.error();
  Json list = Json::array();
  for (const EventRow& row : *rows) list.push_back(event_to_json(row));
  return list;
}

Json instance_to_json(const ResourceRow& row, double now) {
  Json out = {{"tag", row.tag},
              {"name", row.name},
              {"run", row.run},
              {"step", row.step},
              {"provider", row.provider},
              {"state", to_text(row.state)},
              {"price", row.price},
              {"created", row.intended_at},
              {"cost", row.cost(now)},
              {"keep", row.spec.is_object() && row.spec.value("keep", false)},
              {"handle", row.handle.is_null() ? Json::object() : row.handle}};
  if (!row.provider_id.empty()) out["provider_id"] = row.provider_id;
  if (!row.host.empty()) out["host"] = row.host;
  if (row.gone_at) out["ended"] = *row.gone_at;
  if (row.lease_until) out["lease_until"] = *row.lease_until;
  for (const char* key : {"lease", "lifetime"}) {
    double seconds = row.spec.is_object() ? row.spec.value(key, 0.0) : 0.0;
    if (seconds > 0) out[key] = seconds;
  }
  return out;
}

Result<Json> instances(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  const Json& wanted = arg(args, 0);
  ResourceFilter filter;
  filter.run = optional_text(wanted, "run");
  filter.name = optional_text(wanted, "name");
  if (flag_field(wanted, "alive")) {
    filter.states = {ResourceState::intended, ResourceState::live, ResourceState::releasing};
  }
  Result<std::vector<ResourceRow>> rows = list_resources((*store)->db(), filter);
  if (!rows) return rows.error();
  Json list = Json::array();
  for (const ResourceRow& row : *rows) list.push_back(instance_to_json(row, services.loop.wall()));
  return list;
}

Result<Json> metrics(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.metrics");
  if (!of) return of.error();
  MetricFilter filter{optional_text(arg(args, 1), "task"), optional_text(arg(args, 1), "name")};
  Result<std::vector<MetricCurve>> curves = list_metrics(of->store->db(), of->run, filter);
  if (!curves) return curves.error();
  Json list = Json::array();
  for (const MetricCurve& curve : *curves) {
    Json points = Json::array();
    for (const MetricRow& point : curve.points) {
      points.push_back({{"step", point.step},
                        {"value", point.value},
                        {"at", point.at},
                        {"attempt", point.attempt}});
    }
    list.push_back({{"task", curve.task}, {"name", curve.name}, {"points", std::move(points)}});
  }
  return list;
}

Result<Json> commands(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.commands");
  if (!of) return of.error();
  Result<std::vector<ProcRow>> rows = list_procs(of->store->db(), of->run);
  if (!rows) return rows.error();
  Json list = Json::array();
  for (const ProcRow& row : *rows) {
    Json out = {
        {"key", row.key},     {"task", row.task}, {"attempt", row.attempt},     {"tag", row.tag},
        {"state", row.state}, {"log", row.log},   {"log_bytes", row.log_offset}};
    if (std::string dir = text_field(row.cmd, "dir"); !dir.empty()) out["dir"] = std::move(dir);
    if (Json env = field(row.cmd, "env"); env.is_object()) out["env"] = std::move(env);
    if (row.code) out["code"] = *row.code;
    if (row.started) out["started"] = *row.started;
    if (row.ended) out["ended"] = *row.ended;
    list.push_back(std::move(out));
  }
  return list;
}

Result<Json> shown(Services& services, const Json& args) {
  Result<Subject> of = subject(services, args, "native.store.shown");
  if (!of) return of.error();
  Result<std::map<std::string, Json>> rows = list_shown(of->store->db(), of->run);
  if (!rows) return rows.error();
  return Json(*rows);
}

}  // namespace

Json run_to_json(const Store& store, const RunRow& row) {
  Json out = {{"id", row.id},           {"name", row.name},     {"state", row.state},
              {"created", row.created}, {"params", row.params}, {"env", row.env},
              {"seed", row.seed},       {"cost", row.cost}};
  if (row.finished) out["finished"] = *row.finished;
  if (row.budget) out["budget"] = *row.budget;
  if (!row.failure.is_null()) out["failure"] = row.failure;
  if (!row.parent.empty()) out["parent"] = row.parent;
  // The row keeps the last owner also after its death; only the lock tells who lives.
  if (row.owner.is_object()) {
    bool lives = RunLock::is_held(store.run_folder(row.id));
    out[lives ? "owner" : "last_owner"] = {{"host", row.owner.value("host", Json())},
                                           {"pid", row.owner.value("pid", Json())},
                                           {"since", row.owner.value("since", Json())}};
  }
  return out;
}

Json event_to_json(const EventRow& row) {
  return {{"id", row.id}, {"at", row.at}, {"kind", row.kind}, {"data", row.data}};
}

NativeModule store_module() {
  return {"store",
          {{"runs", runs},
           {"find", find},
           {"sources", sources},
           {"steps", steps},
           {"events", events},
           {"instances", instances},
           {"metrics", metrics},
           {"commands", commands},
           {"shown", shown}}};
}

}  // namespace choline
