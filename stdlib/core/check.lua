-- Schemas: tables of fields, each with a type, checked all at once. The words of the language and
-- the option tables of the stdlib are checked by the same rules.

local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local money <const> = require "core.money"
local place <const> = require "core.place"
local size <const> = require "core.size"
local text <const> = require "core.text"

local M = {}

---@class Field
---@field name string
---@field type string          a name of M.types, "list of T", "map of T", or "T or U"
---@field default? any         as it is written in a cholfile
---@field required? boolean
---@field choices? any[]
---@field min? number
---@field max? number
---@field fields? Field[]      of type "table"
---@field help? string
---@field example? string      how a value is written
---@field since? string        "next": known, but not in this version

--- A value that could not be known because of an earlier problem: it fits everywhere, silently.
M.unknown_meta = { __name = "unknown" }

---@return boolean
function M.is_unknown(value)
  return type(value) == "table" and getmetatable(value) == M.unknown_meta
end

local function of_type(name, expected)
  return { expected = expected, accepts = name, parse = function(value)
    if type(value) == name then return value end
    return nil, ("expected %s, got %s"):format(expected, text.show(value))
  end }
end

local function of_text(expected, parse)
  return { expected = expected, accepts = "string", parse = parse }
end

local function parse_integer(value)
  local whole <const> = type(value) == "number" and math.tointeger(value)
  if whole then return whole end
  return nil, ("expected an integer, got %s"):format(text.show(value))
end

local function parse_number(value)
  if type(value) == "number" and value == value and math.abs(value) ~= math.huge then
    return value
  end
  return nil, ("expected a number, got %s"):format(text.show(value))
end

local function parse_strings(value)
  if type(value) == "string" then return { value } end
  local expected <const> = "expected a text or a list of texts, got %s"
  if type(value) ~= "table" or not list.is_list(value) then
    return nil, expected:format(text.show(value))
  end
  for index, item in ipairs(value) do
    if type(item) ~= "string" and not M.is_unknown(item) then
      return nil, ("item %d: expected a text, got %s"):format(index, text.show(item))
    end
  end
  return list.filter(value, function(item) return type(item) == "string" end)
end

local function parse_command(value)
  if type(value) == "string" then
    if text.trim(value) == "" then return nil, "expected a command, got an empty text" end
    return { shell = value }
  end
  if type(value) ~= "table" or not list.is_list(value) then
    return nil, ("expected %s, got %s"):format(M.types.command.expected, text.show(value))
  end
  if #value == 0 then return nil, "expected a command, got an empty list" end
  local items <const> = {}
  for index, item in ipairs(value) do
    if type(item) == "number" then
      items[index] = tostring(item)
    elseif type(item) == "string" or M.is_unknown(item) then
      items[index] = type(item) == "string" and item or ""
    else
      return nil, ("item %d of the command: expected a text or a number, got %s")
        :format(index, text.show(item))
    end
  end
  return { list = items }
end

---@type table<string, { expected: string, accepts: string|nil, parse: fun(value: any, context: any): any, string|nil }>
M.types = {
  any = { expected = "a value", parse = function(value) return value end },
  string = of_type("string", "a text"),
  boolean = of_type("boolean", "true or false"),
  ["function"] = of_type("function", "a function"),
  table = of_type("table", "a table"),
  number = { expected = "a number", accepts = "number", parse = parse_number },
  integer = { expected = "an integer", accepts = "number", parse = parse_integer },
  duration = of_text(duration.expected, duration.parse),
  size = of_text(size.expected, size.parse),
  rate = of_text(size.expected_rate, size.parse_rate),
  money = of_text(money.expected, money.parse),
  price = of_text(money.expected_price, money.parse_price),
  place = of_text(place.expected, place.parse),
  strings = { expected = "a text or a list of texts", parse = parse_strings },
  command = {
    expected = 'a command such as "python train.py" or { "python", "train.py" }',
    parse = parse_command,
  },
}

