// How a Host begins and ends. Whatever may raise here runs under one lua_pcall, because outside a
// protected call even "not enough memory" would abort the process.
#include <cstdio>
#include <cstdlib>
#include <new>

#include "lua/border.h"
#include "lua/failure.h"
#include "lua/host.h"
#include "lua/value.h"
#include "lua/watchdog.h"

namespace choline {

namespace {

const char kNativeTable = 0;  // key of the private native table in the registry

int panic(lua_State* L) {
  const char* text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown";
  std::fprintf(stderr, "choline: a Lua error outside any protected call: %s\n", text);
  return 0;  // Lua aborts
}

double number_from_environment(const char* name, double otherwise) {
  const char* text = std::getenv(name);
  if (!text || !*text) return otherwise;
  char* end = nullptr;
  double value = std::strtod(text, &end);
  return *end || value < 0 ? otherwise : value;
}

void open_library(lua_State* L, const char* name, lua_CFunction open) {
  luaL_requiref(L, name, open, 1);
  lua_pop(L, 1);
}

}  // namespace

HostOptions HostOptions::from_environment() {
  HostOptions options;
  double mib = number_from_environment("CHOLINE_LUA_MEMORY", 512);
  options.memory = static_cast<size_t>(mib * 1024 * 1024);
  options.runaway = number_from_environment("CHOLINE_LUA_LIMIT", options.runaway);
  options.stress = number_from_environment("CHOLINE_LUA_STRESS", 0) > 0;
  return options;
}

struct StartText {
  Host* host;
  const std::string* text;
  const std::string* chunk_name;
  const std::vector<std::string>* argv;
};

struct Boot {
  static int open(lua_State* L);
  static int add(lua_State* L);
  static int start(lua_State* L);
  static void push_texts(lua_State* L, const std::vector<std::string>& texts);
  // Calls `part` with `argument` under a lua_pcall; false: the error's text is in host.problem_.
  static bool protect(Host& host, lua_CFunction part, void* argument);
};

int Boot::open(lua_State* L) {
  open_library(L, LUA_GNAME, luaopen_base);
  open_library(L, LUA_STRLIBNAME, luaopen_string);
  open_library(L, LUA_TABLIBNAME, luaopen_table);
  open_library(L, LUA_MATHLIBNAME, luaopen_math);
  open_library(L, LUA_UTF8LIBNAME, luaopen_utf8);
  for (const char* name : {"dofile", "loadfile", "load", "print", "collectgarbage", "warn"}) {
    lua_pushnil(L);
    lua_setglobal(L, name);
  }
  lua_createtable(L, 0, 24);
  int native = lua_gettop(L);
  lua_createtable(L, 0, 4);
  lua_pushvalue(L, -1);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  lua_setfield(L, native, "failure_meta");
  push_null(L);
  lua_setfield(L, native, "null");
  lua_pushvalue(L, native);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &kNativeTable);
  install_base(L);
  install_tasks(L, native);
  install_events(L, native);
  install_chunks(L, native);
  install_random(L, native);
  run_prelude(L, native);
  return 0;
}

// Upvalue-free: the arguments come as light userdata, which needs no memory.
int Boot::add(lua_State* L) {
  Binding* binding = static_cast<Binding*>(lua_touserdata(L, 1));
  size_t dot = binding->name.find('.');
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kNativeTable);
  lua_pushlstring(L, binding->name.data(), dot);
  lua_pushvalue(L, -1);
  if (lua_rawget(L, -3) != LUA_TTABLE) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 8);
    lua_pushvalue(L, -2);
    lua_pushvalue(L, -2);
    lua_rawset(L, -5);
  }
  lua_pushlstring(L, binding->name.data() + dot + 1, binding->name.size() - dot - 1);
  push_binding(L, binding);
  lua_rawset(L, -3);
  return 0;
}

