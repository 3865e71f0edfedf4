// Failures as Lua sees them: tables {kind, message, fields, where} with native.failure_meta.
#pragma once

#include <lua.hpp>
#include <string>

#include "base/error.h"

namespace choline {

extern const char kFailureMeta;  // its address is the key of native.failure_meta in the registry

bool is_failure(lua_State* L, int index);
// Pushes the failure; may raise "not enough memory". `error` must survive a raise.
void push_failure(lua_State* L, const Error& error);
// Raises a failure with a text made like lua_pushfstring does (%s %d %f %I %%).
int raise_failure(lua_State* L, const char* kind, const char* format, ...);
// Pushes "Cholfile.lua:12" of the innermost caller that is not stdlib, or nil.
void push_where(lua_State* L);

// Never raises. Text of a raised value and its kind, "" when it is no failure.
std::string failure_kind(lua_State* L, int index);
std::string failure_text(lua_State* L, int index);

// Is `source` of a lua_Debug a file of the stdlib.
bool is_stdlib(const char* source);

}  // namespace choline
