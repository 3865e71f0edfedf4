// native.chunk, and the primitives that prelude.lua makes the sandbox of.
#include <cstring>

#include "lua/border.h"
#include "lua/failure.h"
#include "lua/value.h"

namespace choline {

// Generated from prelude.lua by runtime/embed.
extern const char kPrelude[];
extern const size_t kPreludeSize;

namespace {

// The line in "Cholfile.lua:12: unexpected symbol"; 0 when there is none.
lua_Integer line_of(const char* message, const char* name) {
  size_t length = std::strlen(name);
  if (std::strncmp(message, name, length) != 0 || message[length] != ':') return 0;
  lua_Integer line = 0;
  for (const char* digit = message + length + 1; *digit >= '0' && *digit <= '9'; ++digit) {
    line = line * 10 + (*digit - '0');
  }
  return line;
}

// The message without its first "name:line: ", which Lua may have shortened.
const char* text_after_place(const char* message) {
  for (const char* at = std::strchr(message, ':'); at; at = std::strchr(at + 1, ':')) {
    const char* digit = at + 1;
    while (*digit >= '0' && *digit <= '9') ++digit;
    if (digit > at + 1 && digit[0] == ':' && digit[1] == ' ') return at;
  }
  return nullptr;
}

// load(text, name, env): the function, or nil, message, line.
int load_chunk(lua_State* L) {
  size_t size = 0;
  const char* text = luaL_checklstring(L, 1, &size);
  const char* name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  const char* chunk_name = *name == '@' || *name == '=' ? name : lua_pushfstring(L, "@%s", name);
  if (luaL_loadbufferx(L, text, size, chunk_name, "t") != LUA_OK) {
    const char* message = lua_tostring(L, -1);
    // Lua shortens long names to "...": the true one goes in its place.
    const char* place = text_after_place(message);
    const char* full = place ? lua_pushfstring(L, "%s%s", chunk_name + 1, place) : message;
    lua_pushnil(L);
    lua_pushstring(L, full);
    lua_Integer line = line_of(full, chunk_name + 1);
    if (line == 0) return 2;
    lua_pushinteger(L, line);
    return 3;
  }
  lua_pushvalue(L, 3);
  if (!lua_setupvalue(L, -2, 1)) lua_pop(L, 1);
  return 1;
}

int chunk_where(lua_State* L) {
  lua_Integer level = luaL_optinteger(L, 1, 1);
  lua_Debug frame;
  for (int depth = 1; lua_getstack(L, depth, &frame); ++depth) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline <= 0 || is_stdlib(frame.source) || --level > 0) continue;
    lua_pushstring(L, frame.source + (frame.source[0] == '@' || frame.source[0] == '=' ? 1 : 0));
    lua_pushinteger(L, frame.currentline);
    return 2;
  }
  lua_pushliteral(L, "?");
  lua_pushinteger(L, 0);
  return 2;
}

int chunk_is_native(lua_State* L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_pushboolean(L, lua_iscfunction(L, 1));
  return 1;
}

// source("core.text"): the text of a stdlib module and its chunk name, or nil.
int module_source(lua_State* L) {
  const char* name = luaL_checkstring(L, 1);
  Host& host = Host::of(L);
  bool found = false;
  bool good = guarded_body(host, [&] {
    std::string path(name);
    for (char& letter : path) {
      if (letter == '.') letter = '/';
    }
    std::optional<std::string> text;
    if (host.find_source) text = host.find_source(path + ".lua");
    if (!text) return true;
    found = true;
    host.scratch.emplace(Json::array({"@stdlib/" + path + ".lua", std::move(*text)}));
    return true;
  });
  if (!good) return raise_scratch(L);
  if (!found) return 0;
  const Json& answer = host.scratch->value();
  for (const char* part : {"text", "name"}) {
    const std::string& value = answer[*part == 't' ? 1 : 0].get_ref<const std::string&>();
    lua_pushlstring(L, value.data(), value.size());
  }
  return 2;
}

// Without __tostring and __name: the type alone, never an address.
int plain_text(lua_State* L) {
  luaL_checkany(L, 1);
  if (luaL_getmetafield(L, 1, "__tostring") != LUA_TNIL || lua_type(L, 1) == LUA_TSTRING ||
      lua_type(L, 1) == LUA_TNUMBER || lua_type(L, 1) == LUA_TBOOLEAN || lua_isnoneornil(L, 1)) {
    luaL_tolstring(L, 1, nullptr);
    return 1;
  }
  if (luaL_getmetafield(L, 1, "__name") == LUA_TSTRING) return 1;
  lua_pushstring(L, luaL_typename(L, 1));
  return 1;
}

// The sandbox's getmetatable: nothing of strings and natives.
int open_metatable(lua_State* L) {
  luaL_checkany(L, 1);
  if (lua_type(L, 1) != LUA_TTABLE || !lua_getmetatable(L, 1)) return 0;
  if (luaL_getmetafield(L, 1, "__metatable") != LUA_TNIL) return 1;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  if (lua_rawequal(L, -1, -2)) return 0;
  lua_pop(L, 1);
  return 1;
}

// The prelude may not use getmetatable on a string itself, so that nothing else can either.
int set_string_index(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_pushliteral(L, "");
  lua_getmetatable(L, -1);
  lua_pushvalue(L, 1);
  lua_setfield(L, -2, "__index");
  lua_pushboolean(L, 0);
  lua_setfield(L, -2, "__metatable");
  return 0;
}

int json_array(lua_State* L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  mark_array(L, 1);
  return 1;
}

int is_failure_meta(lua_State* L) {
  luaL_checkany(L, 1);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  lua_pushboolean(L, lua_rawequal(L, 1, -1));
  return 1;
}

}  // namespace

void install_chunks(lua_State* L, int native) {
  constexpr luaL_Reg kFunctions[] = {{"load", load_chunk},
                                     {"where", chunk_where},
                                     {"is_native", chunk_is_native},
                                     {nullptr, nullptr}};
  luaL_newlib(L, kFunctions);
  lua_setfield(L, native, "chunk");
  lua_createtable(L, 0, 4);
  lua_pushcfunction(L, json_array);
  lua_setfield(L, -2, "array");
  lua_setfield(L, native, "json");
}

void run_prelude(lua_State* L, int native) {
  constexpr luaL_Reg kPrimitives[] = {{"source", module_source},
                                      {"plain_text", plain_text},
                                      {"open_metatable", open_metatable},
                                      {"set_string_index", set_string_index},
                                      {"is_failure_meta", is_failure_meta},
                                      {nullptr, nullptr}};
  if (luaL_loadbufferx(L, kPrelude, kPreludeSize, "@stdlib/prelude.lua", "t") != LUA_OK)
    lua_error(L);
  lua_pushvalue(L, native);
  luaL_newlib(L, kPrimitives);
  for (const char* name : {"pcall", "xpcall"}) {
    lua_pushfstring(L, "sandbox_%s", name);
    lua_rawget(L, LUA_REGISTRYINDEX);
    lua_setfield(L, -2, name);
  }
  lua_call(L, 2, 0);
}

std::string Host::place() const {
  if (!current_) return {};
  lua_Debug frame;
  for (int depth = 0; lua_getstack(current_->thread, depth, &frame); ++depth) {
    lua_getinfo(current_->thread, "Sl", &frame);
    if (frame.currentline <= 0 || frame.source[0] != '@' || is_stdlib(frame.source)) continue;
    return std::string(frame.source + 1) + ":" + std::to_string(frame.currentline);
  }
  return {};
}

}  // namespace choline
