// The pieces of a wait that every file of this folder shares. A waiting function is
//   check_may_wait(L);             raises where nothing may wait
//   <C++ body: begins the wait>    no Lua, nothing thrown
//   return yield_wait(L, then);    the last expression of the function
// and `then` begins with finish_wait(L), which raises a cancellation.
#pragma once

#include <lua.hpp>
#include <string>

#include "base/error.h"
#include "lua/host.h"

namespace choline {

// What a native wait yields, up through every coroutine to the scheduler.
void push_wait_mark(lua_State* L);
bool is_wait_mark(lua_State* L, int index);

void check_may_wait(lua_State* L);
int yield_wait(lua_State* L, lua_KFunction then, lua_KContext context = 0);
void finish_wait(lua_State* L);

// Pushes the failure of the task's cancellation, always the same table, and raises it.
int raise_cancellation(lua_State* L, Task* task);
// Is the value at `index` something that no pcall may catch in this task.
bool must_pass(lua_State* L, int index);

// Puts an error into the host's scratch, for a raise with nothing alive: `return raise_scratch(L)`.
void set_scratch(Host& host, ErrorKind kind, std::string text) noexcept;
int raise_scratch(lua_State* L);

// Runs the C++ part of a native function: what it throws becomes the failure in scratch. No Lua API
// inside. False: raise_scratch.
template <class Body>
bool guarded_body(Host& host, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::exception& fault) {
    set_scratch(host, ErrorKind::invalid, fault.what());
    return false;
  }
}

// A message handler that keeps the traceback of a plain Lua error for the host.
int keep_traceback(lua_State* L);

// Pushes a C function that calls `binding`.
void push_binding(lua_State* L, Binding* binding);

// Creates a task for the function and the `arguments` values on top of the stack; pops them and
// pushes the task's userdata. The caller fills in the path and adopts it.
Task* push_new_task(lua_State* L, int arguments);
void release_anchor(lua_State* L, Task* task) noexcept;
Task* check_task(lua_State* L, int index);
void push_task(lua_State* L, Task* task);  // of an anchored task

// Each adds its part to the table of natives, or to the globals of the stdlib.
void install_base(lua_State* L);  // pcall, xpcall, coroutine
void install_tasks(lua_State* L, int native);
void install_events(lua_State* L, int native);
void install_chunks(lua_State* L, int native);
void install_random(lua_State* L, int native);
void run_prelude(lua_State* L, int native);

}  // namespace choline
