// The one Lua state of a process with its tasks: who runs when, how waits end, how the whole ends.
// See runtime/README.md for the rules of the border.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <lua.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "loop/co.h"
#include "loop/loop.h"
#include "lua/memory.h"
#include "lua/task.h"

namespace choline {

class Watchdog;

struct HostOptions {
  size_t memory = size_t{512} << 20;  // bytes for Lua
  double runaway = 5;                 // seconds of processor time that Lua may run without waiting
  bool stress = false;                // the collector at full pressure, for tests
  uint64_t fail_allocation = 0;       // for tests: see LuaMemory::fail_at

  // CHOLINE_LUA_MEMORY (MiB), CHOLINE_LUA_LIMIT (seconds), CHOLINE_LUA_STRESS=1.
  static HostOptions from_environment();
};

// A native function as Lua sees it: either answers at once, or waits.
struct Binding {
  std::string name;  // "store.runs"
  std::function<Result<Json>(const Json& args)> call;
  std::function<Co<Result<Json>>(Json args)> wait;
  bool keep_nulls = false;
};

// How the main task ended.
struct Outcome {
  bool ok = false;
  Json value;             // what it returned
  std::string message;    // what was raised, as text
  std::string kind;       // of a failure; empty for a plain Lua error, which is a fault of choline
  std::string traceback;  // of a plain Lua error
};

class Host {
 public:
  Host(Loop& loop, HostOptions options);
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;
  ~Host();

  // False when there was not even memory for the bare state; `problem` says so.
  bool ok() const { return ready_; }
  const std::string& problem() const { return problem_; }

  void add(std::string_view module, Binding binding);
  // Text of a stdlib file by its path below stdlib/ ("core/text.lua"), and the names of all
  // modules.
  std::function<std::optional<std::string>(std::string_view path)> find_source;
  std::vector<std::string> modules;
  std::string version;
  std::function<std::optional<uint64_t>()> run_seed;  // of the owned run, for durable tasks

  // Starts the main task: stdlib/main.lua with (native, argv, modules), or `text` under
  // `chunk_name` with the same arguments. `ended` is called from the loop, once.
  void start(const std::vector<std::string>& argv, std::function<void(Outcome)> ended);
  void start_text(std::string_view text, std::string_view chunk_name,
                  const std::vector<std::string>& argv, std::function<void(Outcome)> ended);

  // Calls `fn` once, when every durable task has run until it waits.
  void when_quiet(std::function<void()> fn);

  Task* current() const { return current_; }
  // "Cholfile.lua:7": the innermost line of user code in the running task; empty when none is.
  std::string place() const;
  Loop& loop() { return loop_; }
  lua_State* state() { return L_; }
  const LuaMemory& memory() const { return memory_; }
  size_t tasks_alive() const { return alive_; }

  // --- for the files of this folder
  // ---------------------------------------------------------------
  static Host& of(lua_State* L) { return **static_cast<Host**>(lua_getextraspace(L)); }

  // Begins a wait of the current task. The caller then yields with the mark.
  WaitId begin_wait(bool steady = false);
  // The same for native work; `work` may end at once.
  void begin_work(Co<Result<Json>> work);
  void wake(WaitId wait);
  // Takes back a wait that was begun and is not going to be yielded.
  void forget_wait(WaitId wait);
  void make_ready(Task* task);
  void cancel(Task* task, const std::string& why);
  // Puts a fresh task into the tree and into the ready queue.
  void adopt(Task* task, Task* parent);
  void break_shield(Task* task, TimerId timer);

  std::optional<Result<Json>> scratch;     // answer of a call that does not wait
  std::vector<std::string> no_waiting;     // why nothing may wait now, innermost last
  int closing = 0;                         // coroutines being closed by force: no waits in there
  std::unordered_set<lua_State*> relayed;  // user coroutines in which a native wait is going on
  std::string trace_message, trace;        // of the last plain Lua error
  std::deque<Binding> bindings;

  // The watchdog reads these from its signal handler.
  std::atomic<lua_State*> running{nullptr};
  std::atomic<uint64_t> resumes{0};
  std::atomic<bool> in_native{false};

 private:
  friend struct Boot;  // native_table.cc: the parts that run under one lua_pcall
  void open();
  void post_drain();
  void drain();
  bool run_quiet();
  void resume(Task* task);
  void end(Task* task, int status, int values);
  void finish_main(Task* task);

  Loop& loop_;
  HostOptions options_;
  LuaMemory memory_;
  lua_State* L_ = nullptr;
  bool ready_ = false;
  std::string problem_;
  Task* current_ = nullptr;
  Task* main_ = nullptr;
  size_t alive_ = 0;
  WaitId last_wait_ = 0;
  std::unordered_map<WaitId, Task*> waits_;
  std::deque<Task*> durable_;  // ready ones
  std::deque<Task*> outside_;
  std::deque<std::function<void()>> quiet_;
  std::function<void(Outcome)> ended_;
  std::vector<Task*> tasks_;  // all that live, for the end of the host
  // A posted drain must not find a host that is gone.
  std::shared_ptr<bool> here_ = std::make_shared<bool>(true);
  bool drain_posted_ = false;
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace choline
