// pcall, xpcall and the coroutine library, so that a cancellation passes through every pcall and a
// native wait passes through user coroutines up to the scheduler.
#include <cstring>

#include "lua/border.h"
#include "lua/failure.h"

namespace choline {

namespace {

// --- pcall and xpcall
// ----------------------------------------------------------------------------- Upvalue 1: is it
// the sandbox's. User code cannot catch a divergence; the engine can.

bool passes_through(lua_State* L, int index, bool sandboxed) {
  if (must_pass(L, index)) return true;
  if (!sandboxed || !is_failure(L, index)) return false;
  lua_pushvalue(L, index);
  lua_pushliteral(L, "kind");
  lua_rawget(L, -2);
  bool divergence =
      lua_type(L, -1) == LUA_TSTRING && std::strcmp(lua_tostring(L, -1), "divergence") == 0;
  lua_pop(L, 2);
  return divergence;
}

int finish_pcall(lua_State* L, int status, lua_KContext extra) {
  if (status != LUA_OK && status != LUA_YIELD) {
    luaL_checkstack(L, 8, "pcall");
    if (passes_through(L, -1, lua_toboolean(L, lua_upvalueindex(1)))) return lua_error(L);
    lua_pushboolean(L, 0);
    lua_insert(L, -2);
    return 2;
  }
  return lua_gettop(L) - static_cast<int>(extra);
}

int own_pcall(lua_State* L) {
  luaL_checkany(L, 1);
  lua_pushboolean(L, 1);
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, finish_pcall);
  return finish_pcall(L, status, 0);
}

int own_xpcall(lua_State* L) {
  int count = lua_gettop(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_pushboolean(L, 1);
  lua_pushvalue(L, 1);
  lua_rotate(L, 3, 2);
  int status = lua_pcallk(L, count - 2, LUA_MULTRET, 2, 2, finish_pcall);
  return finish_pcall(L, status, 2);
}

// --- coroutines
// -----------------------------------------------------------------------------------

// The body of every coroutine runs under a protected call inside it, so that its <close> handlers
// run there and may wait.
int coroutine_ended(lua_State* L, int status, lua_KContext) {
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L) - 1;
}

int run_body(lua_State* L) {
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, coroutine_ended);
  return coroutine_ended(L, status, 0);
}

lua_State* check_coroutine(lua_State* L, int index) {
  lua_State* thread = lua_tothread(L, index);
  if (!thread) raise_failure(L, "invalid", "expected a coroutine, got %s", luaL_typename(L, index));
  return thread;
}

enum class Step { values, waits, failed };

// Runs `thread` until it yields, ends or fails. `count` results, or the error, are then on `L`.
Step step(lua_State* L, lua_State* thread, int arguments, int* count) {
  Host& host = Host::of(L);
  lua_State* outer = host.running.load(std::memory_order_relaxed);
  host.running.store(thread, std::memory_order_relaxed);
  int status = lua_resume(thread, L, arguments, count);
  host.running.store(outer, std::memory_order_relaxed);
  if (status != LUA_OK && status != LUA_YIELD) {
    lua_xmove(thread, L, 1);
    return Step::failed;
  }
  if (status == LUA_YIELD && *count == 1 && is_wait_mark(thread, -1)) {
    lua_pop(thread, 1);
    return Step::waits;
  }
  if (!lua_checkstack(L, *count + 8)) {
    lua_pop(thread, *count);
    lua_pushliteral(L, "too many results to resume");
    return Step::failed;
  }
  lua_xmove(thread, L, *count);
  return Step::values;
}

// What is wrong with resuming `thread`, or null.
const char* cannot_resume(lua_State* L, lua_State* thread) {
  if (Host::of(L).relayed.contains(thread))
    return "cannot resume a coroutine that waits for something";
  if (thread == L) return "cannot resume a running coroutine";
  int status = lua_status(thread);
  if (status == LUA_YIELD) return nullptr;
  if (status != LUA_OK) return "cannot resume dead coroutine";
  lua_Debug frame;
  if (lua_getstack(thread, 0, &frame)) return "cannot resume non-suspended coroutine";
  return lua_gettop(thread) == 0 ? "cannot resume dead coroutine" : nullptr;
}

int resume_ended(lua_State* L, lua_State* thread, Step how, int count, bool wraps);

// The wait is over: the coroutine that began it goes on. Its thread is value 1, or upvalue 1.
int relay(lua_State* L, int, lua_KContext wraps) {
  lua_State* thread = lua_tothread(L, wraps ? lua_upvalueindex(1) : 1);
  Host::of(L).relayed.erase(thread);
  int count = 0;
  Step how = step(L, thread, 0, &count);
  return resume_ended(L, thread, how, count, wraps != 0);
}

