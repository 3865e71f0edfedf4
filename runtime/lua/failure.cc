#include "lua/failure.h"

#include <cstdarg>
#include <cstring>

#include "lua/value.h"

namespace choline {

const char kFailureMeta = 0;

bool is_stdlib(const char* source) {
  return std::strncmp(source, "@stdlib/", 8) == 0;
}

bool is_failure(lua_State* L, int index) {
  if (lua_type(L, index) != LUA_TTABLE || !lua_getmetatable(L, index)) return false;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  bool same = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return same;
}

void push_where(lua_State* L) {
  lua_Debug frame;
  for (int level = 0; lua_getstack(L, level, &frame); ++level) {
    lua_getinfo(L, "Sl", &frame);
    if (frame.currentline > 0 && frame.source[0] == '@' && !is_stdlib(frame.source)) {
      lua_pushfstring(L, "%s:%d", frame.source + 1, frame.currentline);
      return;
    }
  }
  lua_pushnil(L);
}

namespace {

// The table {kind, message} is on top, its fields below: sets the rest.
void finish_failure(lua_State* L) {
  push_where(L);
  lua_setfield(L, -2, "where");
  lua_rawgetp(L, LUA_REGISTRYINDEX, &kFailureMeta);
  lua_setmetatable(L, -2);
}

}  // namespace

void push_failure(lua_State* L, const Error& error) {
  luaL_checkstack(L, 6, "a failure");
  lua_createtable(L, 0, 4);
  lua_pushlstring(L, to_text(error.kind).data(), to_text(error.kind).size());
  lua_setfield(L, -2, "kind");
  lua_pushlstring(L, error.message.data(), error.message.size());
  lua_setfield(L, -2, "message");
  if (error.fields.is_object()) {
    push_value(L, error.fields);
  } else {
    lua_createtable(L, 0, 0);
  }
  lua_setfield(L, -2, "fields");
  finish_failure(L);
}

int raise_failure(lua_State* L, const char* kind, const char* format, ...) {
  luaL_checkstack(L, 8, "a failure");
  lua_createtable(L, 0, 4);
  lua_pushstring(L, kind);
  lua_setfield(L, -2, "kind");
  va_list values;
  va_start(values, format);
  lua_pushvfstring(L, format, values);
  va_end(values);
  lua_setfield(L, -2, "message");
  lua_createtable(L, 0, 0);
  lua_setfield(L, -2, "fields");
  finish_failure(L);
  return lua_error(L);
}

namespace {

std::string raw_text_field(lua_State* L, int index, const char* key) {
  std::string out;
  index = lua_absindex(L, index);
  if (!lua_checkstack(L, 4)) return out;
  // Not lua_getfield: making the key a string may need memory.
  lua_pushnil(L);
  while (lua_next(L, index)) {
    if (lua_type(L, -2) == LUA_TSTRING && lua_type(L, -1) == LUA_TSTRING &&
        std::strcmp(lua_tostring(L, -2), key) == 0) {
      size_t size = 0;
      const char* bytes = lua_tolstring(L, -1, &size);
      out.assign(bytes, size);
    }
    lua_pop(L, 1);
  }
  return out;
}

}  // namespace

std::string failure_kind(lua_State* L, int index) {
  if (!is_failure(L, index)) return {};
  return raw_text_field(L, index, "kind");
}

std::string failure_text(lua_State* L, int index) {
  if (lua_type(L, index) == LUA_TSTRING) {
    size_t size = 0;
    const char* bytes = lua_tolstring(L, index, &size);
    return std::string(bytes, size);
  }
  if (lua_type(L, index) != LUA_TTABLE) {
    return std::string("a ") + luaL_typename(L, index) + " was raised";
  }
  std::string where = raw_text_field(L, index, "where");
  std::string message = raw_text_field(L, index, "message");
  return where.empty() ? message : where + ": " + message;
}

}  // namespace choline
