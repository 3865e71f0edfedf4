// How a native module is declared: a list of functions from JSON to JSON. The border turns Lua
// arguments into a JSON array, and results and errors back into values and failures, so a module
// never sees a lua_State. Waiting functions are coroutines; verbs are journaled while this process
// owns a run (see docs/design/steps.md).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "durable/steps.h"
#include "loop/co.h"

namespace choline {

struct Services;  // native/services.h: everything a module may use

using CallFn = Result<Json> (*)(Services& services, const Json& args);  // answers at once
using WaitFn = Co<Result<Json>> (*)(Services& services, Json args);     // waits; never journaled
using VerbFn = Co<Result<Json>> (*)(Services& services, Json args, StepContext context);  // a step

// Runs in the transaction of the step's intent: see StepCall::with_intent.
using IntentFn = Status (*)(Services& services, const Json& args, Txn& txn,
                            const StepContext& context);

struct NativeFunction {
  NativeFunction(std::string_view function_name, CallFn fn) : name(function_name), call(fn) {}
  NativeFunction(std::string_view function_name, WaitFn fn) : name(function_name), wait(fn) {}
  NativeFunction(std::string_view function_name, StepClass step_class, VerbFn fn)
      : name(function_name), cls(step_class), verb(fn) {}
  NativeFunction(std::string_view function_name, StepClass step_class, VerbFn fn, IntentFn before)
      : name(function_name), cls(step_class), verb(fn), intent(before) {}

  std::string_view name;
  CallFn call = nullptr;
  WaitFn wait = nullptr;
  StepClass cls = StepClass::derived;
  VerbFn verb = nullptr;
  IntentFn intent = nullptr;
};

struct NativeModule {
  std::string_view name;  // native.<name>
  std::vector<NativeFunction> functions;
};

// Positional argument `index` (from 0) of a native call, or null when it was left out.
const Json& arg(const Json& args, size_t index);
// Typed reads with an error that names the argument: "native.fs.read: argument 1: expected string,
// got number".
Result<std::string> string_arg(const Json& args, size_t index, std::string_view what);
Result<double> number_arg(const Json& args, size_t index, std::string_view what);
Result<int64_t> integer_arg(const Json& args, size_t index, std::string_view what);
// A list of strings; a missing argument is an empty one.
Result<std::vector<std::string>> texts_arg(const Json& args, size_t index, std::string_view what);

// A field of a table, or null; and one that is a text, or nothing.
Json field(const Json& fields, const char* key);
std::string text_field(const Json& fields, const char* key);

// One function for each module, in native/<module>.cc; native/all.cc lists them.
NativeModule store_module();
NativeModule run_module();
NativeModule update_module();
NativeModule recover_module();
NativeModule provider_module();
NativeModule instance_module();
NativeModule transfer_module();
NativeModule forward_module();
NativeModule fs_module();
NativeModule sys_module();
NativeModule secret_module();
NativeModule json_module();
NativeModule clock_module();
NativeModule wait_module();
NativeModule text_module();

class Host;  // lua/host.h
// Makes all modules known to the host, and sets what services ask of the host.
void add_native_modules(Host& host, Services& services);
// One more; its functions take the place of those of the same name.
void add_native_module(Host& host, Services& services, const NativeModule& module);

}  // namespace choline