int resume_ended(lua_State* L, lua_State* thread, Step how, int count, bool wraps) {
  if (how == Step::values) {
    if (wraps) return count;
    lua_pushboolean(L, 1);
    lua_insert(L, -(count + 1));
    return count + 1;
  }
  if (how == Step::waits) {
    Host& host = Host::of(L);
    bool good = guarded_body(host, [&] { return host.relayed.insert(thread), true; });
    if (!good) return raise_scratch(L);
    return yield_wait(L, relay, wraps ? 1 : 0);
  }
  luaL_checkstack(L, 8, "an error");
  if (wraps) {
    if (lua_type(L, -1) == LUA_TSTRING && !must_pass(L, -1)) {
      luaL_where(L, 1);
      lua_insert(L, -2);
      lua_concat(L, 2);
    }
    return lua_error(L);
  }
  if (passes_through(L, -1, true)) return lua_error(L);
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

int coroutine_resume(lua_State* L) {
  lua_State* thread = check_coroutine(L, 1);
  const char* problem = cannot_resume(L, thread);
  int arguments = lua_gettop(L) - 1;
  if (!problem && !lua_checkstack(thread, arguments + 8)) problem = "too many arguments to resume";
  if (problem) {
    lua_pushboolean(L, 0);
    lua_pushstring(L, problem);
    return 2;
  }
  lua_xmove(L, thread, arguments);
  if (lua_status(thread) == LUA_OK) arguments = lua_gettop(thread) - 1;
  int count = 0;
  Step how = step(L, thread, arguments, &count);
  return resume_ended(L, thread, how, count, false);
}

int wrapped(lua_State* L) {
  lua_State* thread = lua_tothread(L, lua_upvalueindex(1));
  const char* problem = cannot_resume(L, thread);
  int arguments = lua_gettop(L);
  if (!problem && !lua_checkstack(thread, arguments + 8)) problem = "too many arguments to resume";
  if (problem) return luaL_error(L, "%s", problem);
  lua_xmove(L, thread, arguments);
  if (lua_status(thread) == LUA_OK) arguments = lua_gettop(thread) - 1;
  int count = 0;
  Step how = step(L, thread, arguments, &count);
  return resume_ended(L, thread, how, count, true);
}

int coroutine_create(lua_State* L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_State* thread = lua_newthread(L);
  if (!lua_checkstack(thread, 8)) return luaL_error(L, "not enough memory");
  lua_pushcfunction(thread, run_body);
  lua_pushvalue(L, 1);
  lua_xmove(L, thread, 1);
  return 1;
}

int coroutine_wrap(lua_State* L) {
  coroutine_create(L);
  lua_pushcclosure(L, wrapped, 1);
  return 1;
}

int coroutine_yield(lua_State* L) {
  Host& host = Host::of(L);
  if (!host.current() || host.current()->thread == L) {
    return luaL_error(L, "attempt to yield from outside a coroutine");
  }
  return lua_yield(L, lua_gettop(L));
}

const char* status_of(lua_State* L, lua_State* thread) {
  if (thread == L) return "running";
  if (Host::of(L).relayed.contains(thread)) return "normal";
  switch (lua_status(thread)) {
    case LUA_YIELD:
      return "suspended";
    case LUA_OK: {
      lua_Debug frame;
      if (lua_getstack(thread, 0, &frame)) return "normal";
      return lua_gettop(thread) == 0 ? "dead" : "suspended";
    }
    default:
      return "dead";
  }
}

int coroutine_status(lua_State* L) {
  lua_pushstring(L, status_of(L, check_coroutine(L, 1)));
  return 1;
}

int coroutine_close(lua_State* L) {
  lua_State* thread = check_coroutine(L, 1);
  const char* status = status_of(L, thread);
  if (*status != 's' && *status != 'd') return luaL_error(L, "cannot close a %s coroutine", status);
  Host& host = Host::of(L);
  ++host.closing;
  int result = lua_resetthread(thread);
  --host.closing;
  lua_pushboolean(L, result == LUA_OK);
  if (result == LUA_OK) return 1;
  lua_xmove(thread, L, 1);
  return 2;
}

int coroutine_running(lua_State* L) {
  Task* task = Host::of(L).current();
  bool outermost = lua_pushthread(L) || (task && task->thread == L);
  lua_pushboolean(L, outermost);
  return 2;
}

int coroutine_is_yieldable(lua_State* L) {
  Task* task = Host::of(L).current();
  lua_pushboolean(L, task && task->thread != L && lua_isyieldable(L));
  return 1;
}

void push_protected(lua_State* L, lua_CFunction function, bool sandboxed) {
  lua_pushboolean(L, sandboxed);
  lua_pushcclosure(L, function, 1);
}

// Where prelude.lua finds the stricter forms for user code.
void set_protected(lua_State* L, const char* name, lua_CFunction function) {
  push_protected(L, function, false);
  lua_setglobal(L, name);
  push_protected(L, function, true);
  lua_pushfstring(L, "sandbox_%s", name);
  lua_insert(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

}  // namespace

void install_base(lua_State* L) {
  set_protected(L, "pcall", own_pcall);
  set_protected(L, "xpcall", own_xpcall);
  constexpr luaL_Reg kCoroutine[] = {{"create", coroutine_create},
                                     {"resume", coroutine_resume},
                                     {"wrap", coroutine_wrap},
                                     {"yield", coroutine_yield},
                                     {"status", coroutine_status},
                                     {"close", coroutine_close},
                                     {"running", coroutine_running},
                                     {"isyieldable", coroutine_is_yieldable},
                                     {nullptr, nullptr}};
  luaL_newlib(L, kCoroutine);
  lua_setglobal(L, "coroutine");
}

}  // namespace choline
