#include "lua/value.h"

#include <vector>

namespace choline {

namespace {

constexpr int kDepthLimit = 200;
const char kNullMark = 0;
const char kArrayMeta = 0;  // its address is the key of the list mark in the registry

class Reader {
 public:
  explicit Reader(lua_State* L) : L_(L) {}

  bool read(int index, Json& out) {
    switch (lua_type(L_, index)) {
      case LUA_TNIL:
        out = nullptr;
        return true;
      case LUA_TBOOLEAN:
        out = lua_toboolean(L_, index) != 0;
        return true;
      case LUA_TNUMBER:
        if (lua_isinteger(L_, index)) {
          out = static_cast<int64_t>(lua_tointeger(L_, index));
        } else {
          out = static_cast<double>(lua_tonumber(L_, index));
        }
        return true;
      case LUA_TSTRING:
        out = text_at(index);
        return true;
      case LUA_TLIGHTUSERDATA:
        if (is_null(L_, index)) {
          out = nullptr;
          return true;
        }
        break;
      case LUA_TTABLE:
        return read_table(index, out);
      default:
        break;
    }
    return refuse(std::string("a ") + lua_typename(L_, lua_type(L_, index)));
  }

  Error error() const {
    std::string where;
    for (const std::string& part : path_) {
      if (!where.empty() && part[0] != '[') where += '.';
      where += part;
    }
    std::string text = where.empty() ? problem_ : "field '" + where + "': " + problem_;
    return Error(ErrorKind::invalid, std::move(text));
  }

 private:
  std::string text_at(int index) {
    size_t size = 0;
    const char* bytes = lua_tolstring(L_, index, &size);
    return std::string(bytes, size);
  }

  bool refuse(std::string problem) {
    problem_ = std::move(problem);
    return false;
  }

  bool read_table(int index, Json& out) {
    index = lua_absindex(L_, index);
    const void* self = lua_topointer(L_, index);
    for (const void* outer : open_) {
      if (outer == self) return refuse("a table that contains itself");
    }
    if (open_.size() >= kDepthLimit) return refuse("tables nested deeper than 200");
    if (!lua_checkstack(L_, 6)) return refuse("a table too deep for the stack");
    open_.push_back(self);
    bool good = is_list(index) ? read_list(index, out) : read_object(index, out);
    open_.pop_back();
    return good;
  }

  bool is_marked(int index) {
    if (!lua_getmetatable(L_, index)) return false;
    lua_rawgetp(L_, LUA_REGISTRYINDEX, &kArrayMeta);
    bool marked = lua_rawequal(L_, -1, -2) && !lua_isnil(L_, -1);
    lua_pop(L_, 2);
    return marked;
  }

  bool is_list(int index) {
    if (lua_rawlen(L_, index) > 0 || is_marked(index)) return true;
    // {nil, 2} may have length 0; the first key tells.
    lua_pushnil(L_);
    if (!lua_next(L_, index)) return false;
    bool numbered = lua_type(L_, -2) == LUA_TNUMBER;
    lua_pop(L_, 2);
    return numbered;
  }

  bool read_list(int index, Json& out) {
    out = Json::array();
    size_t size = lua_rawlen(L_, index);
    size_t keys = 0;
    lua_pushnil(L_);
    while (lua_next(L_, index)) {
      lua_pop(L_, 1);
      ++keys;
      if (!lua_isinteger(L_, -1)) {
        bool named = lua_type(L_, -1) == LUA_TSTRING;
        std::string key = named ? "'" + text_at(-1) + "'" : luaL_typename(L_, -1);
        lua_pop(L_, 1);
        return refuse("a list that also has the key " + key);
      }
      lua_Integer place = lua_tointeger(L_, -1);
      if (place < 1 || static_cast<size_t>(place) > size) {
        lua_pop(L_, 1);
        return refuse("a list with a hole before [" + std::to_string(place) + "]");
      }
    }
    if (keys != size) return refuse("a list with a hole");
    for (size_t place = 1; place <= size; ++place) {
      lua_rawgeti(L_, index, static_cast<lua_Integer>(place));
      path_.push_back("[" + std::to_string(place) + "]");
      Json item;
      if (!read(-1, item)) return false;
      path_.pop_back();
      out.push_back(std::move(item));
      lua_pop(L_, 1);
    }
    return true;
  }

