// A task: one Lua coroutine that the scheduler resumes, with its place in the tree of tasks.
#pragma once

#include <cstdint>
#include <lua.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "lua/random.h"

namespace choline {

// Names one wait, not a task: a wake that comes late or twice finds nobody.
using WaitId = uint64_t;

struct Shield {
  TimerId timer = 0;
  bool broken = false;  // its time is over
};

// Lives in a Lua userdata, which the registry holds while the task is alive; the userdata keeps the
// coroutine and with it the results.
struct Task {
  enum class State : uint8_t { ready, running, waiting, ended };

  std::string path;    // "main.train"
  size_t name_at = 0;  // where the name begins in the path
  bool outside = false;
  State state = State::ready;

  lua_State* thread = nullptr;
  int anchor = LUA_NOREF;  // of the userdata
  Task* parent = nullptr;
  Task* first_child = nullptr;  // alive ones, in order of their start
  Task* last_child = nullptr;
  Task* next = nullptr;  // among the parent's children
  Task* previous = nullptr;
  std::unique_ptr<std::set<std::string>> used;  // names that children had
  std::unique_ptr<TaskRandom> random;

  WaitId wait = 0;           // what it waits for now; 0: nothing
  bool steady = false;       // the present wait is not ended by a cancellation
  bool interrupted = false;  // the present wait was ended by a cancellation
  Started operation;         // the native work it waits for
  std::optional<Result<Json>> result;

  bool cancelled = false;
  bool runaway = false;  // stopped by the watchdog: nothing may catch that
  bool failed = false;
  bool observed = false;  // somebody has asked how it ended
  std::string why;        // of the cancellation
  std::vector<Shield> shields;
  std::vector<WaitId> watchers;   // waits for its end
  WaitId children_wait = 0;       // the wait for the end of the last child
  std::vector<Task*> unobserved;  // failed children that nobody has asked; still anchored
  int results = 0;                // values on the thread's stack: results, or what was raised
  int first_result = 0;
  size_t slot = 0;  // place in the host's list of living tasks

  std::string_view name() const { return std::string_view(path).substr(name_at); }
  bool shielded() const {
    for (const Shield& shield : shields) {
      if (!shield.broken) return true;
    }
    return false;
  }
  // A cancellation that must be raised at the next wait.
  bool must_stop() const { return cancelled && !shielded(); }
};

}  // namespace choline
