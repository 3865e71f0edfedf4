-- The editor's meta file: LuaCATS types for every word, so that a language server completes and
-- checks cholfiles.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local text <const> = require "core.text"
local words <const> = require "dsl.words"

local M = {}

local lua_types <const> = {}
for _, kind in ipairs(words.types) do lua_types[kind.name] = kind.lua end
lua_types.pattern = "string"

local function class_name(name)
  return (("_" .. name):gsub("_(%l)", string.upper):gsub("_", ""))
end

local function lua_type(field, class)
  if field.fields and field.type == "table" then return class .. class_name(field.name) end
  if field.choices then
    return table.concat(list.map(field.choices, function(item) return text.quote(item) end), "|")
  end
  local inner <const> = field.type:match("^list of (.+)$")
  if inner then return "(" .. lua_types[inner] .. ")[]" end
  local of <const> = field.type:match("^map of (.+)$")
  if of then return ("table<string, %s>"):format(lua_types[of]) end
  local parts <const> = {}
  for part in (field.type .. " or "):gmatch("(.-) or ") do parts[#parts + 1] = lua_types[part] end
  return table.concat(parts, "|")
end

local function default_note(field)
  if field.default == nil then return "" end
  if type(field.default) == "table" then
    return " Default: " .. table.concat(field.default, ", ") .. "."
  end
  return " Default: " .. tostring(field.default) .. "."
end

local function add_class(lines, class, fields, extra)
  for _, field in ipairs(fields) do
    if field.fields and field.type == "table" then
      add_class(lines, class .. class_name(field.name), field.fields)
    end
  end
  lines[#lines + 1] = "---@class (exact) " .. class
  for _, line in ipairs(extra or {}) do lines[#lines + 1] = line end
  for _, field in ipairs(fields) do
    if field.since ~= "next" then
      local declared <const> = ("---@field %s%s %s"):format(field.name,
        field.required and "" or "?",
        lua_type(field, class))
      local help <const> = field.help .. "." .. default_note(field)
      if #declared + 2 + #help <= 100 then
        lines[#lines + 1] = declared .. "  " .. help
      else
        for _, line in ipairs(text.wrap(help, 94)) do lines[#lines + 1] = "--- " .. line end
        lines[#lines + 1] = declared
      end
    end
  end
  lines[#lines + 1] = ""
end

local results <const> = { instance = "Instance", sync = "Sync", task = "Task" }

local function comment(lines, word)
  lines[#lines + 1] = "--- " .. word.summary:sub(1, 1):upper() .. word.summary:sub(2) .. "."
  if word.help then
    for _, line in ipairs(text.wrap(word.help, 94)) do lines[#lines + 1] = "--- " .. line end
  end
  list.append(lines, { "---", "--- ```lua" })
  for _, line in ipairs(text.lines(word.example)) do lines[#lines + 1] = "--- " .. line end
  lines[#lines + 1] = "--- ```"
end

local signatures <const> = {
  on = { "---@param event EventKind", "---@param fn fun(event: Event)",
    "function on(event, fn) end" },
  pipeline = { "---@param name string", "---@return fun(body: fun())",
    "function pipeline(name) end" },
  parallel = { "---@async", "---@param axes table<string, any[]>",
    "---@return fun(fn: fun(point: table<string, any>): any): Result[]",
    "function parallel(axes) end" },
  fail = { "---@param format string", "---@param ... any", "---@return any",
    "function fail(format, ...) end" },
  best = { "---@param results Result[]", "---@param goal? \"max\"|\"min\"", "---@return Result",
    "function best(results, goal) end" },
  log = { "log = {}", "---@param format string", "---@param ... any",
    "function log.info(format, ...) end",
    "---@param format string", "---@param ... any", "function log.warn(format, ...) end",
    "---@param format string",
    "---@param ... any", "function log.error(format, ...) end" },
  read_file = { "---@param path string", "---@return string", "function read_file(path) end" },
  require = { "---@param name string", "---@return any", "function require(name) end" },
  now = { "---@return number", "function now() end" },
  when = { "---@param condition Condition", "---@return When", "function when(condition) end" },
  metric = { "---@param name string", "---@return MetricSeries", "function metric(name) end" },
  all = { "---@param conditions Condition[]", "---@return Condition",
    "function all(conditions) end" },
  any = { "---@param conditions Condition[]", "---@return Condition",
    "function any(conditions) end" },
  for_ = { "---@param time string", "---@param condition Condition", "---@return Condition",
    "function for_(time, condition) end" },
  schedule = { "---@param fields ScheduleFields  and before them the names of tasks",
    "function schedule(fields) end" },
  sleep = { "---@async", "---@param time string", "function sleep(time) end" },
  param = { "---@type table<string, any>|fun(name: string): fun(fields: ParamFields)", "param = {}",
    "---@type table<string, any>", "params = {}" },
  secret = { "---@type table<string, Secret>|fun(name: string): fun(fields: SecretFields)",
    "secret = {}" },
}

local function add_word(lines, word)
  comment(lines, word)
  local class <const> = class_name(word.name) .. "Fields"
  if signatures[word.name] then
    list.append(lines, signatures[word.name])
  elseif word.call == "named" then
    list.append(lines,
      { "---@param name string",
      ("---@return fun(fields: %s): %s"):format(class, results[word.name]),
      ("function %s(name) end"):format(word.name) })
  elseif word.call == "table" then
    list.append(lines, { ("---@param fields? %s"):format(class),
      ("---@return %s"):format(word.group == "provider" and "Provider" or "Policy"),
      ("function %s(fields) end"):format(word.name) })
  elseif word.call == "value" then
    list.append(lines,
      { ("---@param %s%s string"):format(word.value.name, word.value.required and "" or "?") })
    if word.group == "verdict" then lines[#lines + 1] = "---@return Verdict" end
    if word.group == "policy" then lines[#lines + 1] = "---@return Policy" end
    if word.group == "condition" then lines[#lines + 1] = "---@return Condition" end
    if word.group == "time" then lines[#lines + 1] = "---@return Time" end
    lines[#lines + 1] = ("function %s(%s) end"):format(word.name, word.value.name)
  elseif word.call == "constant" then
    list.append(lines, { "---@type Chooser", word.name .. " = nil" })
  elseif word.group == "verdict" then
    list.append(lines, { "---@return Verdict", ("function %s() end"):format(word.name) })
  end
  lines[#lines + 1] = ""
end

--- What `metric "NAME"` can be asked.
local function add_methods(lines, word)
  lines[#lines + 1] = "---@class MetricSeries    what `metric \"NAME\"` gives"
  lines[#lines + 1] = "local MetricSeries = {}"
  for _, method in ipairs(word.methods) do
    lines[#lines + 1] = "--- It holds when " .. method.summary .. "."
    local given = ""
    if method.call == "value" then
      given = method.value.name
      lines[#lines + 1] = ("---@param %s %s"):format(given, lua_types[method.value.type])
    elseif method.call == "table" then
      given = "fields"
      lines[#lines + 1] = ("---@param fields? %sFields"):format(class_name(method.name))
    end
    lines[#lines + 1] = "---@return Condition"
    lines[#lines + 1] = ("function MetricSeries:%s(%s) end"):format(method.name, given)
  end
  lines[#lines + 1] = ""
end

local function add_alias(lines, name, values)
  lines[#lines + 1] = "---@alias " .. name .. " " .. table.concat(list.map(values, text.quote), "|")
end

local fixed <const> = [[
---@class Sync
---@class Task
---@class Provider
---@class Policy
---@alias PolicyFunction fun(failure: Failure, history: table[]): Verdict|nil
---@class Verdict
---@class Secret
---@class When        what `when(…)` gives
---@class Condition
---@class Time

---@class Failure
---@field kind FailureKind
---@field message string
---@field where string|nil
---@field fields table
---@field cause Failure|nil

---@class Event
---@field kind EventKind
---@field at number   seconds since 1970
---@field [string] any

---@class Result        one of `parallel`
---@field point table<string, any>
---@field value any

---@class Instance      what `instance "name" { … }` gives
local Instance = {}
--- Rents one; it is destroyed when the variable goes out of scope, as in
--- `local box <close> = gpu:acquire()`.
---@async
---@param overrides? InstanceFields
---@return LiveInstance
function Instance:acquire(overrides) end

---@class MetricSummary
---@field last number
---@field best number
---@field min number
---@field max number
---@field count integer

---@class (exact) RunOptions
---@field metrics? table<string, string|Metric>
---@field env? table<string, string|number|boolean|Secret>
---@field dir? string
---@field timeout? string
---@field check? boolean  false: give the exit code instead of raising `crashed`

---@class LiveInstance
local LiveInstance = {}
---@async
---@param from string  a path here
---@param to string    a path there
function LiveInstance:push(from, to) end
---@async
---@param from string  a path there
---@param to string    a path here
function LiveInstance:pull(from, to) end
--- Runs a command that survives choline, and waits for it. Raises `crashed` when it fails.
---@async
---@param command string|(string|number)[]
---@param options? RunOptions
---@return { code: integer, seconds: number, metrics: table<string, MetricSummary> }
function LiveInstance:run(command, options) end
--- A short command; gives its exit code and output.
---@async
---@param command string|(string|number)[]
---@return { code: integer, out: string, err: string }
function LiveInstance:exec(command) end
---@async
function LiveInstance:destroy() end
]]

--- The text of stdlib/meta/choline.lua.
---@return string
function M.text()
  local lines <const> = { "---@meta choline",
    "-- The words of a cholfile, for editors. Made by scripts/reference from stdlib/dsl/words.lua.",
      "" }
  add_alias(lines, "FailureKind", failure.kind_names())
  add_alias(lines, "EventKind", require("flow.events").names())
  add_alias(lines, "Chooser", { "cheapest", "fastest", "most_reliable" })
  list.append(lines, text.lines(fixed))
  lines[#lines + 1] = ""
  add_class(lines, "Waits", words.wait_fields, { "---@field [1] string  the first wait." })
  add_class(lines, "Metric", words.metric_fields)
  for _, word in ipairs(words.list) do
    if word.fields and word.since ~= "next" then
      add_class(lines, class_name(word.name) .. "Fields", word.fields)
    end
  end
  for _, word in ipairs(words.list) do
    for _, method in ipairs(word.methods or {}) do
      if method.fields then
        add_class(lines, class_name(method.name) .. "Fields", method.fields)
      end
    end
    if word.methods then add_methods(lines, word) end
  end
  for _, word in ipairs(words.list) do
    if word.since ~= "next" then add_word(lines, word) end
  end
  lines[#lines] = nil
  return table.concat(lines, "\n") .. "\n"
end

return M