local check_value

local function check_items(inner, value, report, path, context)
  if type(value) ~= "table" or not list.is_list(value) then
    report(path, ("expected a list of values, got %s"):format(text.show(value)))
    return nil
  end
  local items <const> = {}
  for index, item in ipairs(value) do
    path[#path + 1] = index
    items[#items + 1] = check_value({ type = inner }, item, report, path, context)
    path[#path] = nil
  end
  return items
end

local function check_map(inner, value, report, path, context)
  if type(value) ~= "table" then
    report(path, ("expected a table of names and values, got %s"):format(text.show(value)))
    return nil
  end
  local items <const> = {}
  for key, item in list.sorted(value) do
    path[#path + 1] = key
    if type(key) ~= "string" then
      report(path, ("expected a name before the value, as in NAME = %s"):format(text.show(item)),
        "key")
    else
      items[key] = check_value({ type = inner }, item, report, path, context)
    end
    path[#path] = nil
  end
  return items
end

--- Which of several types: the first that takes the value; else the message of the one it looks
--- like.
local function check_alternatives(names, value, context)
  local messages <const>, expected <const> = {}, {}
  for _, name in ipairs(names) do
    local kind <const> = context.types and context.types[name] or M.types[name]
    local typed <const>, message <const> = kind.parse(value, context)
    if message == nil then return typed end
    if kind.accepts == nil or kind.accepts == type(value) then messages[#messages + 1] = message end
    expected[#expected + 1] = kind.expected
  end
  if #messages == 1 then return nil, messages[1] end
  return nil, ("expected %s, got %s"):format(table.concat(expected, " or "), text.show(value))
end

local alternatives <const> = {}

local function split_type(name)
  local parts = alternatives[name]
  if not parts then
    parts = {}
    for part in (name .. " or "):gmatch("(.-) or ") do parts[#parts + 1] = part end
    alternatives[name] = parts
  end
  return parts
end

local function check_choice(spec, typed)
  if list.contains(spec.choices, typed) then return nil end
  local shown <const> = list.map(spec.choices, function(choice) return text.show(choice) end)
  local near <const> = type(typed) == "string" and text.did_you_mean(typed, spec.choices) or ""
  if near ~= "" then return ("unknown value %s%s"):format(text.show(typed), near) end
  return ("expected %s, got %s"):format(text.join(shown, "or"), text.show(typed))
end

local function check_range(spec, typed)
  if type(typed) ~= "number" then return nil end
  if spec.min and typed < spec.min then
    return ("expected at least %s, got %s"):format(text.show(spec.min), text.show(typed))
  elseif spec.max and typed > spec.max then
    return ("expected at most %s, got %s"):format(text.show(spec.max), text.show(typed))
  end
  return nil
end

--- The typed form of `value`, or nil after `report(path, message, at)` was called for each problem;
--- `at` is "key" when the key is wrong rather than its value. `path` holds the keys that lead here.
---@param spec Field
---@param report fun(path: any[], message: string, at: "key"|nil)
---@param path any[]
---@param context? { types?: table }  types that come before M.types, and whatever they need
---@return any
function check_value(spec, value, report, path, context)
  if M.is_unknown(value) then return nil end
  context = context or {}
  local inner <const> = spec.type:match("^list of (.+)$")
  if inner then return check_items(inner, value, report, path, context) end
  local of <const> = spec.type:match("^map of (.+)$")
  if of then return check_map(of, value, report, path, context) end
  local names <const> = split_type(spec.type)
  local typed, message
  if #names > 1 then
    typed, message = check_alternatives(names, value, context)
  else
    local kind <const> = context.types and context.types[spec.type] or M.types[spec.type]
    if kind.check then return kind.check(value, report, path, context, spec) end
    typed, message = kind.parse(value, context)
  end
  if message == nil and spec.type == "table" and spec.fields then
    local inner_context <const> = setmetatable({ what = ('"%s"'):format(M.path_text(path)) },
      { __index = context })
    return M.fields(spec.fields, value, report, path, inner_context)
  end
  message = message or (spec.choices and check_choice(spec, typed)) or check_range(spec, typed)
  if message then
    report(path, message)
    return nil
  end
  return typed
end
M.value = check_value

local by_name <const> = setmetatable({}, { __mode = "k" })

--- Fields by their name, and the names in order.
---@param fields Field[]
---@return table<string, Field>, string[]
function M.index(fields)
  local index = by_name[fields]
  if not index then
    index = { fields = {}, names = {} }
    for position, field in ipairs(fields) do
      index.fields[field.name] = field
      index.names[position] = field.name
    end
    by_name[fields] = index
  end
  return index.fields, index.names
end

local function check_unknown_keys(fields, given, report, path, context)
  local known <const>, names <const> = M.index(fields)
  for key in list.sorted(given) do
    if not known[key] then
      path[#path + 1] = key
      if type(key) == "string" then
        local of <const> = context.what and " of " .. context.what or ""
        local near <const> = text.did_you_mean(key, names)
        report(path, ('unknown field "%s"%s%s'):format(key, of, near ~= "" and near
          or ("; known: %s"):format(text.join(names))), "key")
      else
        report(path, ("a value without a name: %s; write NAME = VALUE (known: %s)")
          :format(text.show(given[key]), text.join(names)))
      end
      path[#path] = nil
    end
  end
end

--- The typed form of a table of fields with defaults filled in; problems go to `report`.
---@param fields Field[]
---@param given table
---@return table typed
function M.fields(fields, given, report, path, context)
  context = context or {}
  check_unknown_keys(fields, given, report, path, context)
  local typed <const> = {}
  for _, field in ipairs(fields) do
    local value = given[field.name]
    path[#path + 1] = field.name
    if value ~= nil and field.since == "next" then
      if not M.is_unknown(value) then
        report(path, ('"%s" is not in this version yet'):format(field.name), "key")
      end
    elseif value ~= nil then
      typed[field.name] = check_value(field, value, report, path, context)
    elseif field.required then
      path[#path] = nil
      report(path, ('%s needs "%s"%s'):format(context.what or "this", field.name,
        field.example and (", such as %s = %s"):format(field.name, field.example) or ""))
      path[#path + 1] = field.name
    elseif field.default ~= nil then
      typed[field.name] = check_value(field, field.default, report, path, context)
    end
    path[#path] = nil
  end
  return typed
end

--- A path of keys as it would be written: "resume.run", "from[2]".
---@return string
function M.path_text(path)
  local parts <const> = {}
  for index, key in ipairs(path) do
    if type(key) == "string" then
      parts[#parts + 1] = (index > 1 and "." or "") .. key
    else
      parts[#parts + 1] = ("[%s]"):format(tostring(key))
    end
  end
  return table.concat(parts)
end

--- Checks the option table of a function; raises one `invalid` failure that names all problems.
---@param what string       "instance:run", for the message
---@param fields Field[]
---@param given table|nil
---@param context? table
---@return table typed
function M.options(what, fields, given, context)
  if given ~= nil and type(given) ~= "table" then
    failure.raise("invalid", "%s: expected a table of options, got %s", what, text.show(given))
  end
  local problems <const> = {}
  local inner <const> = setmetatable({ what = what }, { __index = context })
  local typed <const> = M.fields(fields, given or {}, function(path, message, at)
    local prefix <const> = #path > 0 and at ~= "key" and M.path_text(path) .. ": " or ""
    problems[#problems + 1] = prefix .. message
  end, {}, inner)
  if #problems > 0 then
    failure.raise("invalid", "%s", (text.starts_with(problems[1], what) and "" or what .. ": ")
      .. table.concat(problems, "; "))
  end
  return typed
end

return M
