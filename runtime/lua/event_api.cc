// native.task.event: a one-shot event between tasks, and native.random.
#include <cmath>
#include <new>

#include "base/random.h"
#include "lua/border.h"
#include "lua/failure.h"

namespace choline {

namespace {

const char kEventMeta = 0;

struct LuaEvent {  // its value is the first user value of its userdata
  bool set = false;
  std::vector<WaitId> waits;
};

LuaEvent* check_event(lua_State* L) {
  if (lua_type(L, 1) == LUA_TUSERDATA && lua_getmetatable(L, 1)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kEventMeta);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (same) return static_cast<LuaEvent*>(lua_touserdata(L, 1));
  }
  raise_failure(L, "invalid", "expected an event, got %s; call it as event:wait()",
                luaL_typename(L, 1));
  return nullptr;
}

int event_set(lua_State* L) {
  LuaEvent* event = check_event(L);
  if (event->set) return raise_failure(L, "conflict", "the event is set already");
  lua_settop(L, 2);
  lua_setiuservalue(L, 1, 1);
  event->set = true;
  Host& host = Host::of(L);
  bool good = guarded_body(host, [&] {
    for (WaitId wait : event->waits) host.wake(wait);
    event->waits.clear();
    return true;
  });
  return good ? 0 : raise_scratch(L);
}

int event_came(lua_State* L, int, lua_KContext context) {
  LuaEvent* event = check_event(L);
  if (!event->set) std::erase(event->waits, static_cast<WaitId>(context));
  finish_wait(L);
  lua_getiuservalue(L, 1, 1);
  return 1;
}

int event_wait(lua_State* L) {
  LuaEvent* event = check_event(L);
  lua_settop(L, 1);
  check_may_wait(L);
  Host& host = Host::of(L);
  WaitId wait = 0;
  bool good = guarded_body(host, [&] {
    event->waits.reserve(event->waits.size() + 1);
    wait = host.begin_wait();
    if (event->set) {
      host.wake(wait);
    } else {
      event->waits.push_back(wait);
    }
    return true;
  });
  return good ? yield_wait(L, event_came, static_cast<lua_KContext>(wait)) : raise_scratch(L);
}

int event_is_set(lua_State* L) {
  lua_pushboolean(L, check_event(L)->set);
  return 1;
}

int collect_event(lua_State* L) {
  static_cast<LuaEvent*>(lua_touserdata(L, 1))->~LuaEvent();
  return 0;
}

int event_to_text(lua_State* L) {
  lua_pushstring(L, check_event(L)->set ? "event (set)" : "event (not set)");
  return 1;
}

void push_event_meta(lua_State* L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kEventMeta) == LUA_TTABLE) return;
  lua_pop(L, 1);
  constexpr luaL_Reg kMeta[] = {
      {"__gc", collect_event}, {"__tostring", event_to_text}, {nullptr, nullptr}};
  constexpr luaL_Reg kMethods[] = {
      {"set", event_set}, {"wait", event_wait}, {"is_set", event_is_set}, {nullptr, nullptr}};
  lua_createtable(L, 0, 6);
  luaL_setfuncs(L, kMeta, 0);
  luaL_newlib(L, kMethods);
  lua_setfield(L, -2, "__index");
  lua_pushliteral(L, "event");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kEventMeta);
}

int new_event(lua_State* L) {
  push_event_meta(L);
  void* block = lua_newuserdatauv(L, sizeof(LuaEvent), 1);
  new (block) LuaEvent;  // allocates nothing
  lua_insert(L, -2);
  lua_setmetatable(L, -2);
  return 1;
}

// --- random -------------------------------------------------------------------------------------

// The generator of the running task. May throw bad_alloc.
TaskRandom& task_random(Host& host) {
  Task* task = host.current();
  if (!task->random) {
    std::optional<uint64_t> seed;
    if (!task->outside && host.run_seed) seed = host.run_seed();
    task->random = std::make_unique<TaskRandom>(seed ? *seed : random_u64(), task->path);
  }
  return *task->random;
}

// Draws with `draw(generator)`; nothing but trivial values crosses the raise.
template <class Draw>
bool with_random(lua_State* L, Draw&& draw) {
  Host& host = Host::of(L);
  if (!host.current()) return raise_failure(L, "invalid", "no task is running");
  return guarded_body(host, [&] {
    draw(task_random(host));
    return true;
  });
}

int random_number(lua_State* L) {
  double number = 0;
  if (!with_random(L, [&](TaskRandom& random) { number = random.number(); }))
    return raise_scratch(L);
  lua_pushnumber(L, number);
  return 1;
}

int random_integer(lua_State* L) {
  lua_Integer low = luaL_checkinteger(L, 1);
  lua_Integer high = luaL_checkinteger(L, 2);
  if (low > high) return raise_failure(L, "invalid", "random: the interval is empty");
  uint64_t span = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
  uint64_t drawn = 0;
  if (!with_random(L, [&](TaskRandom& random) { drawn = random.up_to(span); }))
    return raise_scratch(L);
  uint64_t number = drawn + static_cast<uint64_t>(low);  // wraps, as it must where low is negative
  lua_pushinteger(L, static_cast<lua_Integer>(number));
  return 1;
}

int random_seed(lua_State* L) {
  lua_Integer seed = luaL_checkinteger(L, 1);
  Host& host = Host::of(L);
  if (!host.current()) return raise_failure(L, "invalid", "no task is running");
  bool good = guarded_body(host, [&] {
    host.current()->random = std::make_unique<TaskRandom>(static_cast<uint64_t>(seed), "");
    return true;
  });
  return good ? 0 : raise_scratch(L);
}

}  // namespace

void install_events(lua_State* L, int native) {
  lua_getfield(L, native, "task");
  lua_pushcfunction(L, new_event);
  lua_setfield(L, -2, "event");
  lua_pop(L, 1);
}

void install_random(lua_State* L, int native) {
  constexpr luaL_Reg kFunctions[] = {{"number", random_number},
                                     {"integer", random_integer},
                                     {"seed", random_seed},
                                     {nullptr, nullptr}};
  luaL_newlib(L, kFunctions);
  lua_setfield(L, native, "random");
}

}  // namespace choline
