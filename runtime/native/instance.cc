// native.instance: rent, link, run commands, end.
#include "durable/commands.h"
#include "durable/instances.h"
#include "durable/reap.h"
#include "native/attach.h"
#include "native/module.h"
#include "native/services.h"

namespace choline {
namespace {

Result<RentRequest> rent_request(const Json& fields, double default_lease) {
  if (!fields.is_object())
    return Error(ErrorKind::invalid, "native.instance.create: expected a table");
  Result<Offer> offer = offer_from_json(field(fields, "offer"));
  if (!offer) return offer.error();
  RentRequest request;
  request.name = text_field(fields, "name");
  request.provider = text_field(fields, "provider");
  request.offer = std::move(*offer);
  request.spec = spec_from_json(fields);
  request.keep = field(fields, "keep") == true;
  Json lease = field(fields, "lease");
  request.spec.lease = lease.is_number() ? lease.get<double>()
                       : lease.is_null() ? default_lease
                                         : 0;
  if (request.provider.empty()) request.provider = request.offer.provider;
  return request;
}

Co<Result<Json>> instance_create(Services& services, Json args, StepContext context) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<RentRequest> request = rent_request(arg(args, 0), (*instances)->default_lease());
  if (!request) co_return request.error();
  Result<ResourceRow> row = co_await rent((*instances)->world(), *request, context);
  if (!row) co_return row.error();
  co_return Json{{"tag", row->tag},           {"name", row->name},
                 {"provider", row->provider}, {"provider_id", row->provider_id},
                 {"price", row->price},       {"host", row->host}};
}

Co<Result<Json>> instance_ready(Services& services, Json args, StepContext) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.ready");
  if (!tag) co_return tag.error();
  double timeout = arg(args, 1).is_number() ? arg(args, 1).get<double>() : 0;
  Result<AgentFacts> facts = co_await (*instances)->ready(*tag, timeout);
  if (!facts) co_return facts.error();
  co_return to_json(*facts);
}

Co<Result<Json>> instance_destroy(Services& services, Json args, StepContext context) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.destroy");
  if (!tag) co_return tag.error();
  (*instances)->drop(*tag);
  Result<Released> released = co_await release((*instances)->world(), *tag, context);
  if (!released) co_return released.error();
  Json told = {{"gone", released->gone}, {"cost", released->cost}};
  if (released->ended) told["ended"] = *released->ended;
  co_return told;
}

Co<Result<Json>> instance_get(Services& services, Json args, StepContext) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.get");
  if (!tag) co_return tag.error();
  Result<Json> told = co_await (*instances)->look(*tag);
  co_return told;
}

Co<Result<Json>> instance_exec(Services& services, Json args, StepContext context) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.exec");
  if (!tag) co_return tag.error();
  Result<Json> result =
      co_await exec_command(**instances, *tag, arg(args, 1), arg(args, 2), context);
  co_return result;
}

Co<Result<Json>> instance_start(Services& services, Json args, StepContext context) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.start");
  if (!tag) co_return tag.error();
  Result<Json> result = co_await start_command(**instances, *tag, arg(args, 1), context);
  co_return result;
}

Co<Result<Json>> instance_wait(Services& services, Json args, StepContext context) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.wait");
  if (!tag) co_return tag.error();
  Result<std::string> key = string_arg(args, 1, "native.instance.wait");
  if (!key) co_return key.error();
  Result<Json> result = co_await wait_command(**instances, *tag, *key, context);
  co_return result;
}

Co<Result<Json>> instance_signal(Services& services, Json args, StepContext) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> tag = string_arg(args, 0, "native.instance.signal");
  if (!tag) co_return tag.error();
  Result<std::string> key = string_arg(args, 1, "native.instance.signal");
  if (!key) co_return key.error();
  Status sent = co_await signal_command(**instances, *tag, *key, arg(args, 2));
  if (!sent) co_return sent.error();
  co_return Json(nullptr);
}

Co<Result<Json>> instance_release_all(Services& services, Json args) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  Result<std::string> run = string_arg(args, 0, "native.instance.release_all");
  if (!run) co_return run.error();
  Result<std::vector<ReleaseOutcome>> outcomes = co_await release_all((*instances)->world(), *run);
  if (!outcomes) co_return outcomes.error();
  Json list = Json::array();
  for (const ReleaseOutcome& one : *outcomes) {
    (*instances)->drop(one.tag);
    Json told = {{"tag", one.tag}, {"name", one.name}, {"gone", one.gone}};
    if (!one.error.empty()) told["error"] = one.error;
    list.push_back(std::move(told));
  }
  co_return list;
}

Co<Result<Json>> instance_reap(Services& services, Json args) {
  Result<Instances*> instances = services.instances();
  if (!instances) co_return instances.error();
  ReapOptions options;
  options.dry_run = field(arg(args, 0), "dry_run") == true;
  options.kept = field(arg(args, 0), "kept") == true;
  Result<ReapReport> report = co_await reap((*instances)->world(), options);
  if (!report) co_return report.error();
  co_return to_json(*report);
}

}  // namespace

NativeModule instance_module() {
  NativeModule module;
  module.name = "instance";
  module.functions = {
      {"create", StepClass::adoptable, instance_create},
      {"ready", StepClass::idempotent, instance_ready},
      {"destroy", StepClass::idempotent, instance_destroy},
      {"get", StepClass::query, instance_get},
      {"exec", StepClass::opaque, instance_exec},
      {"attach", instance_attach},
      {"start", StepClass::keyed, instance_start},
      {"wait", StepClass::wait, instance_wait},
      {"signal", StepClass::idempotent, instance_signal},
      {"release_all", instance_release_all},
      {"reap", instance_reap},
  };
  return module;
}

}  // namespace choline
