#include "lua/border.h"

#include "base/log.h"
#include "lua/failure.h"
#include "lua/value.h"

namespace choline {

namespace {

const char kWaitMark = 0;
constexpr int kCancelSlot = 2;  // user value of a task's userdata: its cancellation's failure

}  // namespace

void push_wait_mark(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kWaitMark));
}

bool is_wait_mark(lua_State* L, int index) {
  return lua_islightuserdata(L, index) && lua_touserdata(L, index) == &kWaitMark;
}

void check_may_wait(lua_State* L) {
  Host& host = Host::of(L);
  Task* task = host.current();
  if (!task) raise_failure(L, "invalid", "cannot wait here: no task is running");
  if (!host.no_waiting.empty()) raise_failure(L, "invalid", "%s", host.no_waiting.back().c_str());
  if (host.closing > 0 || !lua_isyieldable(L)) {
    raise_failure(L, "invalid",
                  "cannot wait here: inside a callback of gsub, a coroutine.close or the like");
  }
  if (task->must_stop()) raise_cancellation(L, task);
}

int yield_wait(lua_State* L, lua_KFunction then, lua_KContext context) {
  push_wait_mark(L);
  return lua_yieldk(L, 1, context, then);
}

void finish_wait(lua_State* L) {
  Task* task = Host::of(L).current();
  if (!task->interrupted) return;
  task->interrupted = false;
  raise_cancellation(L, task);
}

int raise_cancellation(lua_State* L, Task* task) {
  luaL_checkstack(L, 8, "a cancellation");
  push_task(L, task);
  if (lua_getiuservalue(L, -1, kCancelSlot) == LUA_TTABLE) return lua_error(L);
  lua_pop(L, 1);
  lua_createtable(L, 0, 4);
  lua_pushliteral(L, "cancelled");
  lua_setfield(L, -2, "kind");
  if (task->why.empty()) {
    lua_pushliteral(L, "cancelled");
  } else {
    lua_pushfstring(L, "cancelled: %s", task->why.c_str());
  }
  lua_setfield(L, -2, "message");
  lua_createtable(L, 0, 0);
  lua_setfield(L, -2, "fields");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  lua_setmetatable(L, -2);
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, -3, kCancelSlot);
  return lua_error(L);
}

bool must_pass(lua_State* L, int index) {
  Task* task = Host::of(L).current();
  if (!task) return false;
  if (task->runaway) return true;
  if (!task->must_stop()) return false;
  index = lua_absindex(L, index);
  push_task(L, task);
  lua_getiuservalue(L, -1, kCancelSlot);
  bool same = lua_istable(L, -1) && lua_rawequal(L, -1, index);
  lua_pop(L, 2);
  return same;
}

void set_scratch(Host& host, ErrorKind kind, std::string text) noexcept {
  host.scratch.reset();
  host.scratch.emplace(Error(kind, std::move(text)));
}

int raise_scratch(lua_State* L) {
  push_failure(L, Host::of(L).scratch->error());
  return lua_error(L);
}

int keep_traceback(lua_State* L) {
  if (lua_type(L, 1) != LUA_TSTRING) return 1;
  luaL_traceback(L, L, nullptr, 1);
  Host& host = Host::of(L);
  const char* message = lua_tostring(L, 1);
  const char* trace = lua_tostring(L, -1);
  guarded_body(host, [&] {
    // Passed on by join or a coroutine, the error has its first trace already.
    if (host.trace_message != message) {
      host.trace_message = message;
      host.trace = trace;
    }
    return true;
  });
  lua_settop(L, 1);
  return 1;
}

namespace {

enum class Begun { failed, answered, waits };

Result<Json> read_arguments(lua_State* L, const Binding& binding) {
  Json args = Json::array();
  int count = lua_gettop(L);
  for (int index = 1; index <= count; ++index) {
    Result<Json> value = to_value(L, index);
    if (!value) {
      return Error(ErrorKind::invalid, "native." + binding.name + ": argument " +
                                           std::to_string(index) + ": " + value.error().message +
                                           " cannot be passed");
    }
    args.push_back(std::move(*value));
  }
  return args;
}

// C++ part of every native call. Only such Lua API is used as never raises.
Begun begin_call(lua_State* L, Host& host, const Binding& binding) {
  Begun begun = Begun::failed;
  guarded_body(host, [&] {
    host.scratch.reset();
    Result<Json> args = read_arguments(L, binding);
    if (!args) {
      host.scratch.emplace(args.error());
      return false;
    }
    host.in_native.store(true, std::memory_order_relaxed);
    struct Leave {
      explicit Leave(Host& h) : host(h) {}
      ~Leave() { host.in_native.store(false, std::memory_order_relaxed); }
      Host& host;
    } leave(host);
    if (binding.wait) {
      host.begin_work(binding.wait(std::move(*args)));
      begun = Begun::waits;
    } else {
      host.scratch.emplace(binding.call(*args));
      begun = host.scratch->ok() ? Begun::answered : Begun::failed;
    }
    return true;
  });
  return begun;
}

Nulls nulls_of(const Binding& binding) {
  return binding.keep_nulls ? Nulls::kept : Nulls::absent;
}

int finish_call(lua_State* L, int, lua_KContext context) {
  finish_wait(L);
  // NOLINTNEXTLINE(performance-no-int-to-ptr): Lua carries a context as an integer
  const Binding& binding = *reinterpret_cast<const Binding*>(context);
  Task* task = Host::of(L).current();
  if (!task->result)
    return raise_failure(L, "invalid", "native.%s gave no result", binding.name.c_str());
  if (!task->result->ok()) {
    push_failure(L, task->result->error());
    task->result.reset();
    return lua_error(L);
  }
  push_value(L, task->result->value(), nulls_of(binding));
  task->result.reset();
  return 1;
}

int call_binding(lua_State* L) {
  Host& host = Host::of(L);
  const Binding& binding = *static_cast<const Binding*>(lua_touserdata(L, lua_upvalueindex(1)));
  if (binding.wait) check_may_wait(L);
  luaL_checkstack(L, 6, "a native call");
  switch (begin_call(L, host, binding)) {
    case Begun::failed:
      return raise_scratch(L);
    case Begun::waits:
      return yield_wait(L, finish_call, reinterpret_cast<lua_KContext>(&binding));
    case Begun::answered:
      break;
  }
  push_value(L, host.scratch->value(), nulls_of(binding));
  return 1;
}

}  // namespace

void push_binding(lua_State* L, Binding* binding) {
  lua_pushlightuserdata(L, binding);
  lua_pushcclosure(L, call_binding, 1);
}

}  // namespace choline
