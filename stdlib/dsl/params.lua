-- Params: where their values come from, and their types.

local check <const> = require "core.check"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local path <const> = require "core.path"
local text <const> = require "core.text"

local M = {}

---@alias GivenParams table<string, { value: any, text: boolean|nil, from: string }>

--- `epochs=10` of a command line into `given`; raises `invalid` for what is no assignment.
---@param given GivenParams
---@param arguments string[]
function M.add_assignments(given, arguments)
  for _, argument in ipairs(arguments) do
    local name <const>, value <const> = argument:match("^([%a_][%w_]*)=(.*)$")
    if not name then
      failure.raise("invalid", "expected a param as NAME=VALUE, got %s", text.show(argument))
    end
    given[name] = { value = value, text = true, from = "the command line" }
  end
end

local function read_lua(name, source)
  local chunk <const>, message <const>, line <const> =
    native.chunk.load(source, name, native.chunk.sandbox())
  if not chunk then failure.raise("invalid", "%s:%s: %s", name, line or "?", message) end
  -- Expects whatever the file raises.
  local ok <const>, value <const> = pcall(chunk)
  if not ok then
    error(failure.wrap(value, ("reading params from %s failed"):format(name), "invalid"), 0)
  end
  return value
end

local function read_json(name, source)
  -- expects text that is no JSON
  local ok <const>, value <const> = pcall(native.json.decode, source)
  if not ok then
    failure.raise("invalid", "%s is no valid JSON: %s", name, failure.from(value).message)
  end
  return value
end

--- The params of a .json or .lua file into `given`.
---@param given GivenParams
---@param file string
function M.add_file(given, file)
  local readers <const> = { json = read_json, lua = read_lua }
  local read <const> = readers[path.extension(file)]
  if not read then
    failure.raise("invalid", 'params are read from .json and .lua files, got "%s"', file)
  end
  local values <const> = read(file, native.fs.read(file))
  if type(values) ~= "table" or #values > 0 then
    failure.raise("invalid", "%s: expected a table of params such as { epochs = 10 }, got %s", file,
      type(values) == "table" and "a list" or text.show(values))
  end
  for name, value in list.sorted(values) do
    if value ~= native.null then given[tostring(name)] = { value = value, from = file } end
  end
end

local booleans <const> = { ["true"] = true, ["false"] = false }

local function from_text(kind, value)
  if kind == "integer" then
    local number <const> = math.tointeger(tonumber(value))
    if number then return number end
    return nil, ("expected an integer, got %s"):format(text.show(value))
  elseif kind == "number" then
    local number <const> = tonumber(value)
    if number and number == number and math.abs(number) ~= math.huge then return number end
    return nil, ("expected a number, got %s"):format(text.show(value))
  elseif kind == "boolean" then
    if booleans[value] ~= nil then return booleans[value] end
    return nil, ("expected true or false, got %s"):format(text.show(value))
  end
  return value
end

--- The type of a param that does not say it.
---@return string|nil  nil when no param can have such a default
function M.type_of(default)
  if default == nil then return "string" end
  local kind <const> = math.type(default) == "integer" and "integer" or type(default)
  if kind == "integer" or kind == "number" or kind == "boolean" or kind == "string" then
    return kind
  end
  return nil
end

--- A value of the param's type, or nil and what is wrong. Durations, sizes and money stay as
--- written.
---@param param { type: string, choices: any[]|nil }
---@param given { value: any, text: boolean|nil }
---@return any, string|nil
function M.typed(param, given)
  local value, message = given.value, nil
  if given.text then value, message = from_text(param.type, value) end
  if message then return nil, message end
  if param.type == "number" and math.type(value) == "integer" then value = value + 0.0 end
  check.value({ type = param.type }, value, function(_, why) message = message or why end, {})
  if not message and param.choices and not list.contains(param.choices, value) then
    local shown <const> = list.map(param.choices, function(choice) return text.show(choice) end)
    message = ("expected %s, got %s"):format(text.join(shown, "or"), text.show(value))
  end
  if message then return nil, message end
  return value
end

return M
