// native.update: another program for a run that exists. See docs/design/update.md.
#include "durable/owned_run.h"
#include "durable/rehearsal.h"
#include "native/module.h"
#include "native/rows.h"
#include "native/services.h"
#include "store/store.h"

namespace choline {

namespace {

Result<Json> rehearse(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  Result<std::string> id = string_arg(args, 0, "native.update.rehearse");
  if (!id) return id.error();
  if (services.owned || services.rehearsal) {
    return Error(ErrorKind::conflict, "native.update.rehearse: this process has a run already");
  }
  Result<std::optional<RunRow>> row = get_run((*store)->db(), *id, services.loop.wall());
  if (!row) return row.error();
  if (!*row) return Error(ErrorKind::not_found, "there is no run " + *id);
  if (Status known = check_replay_abi(**row); !known) return known.error();
  Json told = run_to_json(**store, **row);
  auto begun = Rehearsal::begin(**store, std::move(**row), services.when_quiet);
  if (!begun) return begun.error();
  services.rehearsal = std::move(*begun);
  return told;
}

Co<Result<Json>> rested(Services& services, Json) {
  std::shared_ptr<Rehearsal> rehearsal = services.rehearsal;
  if (!rehearsal)
    co_return Error(ErrorKind::conflict, "native.update.rested: nothing is rehearsed");
  Co<Result<Json>> resting = rehearsal->rested();
  Result<Json> report = co_await resting;
  co_return report;
}

Result<Update> update_from(const Json& fields) {
  if (!fields.is_object() || !fields.contains("plan") || !fields.contains("sources")) {
    return Error(ErrorKind::invalid, "native.update.accept: expected {plan, sources, params, env}");
  }
  Update update;
  update.plan = fields["plan"];
  for (const Json& source : fields["sources"]) {
    if (!source.is_object()) continue;
    update.sources.push_back({source.value("path", ""), source.value("text", ""), ""});
  }
  update.params = fields.value("params", Json::object());
  update.env = fields.value("env", Json::object());
  if (fields.contains("told") && fields["told"].is_object()) update.told = fields["told"];
  if (fields.contains("budget") && fields["budget"].is_number()) update.budget = fields["budget"];
  return update;
}

Result<Json> accept(Services& services, const Json& args) {
  Result<Store*> store = services.store();
  if (!store) return store.error();
  if (!services.owned) {
    return Error(ErrorKind::conflict, "native.update.accept: this process owns no run");
  }
  Result<Update> update = update_from(arg(args, 0));
  if (!update) return update.error();
  OwnedRun& run = *services.owned;
  Json told;
  Status written = run.write([&](Txn& txn) -> Status {
    Result<Json> applied = apply_update(txn, run.id(), *update, services.loop.wall());
    if (!applied) return applied.error();
    told = std::move(*applied);
    return done();
  });
  if (!written) return written.error();
  return told;
}

}  // namespace

NativeModule update_module() {
  return {"update", {{"rehearse", rehearse}, {"rested", rested}, {"accept", accept}}};
}

}  // namespace choline
