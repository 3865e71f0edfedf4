// The life of a task inside its coroutine: the body under a protected call, so that <close>
// handlers run in the living coroutine and may wait; then the end of its children; then its
// results.
#include <new>

#include "base/log.h"
#include "lua/border.h"
#include "lua/failure.h"

namespace choline {

namespace {

const char kTaskMeta = 0;

int end_children(lua_State* L);

int children_ended(lua_State* L, int, lua_KContext) {
  return end_children(L);
}

// The first failure among children that nobody asked about takes the place of the results.
int take_unobserved(lua_State* L, Task* task) {
  for (Task* child : task->unobserved) {
    if (!task->failed && !child->observed && lua_checkstack(child->thread, 1)) {
      task->failed = true;
      lua_settop(L, 1);
      lua_pushvalue(child->thread, child->first_result);
      lua_xmove(child->thread, L, 1);
    }
    release_anchor(L, child);
  }
  task->unobserved.clear();
  return lua_gettop(L) - 1;
}

// Stack: the message handler, then results or what was raised.
int end_children(lua_State* L) {
  Host& host = Host::of(L);
  Task* task = host.current();
  if (!task->first_child) return take_unobserved(L, task);
  luaL_checkstack(L, 8, "the end of a task");
  bool good = guarded_body(host, [&] {
    for (Task* child = task->first_child; child; child = child->next) {
      host.cancel(child, "its parent ended");
    }
    task->children_wait = host.begin_wait(true);
    return true;
  });
  if (!good) return raise_scratch(L);
  return yield_wait(L, children_ended);
}

int body_ended(lua_State* L, int status, lua_KContext) {
  Task* task = Host::of(L).current();
  task->failed = status != LUA_OK && status != LUA_YIELD;
  task->shields.clear();
  return end_children(L);
}

int refuse_to_start(lua_State* L) {
  return raise_cancellation(L, Host::of(L).current());
}

// Stack: the body and its arguments.
int run_task(lua_State* L) {
  if (Host::of(L).current()->must_stop()) {  // cancelled before it could begin
    lua_settop(L, 0);
    lua_pushcfunction(L, refuse_to_start);
  }
  lua_pushcfunction(L, keep_traceback);
  lua_insert(L, 1);
  int status = lua_pcallk(L, lua_gettop(L) - 2, LUA_MULTRET, 1, 0, body_ended);
  return body_ended(L, status, 0);
}

int collect_task(lua_State* L) {
  static_cast<Task*>(lua_touserdata(L, 1))->~Task();
  return 0;
}

int task_to_text(lua_State* L) {
  Task* task = check_task(L, 1);
  lua_pushliteral(L, "task ");
  lua_pushlstring(L, task->path.data(), task->path.size());
  lua_concat(L, 2);
  return 1;
}

int task_field(lua_State* L) {
  Task* task = check_task(L, 1);
  std::string_view key;
  if (lua_type(L, 2) == LUA_TSTRING) key = lua_tostring(L, 2);
  if (key == "name") {
    lua_pushlstring(L, task->name().data(), task->name().size());
  } else if (key == "path") {
    lua_pushlstring(L, task->path.data(), task->path.size());
  } else {
    return raise_failure(L, "invalid", "a task has no field '%s'; it has name and path",
                         luaL_tolstring(L, 2, nullptr));
  }
  return 1;
}

void push_task_meta(lua_State* L) {
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kTaskMeta) == LUA_TTABLE) return;
  lua_pop(L, 1);
  constexpr luaL_Reg kMethods[] = {{"__gc", collect_task},
                                   {"__tostring", task_to_text},
                                   {"__index", task_field},
                                   {nullptr, nullptr}};
  lua_createtable(L, 0, 6);
  luaL_setfuncs(L, kMethods, 0);
  lua_pushliteral(L, "task");
  lua_setfield(L, -2, "__name");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kTaskMeta);
}

}  // namespace

Task* push_new_task(lua_State* L, int arguments) {
  luaL_checkstack(L, arguments + 8, "a new task");
  int function = lua_gettop(L) - arguments;
  push_task_meta(L);
  void* block = lua_newuserdatauv(L, sizeof(Task), 2);
  Task* task = new (block) Task;  // allocates nothing, so nothing is lost if the next line raises
  lua_pushvalue(L, -2);
  lua_setmetatable(L, -2);
  lua_remove(L, -2);
  lua_State* thread = lua_newthread(L);
  task->thread = thread;
  lua_setiuservalue(L, -2, 1);
  if (!lua_checkstack(thread, arguments + 8)) raise_failure(L, "invalid", "too many arguments");
  lua_pushcfunction(thread, run_task);
  for (int place = 0; place <= arguments; ++place) lua_pushvalue(L, function + place);
  lua_xmove(L, thread, arguments + 1);
  lua_pushvalue(L, -1);
  task->anchor = luaL_ref(L, LUA_REGISTRYINDEX);
  lua_replace(L, function);
  lua_settop(L, function);
  return task;
}

void release_anchor(lua_State* L, Task* task) noexcept {
  luaL_unref(L, LUA_REGISTRYINDEX, task->anchor);
  task->anchor = LUA_NOREF;
}

Task* check_task(lua_State* L, int index) {
  void* block = lua_touserdata(L, index);
  if (block && lua_type(L, index) == LUA_TUSERDATA && lua_getmetatable(L, index)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &kTaskMeta);
    bool same = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (same) return static_cast<Task*>(block);
  }
  raise_failure(L, "invalid", "argument %d: expected a task, got %s", index,
                luaL_typename(L, index));
  return nullptr;
}

void push_task(lua_State* L, Task* task) {
  lua_rawgeti(L, LUA_REGISTRYINDEX, task->anchor);
}

}  // namespace choline