void Boot::push_texts(lua_State* L, const std::vector<std::string>& texts) {
  lua_createtable(L, static_cast<int>(texts.size()), 0);
  for (size_t place = 0; place < texts.size(); ++place) {
    lua_pushlstring(L, texts[place].data(), texts[place].size());
    lua_rawseti(L, -2, static_cast<lua_Integer>(place) + 1);
  }
}

int Boot::start(lua_State* L) {
  const StartText& start = *static_cast<const StartText*>(lua_touserdata(L, 1));
  Host& host = *start.host;
  if (luaL_loadbufferx(L, start.text->data(), start.text->size(), start.chunk_name->c_str(), "t") !=
      LUA_OK) {
    return lua_error(L);
  }
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kNativeTable);
  lua_pushlstring(L, host.version.data(), host.version.size());
  lua_setfield(L, -2, "version");
  push_texts(L, *start.argv);
  push_texts(L, host.modules);
  Task* task = push_new_task(L, 3);
  bool good = guarded_body(host, [&] {
    task->path = "main";
    host.adopt(task, nullptr);
    host.main_ = task;
    return true;
  });
  return good ? 0 : raise_scratch(L);
}

bool Boot::protect(Host& host, lua_CFunction part, void* argument) {
  lua_State* L = host.L_;
  int top = lua_gettop(L);
  lua_pushcfunction(L, part);
  lua_pushlightuserdata(L, argument);
  bool good = lua_pcall(L, 1, 0, 0) == LUA_OK;
  if (!good) host.problem_ = failure_text(L, -1);
  lua_settop(L, top);
  return good;
}

Host::Host(Loop& loop, HostOptions options) : loop_(loop), options_(options) {
  memory_.limit = options.memory;
  memory_.always_move = options.stress;
  memory_.fail_at = options.fail_allocation;
  L_ = lua_newstate(&LuaMemory::allocate, &memory_);
  if (!L_) {
    problem_ = "not enough memory for Lua";
    return;
  }
  lua_atpanic(L_, panic);
  *static_cast<Host**>(lua_getextraspace(L_)) = this;
  // Incremental with a small pause: 5.4.4 has a fault in the generational mode.
  if (options.stress) lua_gc(L_, LUA_GCINC, 1, 1000, 1);
  ready_ = Boot::protect(*this, &Boot::open, this);
  if (ready_) watchdog_ = std::make_unique<Watchdog>(*this, options.runaway);
}

Host::~Host() {
  watchdog_.reset();
  here_.reset();
  // Native work first: it may hold references to what the owner of this host destroys next.
  for (Task* task : tasks_) {
    task->operation = Started();
    for (Shield& shield : task->shields) loop_.cancel(shield.timer);
  }
  durable_.clear();
  outside_.clear();
  if (L_) lua_close(L_);
}

void Host::add(std::string_view module, Binding binding) {
  if (!ready_) return;
  binding.name = std::string(module) + "." + binding.name;
  bindings.push_back(std::move(binding));
  ready_ = Boot::protect(*this, &Boot::add, &bindings.back());
}

void Host::start_text(std::string_view text, std::string_view chunk_name,
                      const std::vector<std::string>& argv, std::function<void(Outcome)> ended) {
  ended_ = std::move(ended);
  std::string text_copy(text);
  std::string name_copy(chunk_name);
  StartText start{this, &text_copy, &name_copy, &argv};
  if (ready_ && Boot::protect(*this, &Boot::start, &start)) return;
  Outcome outcome;
  outcome.message = problem_;
  loop_.post([fn = std::move(ended_), outcome] {
    if (fn) fn(outcome);
  });
}

void Host::start(const std::vector<std::string>& argv, std::function<void(Outcome)> ended) {
  std::optional<std::string> text;
  if (find_source) text = find_source("main.lua");
  if (!text) problem_ = "the stdlib has no main.lua";
  start_text(text.value_or("error('the stdlib has no main.lua', 0)"), "@stdlib/main.lua", argv,
             std::move(ended));
}

}  // namespace choline
