// The durable engine: every side effect of a run is a step that is done once and then remembered.
// Knows the journal and the loop, not Lua. See docs/design/steps.md.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"

namespace choline {

// What may be done when an intent is found without a result (CORE §5).
enum class StepClass { derived, query, idempotent, keyed, adoptable, opaque, wait };
std::string_view to_text(StepClass cls);

struct StepCall {
  std::string task;   // path of the task: "main.train"
  std::string label;  // given by the user, or empty: then verb#ordinal within the task
  std::string verb;   // "instance.create"
  StepClass cls = StepClass::query;
  Json args;
};

// What a live effect may know of its step.
struct StepContext {
  std::string run;     // id of the run; empty when no run is owned
  std::string key;     // "main.train/instance.create#0": unique in the run, the same after a crash
  int attempt = 1;     // 2 and more when an earlier process died between intent and result
  bool resumed = false;  // an intent without a result was found: look before doing it again
  double intended_at = 0;  // wall seconds of the first intent
};

using Live = std::function<Co<Result<Json>>(StepContext)>;

}  // namespace choline
