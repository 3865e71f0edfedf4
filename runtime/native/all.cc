// Where the border and the modules meet: each native function becomes a binding, and each verb a
// step while this process owns a run.
#include "durable/owned_run.h"
#include "durable/rehearsal.h"
#include "lua/host.h"
#include "native/module.h"
#include "native/services.h"
#include "store/store.h"

namespace choline {

namespace {

// The user's name for a step: the second argument of sleep and till, else the field `label` of an
// argument.
std::string label_of(std::string_view verb, const Json& args) {
  bool waits = verb == "wait.sleep" || verb == "wait.till";
  if (waits && arg(args, 1).is_string()) return args[1].get<std::string>();
  for (const Json& value : args) {
    if (!value.is_object()) continue;
    auto label = value.find("label");
    if (label != value.end() && label->is_string()) return label->get<std::string>();
  }
  return {};
}

struct Verb {
  NativeFunction function;
  std::string name;  // "instance.create"
};

Co<Result<Json>> failed(Error error) {
  co_return error;
}

Co<Result<Json>> start_verb(Services& services, const Verb& verb, Json args) {
  Caller caller = services.caller();
  VerbFn effect = verb.function.verb;
  if (services.rehearsal && caller.outside) return services.rehearsal->sealed();
  bool journaled = services.rehearsal || (services.owned && !caller.outside);
  // A plain wait needs no store.
  if (!journaled && verb.function.cls == StepClass::wait && !verb.function.intent) {
    return effect(services, std::move(args), StepContext{});
  }
  StepCall call;
  call.task = caller.task;
  call.label = label_of(verb.name, args);
  call.verb = verb.name;
  call.cls = verb.function.cls;
  call.args = args;
  if (IntentFn intent = verb.function.intent) {
    call.with_intent = [&services, intent, args](Txn& txn, const StepContext& context) {
      return intent(services, args, txn, context);
    };
  }
  Live live = [&services, effect, args](StepContext context) {
    return effect(services, args, std::move(context));
  };
  if (services.rehearsal) return services.rehearsal->step(std::move(call), services.place());
  if (journaled) return services.owned->steps().run(std::move(call), std::move(live));
  if (services.owned && services.owned->steps().instead_of_live) {
    return failed(Error(ErrorKind::unsupported, verb.name + ": a replay does nothing"));
  }
  Result<Store*> store = services.store();
  if (!store) return failed(store.error());
  return run_unjournaled(**store, std::move(call), std::move(live));
}

// What a rehearsal must not do. Its own output and what it reads is as ever.
bool changes_something(std::string_view module, std::string_view function) {
  if (module == "run") {
    return function != "event" && function != "cost" && function != "current" &&
           function != "replaying";
  }
  if (module == "fs") {
    return function == "write" || function == "make_folder" || function == "remove";
  }
  return module == "sys" && function == "detach";
}

Binding bind(Services& services, const NativeModule& module, const NativeFunction& function) {
  Binding binding;
  binding.name = std::string(function.name);
  Services* all = &services;
  if (function.call) {
    bool sealed = changes_something(module.name, function.name);
    binding.call = [all, sealed, call = function.call](const Json& args) -> Result<Json> {
      if (sealed && all->rehearsal) return Json();
      return call(*all, args);
    };
    binding.keep_nulls = module.name == "json";
  } else if (function.wait) {
    bool sealed = module.name != "update";
    binding.wait = [all, sealed, wait = function.wait](Json args) {
      if (sealed && all->rehearsal) return all->rehearsal->sealed();
      return wait(*all, std::move(args));
    };
  } else {
    Verb verb{function, std::string(module.name) + "." + std::string(function.name)};
    binding.wait = [all, verb = std::move(verb)](Json args) {
      return start_verb(*all, verb, std::move(args));
    };
  }
  return binding;
}

}  // namespace

void add_native_module(Host& host, Services& services, const NativeModule& module) {
  for (const NativeFunction& function : module.functions) {
    host.add(module.name, bind(services, module, function));
  }
}

void add_native_modules(Host& host, Services& services) {
  services.when_quiet = [&host](std::function<void()> fn) { host.when_quiet(std::move(fn)); };
  services.caller = [&host] {
    Task* task = host.current();
    return task ? Caller{task->path, task->outside} : Caller{"", true};
  };
  services.place = [&host] { return host.place(); };
  host.run_seed = [&services]() -> std::optional<uint64_t> {
    if (services.rehearsal) return static_cast<uint64_t>(services.rehearsal->row().seed);
    if (!services.owned) return std::nullopt;
    return static_cast<uint64_t>(services.owned->row().seed);
  };
  for (const NativeModule& module :
       {fs_module(), sys_module(), json_module(), clock_module(), wait_module(), text_module(),
        store_module(), run_module(), update_module(), recover_module(), provider_module(),
        instance_module(), transfer_module(), forward_module(), secret_module()}) {
    add_native_module(host, services, module);
  }
}

}  // namespace choline
