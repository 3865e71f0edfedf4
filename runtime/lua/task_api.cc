// native.task: what Lua can do with tasks.
#include <algorithm>
#include <cstring>
#include <memory>

#include "lua/border.h"
#include "lua/failure.h"
#include "lua/value.h"

namespace choline {

namespace {

// --- spawn --------------------------------------------------------------------------------------

bool name_is_good(std::string_view name) {
  if (name.empty() || name.size() > 200) return false;
  for (char letter : name) {
    if (static_cast<unsigned char>(letter) < 0x20 || letter == '/' || letter == '.') return false;
  }
  return true;
}

bool option_flag(lua_State* L, int options, const char* key) {
  if (!lua_istable(L, options)) return false;
  lua_getfield(L, options, key);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

// Pushes the fields of options.args; gives their number.
int push_option_arguments(lua_State* L, int options) {
  if (!lua_istable(L, options)) return 0;
  if (lua_getfield(L, options, "args") != LUA_TTABLE) {
    lua_pop(L, 1);
    return 0;
  }
  int list = lua_gettop(L);
  lua_getfield(L, list, "n");
  lua_Integer count =
      lua_isinteger(L, -1) ? lua_tointeger(L, -1) : static_cast<lua_Integer>(lua_rawlen(L, list));
  lua_pop(L, 1);
  if (count < 0 || count > 200) raise_failure(L, "invalid", "native.task.spawn: too many args");
  luaL_checkstack(L, static_cast<int>(count) + 8, "arguments of a task");
  for (lua_Integer place = 1; place <= count; ++place) lua_rawgeti(L, list, place);
  lua_remove(L, list);
  return static_cast<int>(count);
}

bool take_name(Host& host, Task* parent, std::string name, bool outside) {
  if (!parent->used) parent->used = std::make_unique<std::set<std::string>>();
  auto [place, fresh] = parent->used->insert(name);
  if (fresh) return true;
  if (outside) {  // its name is no part of a journal: free again when its bearer has ended
    bool alive = false;
    for (Task* child = parent->first_child; child; child = child->next) {
      alive = alive || child->name() == name;
    }
    if (!alive) return true;
  }
  set_scratch(host, ErrorKind::conflict,
              "task " + parent->path + " has had a child named '" + name + "' already");
  return false;
}

int spawn(lua_State* L) {
  size_t size = 0;
  const char* name = luaL_checklstring(L, 1, &size);
  if (!lua_isfunction(L, 2)) {
    return raise_failure(L, "invalid", "native.task.spawn: argument 2: expected a function, got %s",
                         luaL_typename(L, 2));
  }
  if (!name_is_good(std::string_view(name, size))) {
    return raise_failure(L, "invalid", "native.task.spawn: '%s' cannot name a task", name);
  }
  lua_settop(L, 3);
  Host& host = Host::of(L);
  Task* parent = host.current();
  if (!parent) return raise_failure(L, "invalid", "no task is running");
  bool outside = parent->outside || option_flag(L, 3, "outside");
  lua_pushvalue(L, 2);
  int count = push_option_arguments(L, 3);
  Task* task = push_new_task(L, count);
  bool good = guarded_body(host, [&] {
    if (!take_name(host, parent, std::string(name, size), outside)) return false;
    task->outside = outside;
    task->name_at = parent->path.size() + 1;
    task->path = parent->path + "." + std::string(name, size);
    host.adopt(task, parent);
    return true;
  });
  if (!good) {
    release_anchor(L, task);
    return raise_scratch(L);
  }
  return 1;
}

// --- join, try, any -----------------------------------------------------------------------------

int push_results(lua_State* L, Task* task) {
  lua_State* thread = task->thread;
  luaL_checkstack(L, task->results + 4, "results of a task");
  if (!lua_checkstack(thread, task->results + 1))
    return raise_failure(L, "invalid", "too many results");
  for (int place = 0; place < task->results; ++place) {
    lua_pushvalue(thread, task->first_result + place);
  }
  lua_xmove(thread, L, task->results);
  return task->results;
}

bool is_above(const Task* task, const Task* self) {
  for (const Task* up = self; up; up = up->parent) {
    if (up == task) return true;
  }
  return false;
}

int join_ended(lua_State* L, int, lua_KContext) {
  finish_wait(L);
  Task* task = check_task(L, 1);
  task->observed = true;
  int count = push_results(L, task);
  return task->failed ? lua_error(L) : count;
}

int try_ended(lua_State* L, int, lua_KContext) {
  finish_wait(L);
  Task* task = check_task(L, 1);
  task->observed = true;
  lua_pushboolean(L, !task->failed);
  return push_results(L, task) + 1;
}

int wait_for_end(lua_State* L, lua_KFunction then) {
  Task* task = check_task(L, 1);
  lua_settop(L, 1);
  check_may_wait(L);
  Host& host = Host::of(L);
  if (is_above(task, host.current())) {
    return raise_failure(L, "invalid",
                         "task %s cannot wait for its own end or that of a task above",
                         host.current()->path.c_str());
  }
  bool good = guarded_body(host, [&] {
    WaitId wait = host.begin_wait();
    if (task->state == Task::State::ended) {
      host.wake(wait);
    } else {
      task->watchers.push_back(wait);
      task->observed = true;  // somebody is there to hear of its failure
    }
    return true;
  });
  return good ? yield_wait(L, then) : raise_scratch(L);
}

int join(lua_State* L) {
  return wait_for_end(L, join_ended);
}
int try_join(lua_State* L) {
  return wait_for_end(L, try_ended);
}

Task* listed_task(lua_State* L, lua_Integer place) {
  lua_rawgeti(L, 1, place);
  Task* task = check_task(L, -1);
  lua_pop(L, 1);
  return task;
}

// `context` is the wait: it is taken off the tasks that have not ended, which may be asked often.
int any_ended(lua_State* L, int, lua_KContext context) {
  lua_Integer ended = 0;
  lua_Integer count = static_cast<lua_Integer>(lua_rawlen(L, 1));
  for (lua_Integer place = 1; place <= count; ++place) {
    Task* task = listed_task(L, place);
    if (task->state == Task::State::ended) {
      if (!ended) ended = place;
    } else {
      std::erase(task->watchers, static_cast<WaitId>(context));
    }
  }
  finish_wait(L);
  lua_pushinteger(L, ended);
  return 1;
}

int any(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_Integer count = static_cast<lua_Integer>(lua_rawlen(L, 1));
  if (count == 0) return raise_failure(L, "invalid", "native.task.any: no tasks to wait for");
  Host& host = Host::of(L);
  check_may_wait(L);
  for (lua_Integer place = 1; place <= count; ++place) {
    if (is_above(listed_task(L, place), host.current())) {
      return raise_failure(L, "invalid", "a task cannot wait for its own end");
    }
  }
  WaitId wait = 0;
  bool good = guarded_body(host, [&] {
    wait = host.begin_wait();
    return true;
  });
  if (!good) return raise_scratch(L);
  bool woken = false;
  for (lua_Integer place = 1; place <= count; ++place) {
    Task* task = listed_task(L, place);
    if (task->state == Task::State::ended) {
      if (!woken)
        guarded_body(host, [&] {
          host.wake(wait);
          return true;
        });
      woken = true;
    } else if (!guarded_body(host, [&] {
                 task->watchers.push_back(wait);
                 return true;
               })) {
      if (!woken) host.forget_wait(wait);
      return raise_scratch(L);
    }
  }
  return yield_wait(L, any_ended, static_cast<lua_KContext>(wait));
}

// --- cancel, shield, forbid_waiting, current
// ------------------------------------------------------

int cancel(lua_State* L) {
  Task* task = check_task(L, 1);
  size_t size = 0;
  const char* why = luaL_optlstring(L, 2, "", &size);
  Host& host = Host::of(L);
  bool good = guarded_body(host, [&] {
    host.cancel(task, std::string(why, size));
    return true;
  });
  return good ? 0 : raise_scratch(L);
}

int shield_ended(lua_State* L, int status, lua_KContext) {
  Host& host = Host::of(L);
  Task* task = host.current();
  host.loop().cancel(task->shields.back().timer);
  task->shields.pop_back();
  if (status != LUA_OK && status != LUA_YIELD) return lua_error(L);
  return lua_gettop(L) - 1;
}

// In slices, of which a machine that sleeps uses up one at most.
void arm_shield(Host& host, Task* task, Shield& shield, double seconds) {
  constexpr double kSlice = 30;
  double slice = std::min(seconds, kSlice);
  Host* self = &host;
  auto id = std::make_shared<TimerId>(0);  // shared with the callback, which must know its own id
  *id = host.loop().timer(slice, [self, task, id, left = seconds - slice] {
    for (Shield& each : task->shields) {
      if (each.timer == *id && left > 0) return arm_shield(*self, task, each, left);
    }
    self->break_shield(task, *id);
  });
  shield.timer = *id;
}

int shield(lua_State* L) {
  lua_Number seconds = luaL_checknumber(L, 1);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  Host& host = Host::of(L);
  Task* task = host.current();
  if (!task) return raise_failure(L, "invalid", "no task is running");
  bool good = guarded_body(host, [&] {
    arm_shield(host, task, task->shields.emplace_back(), seconds);
    return true;
  });
  if (!good) return raise_scratch(L);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 0, 0, shield_ended);
  return shield_ended(L, status, 0);
}

int forbid_waiting(lua_State* L) {
  size_t size = 0;
  const char* why = luaL_checklstring(L, 1, &size);
  luaL_checkany(L, 2);
  Host& host = Host::of(L);
  bool good = guarded_body(host, [&] {
    host.no_waiting.emplace_back(why, size);
    return true;
  });
  if (!good) return raise_scratch(L);
  int status = lua_pcall(L, lua_gettop(L) - 2, LUA_MULTRET, 0);
  host.no_waiting.pop_back();
  return status == LUA_OK ? lua_gettop(L) - 1 : lua_error(L);
}

int current(lua_State* L) {
  Task* task = Host::of(L).current();
  if (!task) return raise_failure(L, "invalid", "no task is running");
  lua_pushlstring(L, task->path.data(), task->path.size());
  lua_pushboolean(L, task->outside);
  lua_pushboolean(L, task->cancelled);
  return 3;
}

}  // namespace

void install_tasks(lua_State* L, int native) {
  constexpr luaL_Reg kFunctions[] = {{"spawn", spawn},
                                     {"join", join},
                                     {"try", try_join},
                                     {"any", any},
                                     {"cancel", cancel},
                                     {"shield", shield},
                                     {"forbid_waiting", forbid_waiting},
                                     {"current", current},
                                     {nullptr, nullptr}};
  luaL_newlib(L, kFunctions);
  lua_setfield(L, native, "task");
}

}  // namespace choline
