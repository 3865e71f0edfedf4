// native.run: the run this process owns, and requests to the owners of others.
#include "native/module.h"

#include <cstdio>
#include <cstdlib>

#include "base/log.h"
#include "durable/instances.h"
#include "durable/owned_run.h"
#include "durable/rehearsal.h"
#include "native/rows.h"
#include "native/services.h"
#include "store/store.h"

namespace choline {

namespace {

constexpr double kRequestSeconds = 10;
constexpr int kExitFailed = 1, kExitConflict = 8, kExitEndOfRecord = 75;

Result<OwnedRun*> owned_run(Services& services, std::string_view what) {
  if (services.owned) return services.owned.get();
  return Error(ErrorKind::conflict,
               std::string(what) + ": this process owns no run; native.run.own takes one");
}

Result<RunRow> row_from(const Json& fields) {
  if (!fields.is_object() || !fields.contains("name") || !fields["name"].is_string()) {
    return Error(ErrorKind::invalid,
                 "native.run.create: argument 1: expected a table with name, params, env, sources");
  }
  RunRow row;
  row.name = fields["name"].get<std::string>();
  row.params = fields.value("params", Json::object());
  row.env = fields.value("env", Json::object());
  if (fields.contains("budget") && fields["budget"].is_number()) row.budget = fields["budget"];
  if (fields.contains("seed") && fields["seed"].is_number_integer()) row.seed = fields["seed"];
  if (fields.contains("parent") && fields["parent"].is_string()) row.parent = fields["parent"];
  return row;
}

Result<std::vector<SourceRow>> sources_from(const Json& fields) {
  std::vector<SourceRow> sources;
  const Json given = fields.value("sources", Json::array());
  for (const Json& source : given) {
    if (!source.is_object() || !source.contains("path") || !source["path"].is_string() ||
        !source.contains("text") || !source["text"].is_string()) {
      return Error(ErrorKind::invalid, "native.run.create: each of sources is {path, text}");
    }
    sources.push_back({source["path"].get<std::string>(), source["text"].get<std::string>(), ""});
  }
  return sources;
}

Result<Json> create(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  Result<RunRow> row = row_from(arg(args, 0));
  if (!row) return row.error();
  Result<std::vector<SourceRow>> sources = sources_from(arg(args, 0));
  if (!sources) return sources.error();
  Result<std::string> id = create_run(**store, std::move(*row), *sources, services.loop.wall());
  if (!id) return id.error();
  return Json(*id);
}

// A process that has lost its run must not go on, and one in which no task would hear of the
// failure would wait for ever. All that matters is in the store.
void end_process(const Error& error, int code) {
  std::fprintf(stderr, "choline: %s\n", error.message.c_str());
  std::fflush(nullptr);
  std::_Exit(code);
}

// With CHOLINE_TEST_REPLAY a run is only replayed: tests learn whether it takes the same steps.
void end_of_record(const std::string& key) {
  std::fprintf(stderr, "choline: the record ends before step %s\n", key.c_str());
  std::fflush(nullptr);
  std::_Exit(kExitEndOfRecord);
}

// A run is taken over only by whoever knows the rules that it was recorded by. To end it, its rows
// are enough.
Status can_replay(Store& store, const std::string& id, bool only_ends, double now) {
  Result<std::optional<RunRow>> row = get_run(store.db(), id, now);
  if (!row) return row.error();
  if (!*row || only_ends || (*row)->state == "stopping") return done();
  return check_replay_abi(**row);
}

Result<Json> own(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  Result<std::string> id = string_arg(args, 0, "native.run.own");
  if (!id) return id.error();
  if (services.owned) {
    return Error(ErrorKind::conflict,
                 "native.run.own: this process owns run " + services.owned->id() + " already");
  }
  bool only_ends = arg(args, 1).is_object() && arg(args, 1).value("ends", false);
  if (Status known = can_replay(**store, *id, only_ends, services.loop.wall()); !known)
    return known.error();
  auto taken = OwnedRun::own(services.loop, **store, *id, services.when_quiet);
  if (!taken) return taken.error();
  services.owned = std::move(*taken);
  OwnedRun* run = services.owned.get();
  Result<Instances*> instances = services.instances();
  Status held = !instances  ? Status(instances.error())
                : only_ends ? done()
                            : (*instances)->leases().hold_run(*id);
  if (!held) log_warning("leases of run " + *id + ": " + held.error().message);
  run->on_broken = [run](const Error& error) {
    if (error.kind == ErrorKind::conflict) end_process(error, kExitConflict);
    if (!run->steps().somebody_was_told()) end_process(error, kExitFailed);
  };
  if (std::getenv("CHOLINE_TEST_REPLAY")) run->steps().instead_of_live = end_of_record;
  return Json{{"replaying", run->steps().replaying()},
              {"steps", run->steps().recorded()},
              {"row", run_to_json(**store, run->row())}};
}

Result<Json> current(Services& services, const Json&) {
  if (services.rehearsal) return Json(services.rehearsal->row().id);
  return services.owned ? Json(services.owned->id()) : Json();
}

Result<Json> replaying(Services& services, const Json&) {
  return Json(services.rehearsal || (services.owned && services.owned->steps().replaying()));
}

Result<Json> event(Services& services, const Json& args) {
  Result<std::string> kind = string_arg(args, 0, "native.run.event");
  if (!kind) return kind.error();
  std::string key;
  if (!arg(args, 2).is_null()) {
    Result<std::string> given = string_arg(args, 2, "native.run.event");
    if (!given) return given.error();
    key = *given;
  }
  Caller caller = services.caller ? services.caller() : Caller{};
  if (services.rehearsal) {
    return services.rehearsal->event(*kind, arg(args, 1), key, caller.task, caller.outside);
  }
  Result<OwnedRun*> run = owned_run(services, "native.run.event");
  if (!run) return run.error();
  OwnedRun::Recorded recorded =
      (*run)->event(*kind, arg(args, 1), key, caller.task, caller.outside);
  Json out = event_to_json(recorded.row);
  out["fresh"] = recorded.fresh;
  return out;
}

Result<Json> show(Services& services, const Json& args) {
  Result<OwnedRun*> run = owned_run(services, "native.run.show");
  if (!run) return run.error();
  Result<std::string> key = string_arg(args, 0, "native.run.show");
  if (!key) return key.error();
  (*run)->show(*key, arg(args, 1));
  return Json();
}

Result<Json> set_state(Services& services, const Json& args) {
  Result<OwnedRun*> run = owned_run(services, "native.run.set_state");
  if (!run) return run.error();
  Result<std::string> state = string_arg(args, 0, "native.run.set_state");
  if (!state) return state.error();
  if (Status set = (*run)->set_state(*state, arg(args, 1)); !set) return set.error();
  return Json();
}

Result<Json> disown(Services& services, const Json&) {
  if (!services.owned) return Json();
  services.owned->disown();
  services.owned.reset();
  return Json();
}

Result<Json> cost(Services& services, const Json&) {
  if (services.rehearsal) return Json(services.rehearsal->row().cost);
  Result<OwnedRun*> run = owned_run(services, "native.run.cost");
  if (!run) return run.error();
  Result<double> usd = (*run)->cost();
  if (!usd) return usd.error();
  return Json(*usd);
}

Result<Json> heard(Services& services, const Json&) {
  if (services.rehearsal) return Json::array();
  Result<OwnedRun*> run = owned_run(services, "native.run.heard");
  if (!run) return run.error();
  Result<Instances*> instances = services.instances();
  if (!instances) return instances.error();
  return (*instances)->hearing().take();
}

Co<Result<Json>> next_request(Services& services, Json) {
  Result<OwnedRun*> run = owned_run(services, "native.run.next_request");
  if (!run) co_return run.error();
  if (services.caller && !services.caller().outside) {
    co_return Error(ErrorKind::invalid,
                    "native.run.next_request: only a task outside the run may wait for requests");
  }
  std::shared_ptr<RequestServer> server = (*run)->requests();
  Co<Result<Request>> waiting = server->next();
  Result<Request> request = co_await waiting;
  if (!request) co_return request.error();
  Json by = Json::object();
  by["host"] = request->host;
  by["pid"] = request->pid;
  by["user"] = request->user;
  Json out = Json::object();
  out["id"] = request->id;
  out["verb"] = request->verb;
  out["args"] = request->args;
  out["by"] = std::move(by);
  co_return out;
}

Result<Json> reply(Services& services, const Json& args) {
  Result<OwnedRun*> run = owned_run(services, "native.run.reply");
  if (!run) return run.error();
  Result<double> id = number_arg(args, 0, "native.run.reply");
  if (!id) return id.error();
  Status sent = (*run)->requests()->reply(static_cast<int64_t>(*id), arg(args, 1));
  if (!sent) return sent.error();
  return Json();
}

Co<Result<Json>> request(Services& services, Json args) {
  Result<Store*> store = services.store();
  if (!store) co_return store.error();
  Result<std::string> run = string_arg(args, 0, "native.run.request");
  if (!run) co_return run.error();
  Result<std::string> verb = string_arg(args, 1, "native.run.request");
  if (!verb) co_return verb.error();
  double seconds = arg(args, 3).is_number() ? arg(args, 3).get<double>() : kRequestSeconds;
  Co<Result<std::optional<Json>>> asking =
      send_request(services.loop, (*store)->run_folder(*run), *verb, arg(args, 2), seconds);
  Result<std::optional<Json>> answer = co_await asking;
  if (!answer) co_return answer.error();
  co_return *answer ? std::move(**answer) : Json();
}

}  // namespace

NativeModule run_module() {
  return {"run",
          {{"create", create},
           {"own", own},
           {"current", current},
           {"replaying", replaying},
           {"event", event},
           {"show", show},
           {"set_state", set_state},
           {"disown", disown},
           {"cost", cost},
           {"heard", heard},
           {"next_request", next_request},
           {"reply", reply},
           {"request", request}}};
}

}  // namespace choline