  bool read_object(int index, Json& out) {
    out = Json::object();
    lua_pushnil(L_);
    while (lua_next(L_, index)) {
      if (lua_type(L_, -2) != LUA_TSTRING) {
        return refuse(std::string("a key that is a ") + luaL_typename(L_, -2));
      }
      std::string key = text_at(-2);
      path_.push_back(key.empty() ? "''" : key);
      Json item;
      if (!read(-1, item)) return false;
      path_.pop_back();
      out[std::move(key)] = std::move(item);
      lua_pop(L_, 1);
    }
    return true;
  }

  lua_State* L_;
  std::vector<const void*> open_;  // tables being read, to see a cycle
  std::vector<std::string> path_;
  std::string problem_;
};

}  // namespace

void push_null(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kNullMark));
}

bool is_null(lua_State* L, int index) {
  return lua_islightuserdata(L, index) && lua_touserdata(L, index) == &kNullMark;
}

void mark_array(lua_State* L, int index) {
  index = lua_absindex(L, index);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &kArrayMeta) == LUA_TNIL) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 1);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &kArrayMeta);
  }
  lua_setmetatable(L, index);
}

// Everything alive here is trivially destructible: a raise may skip this frame.
void push_value(lua_State* L, const Json& value, Nulls nulls) {
  luaL_checkstack(L, 6, "a value nested too deeply");
  switch (value.type()) {
    case Json::value_t::null:
    case Json::value_t::discarded:
    case Json::value_t::binary:
      lua_pushnil(L);
      return;
    case Json::value_t::boolean:
      lua_pushboolean(L, value.get<bool>());
      return;
    case Json::value_t::number_integer:
      lua_pushinteger(L, value.get<int64_t>());
      return;
    case Json::value_t::number_unsigned: {
      uint64_t number = value.get<uint64_t>();
      if (number <= static_cast<uint64_t>(LUA_MAXINTEGER)) {
        lua_pushinteger(L, static_cast<lua_Integer>(number));
      } else {
        lua_pushnumber(L, static_cast<lua_Number>(number));
      }
      return;
    }
    case Json::value_t::number_float:
      lua_pushnumber(L, value.get<double>());
      return;
    case Json::value_t::string: {
      const std::string& text = value.get_ref<const std::string&>();
      lua_pushlstring(L, text.data(), text.size());
      return;
    }
    case Json::value_t::array: {
      lua_createtable(L, static_cast<int>(value.size()), 0);
      lua_Integer place = 0;
      for (auto item = value.cbegin(); item != value.cend(); ++item) {
        if (item->is_null()) {
          push_null(L);
        } else {
          push_value(L, *item, nulls);
        }
        lua_rawseti(L, -2, ++place);
      }
      if (place == 0) mark_array(L, -1);
      return;
    }
    case Json::value_t::object:
      lua_createtable(L, 0, static_cast<int>(value.size()));
      for (auto field = value.cbegin(); field != value.cend(); ++field) {
        if (field->is_null() && nulls == Nulls::absent) continue;
        const std::string& key = field.key();
        lua_pushlstring(L, key.data(), key.size());
        if (field->is_null()) {
          push_null(L);
        } else {
          push_value(L, *field, nulls);
        }
        lua_rawset(L, -3);
      }
      return;
  }
}

Result<Json> to_value(lua_State* L, int index) {
  int top = lua_gettop(L);
  Reader reader(L);
  Json out;
  bool good = reader.read(index, out);
  lua_settop(L, top);
  if (!good) return reader.error();
  return out;
}

}  // namespace choline
