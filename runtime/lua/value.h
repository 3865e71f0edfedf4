// Values between Lua and JSON: integers and floats kept apart, keys sorted, lists told from
// objects.
#pragma once

#include <lua.hpp>
#include <optional>
#include <string>

#include "base/json.h"

namespace choline {

// JSON's null inside Lua tables: native.null.
void push_null(lua_State* L);
bool is_null(lua_State* L, int index);

enum class Nulls {
  absent,  // a null field is no field; in a list it is native.null, so that places stay
  kept,    // always native.null inside tables
};

// May raise "not enough memory"; `value` must be owned by something a raise does not skip.
void push_value(lua_State* L, const Json& value, Nulls nulls = Nulls::absent);

// Never raises. The text says what cannot be passed and where: "field 'a.b': a function".
Result<Json> to_value(lua_State* L, int index);

// The value on top becomes marked as a list, also when it is empty. May raise.
void mark_array(lua_State* L, int index);

}  // namespace choline
