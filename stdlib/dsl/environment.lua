-- What a cholfile sees: the sandbox's safe library and the words, made from dsl/words.lua. Words
-- that declare write into the reading's program; words that act ask the program's engine.

local actions <const> = require "dsl.actions"
local check <const> = require "core.check"
local conditions <const> = require "dsl.conditions"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local params <const> = require "dsl.params"
local policy_words <const> = require "policy.words"
local schedules <const> = require "dsl.schedules"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value
local words <const> = require "dsl.words"

local M = {}

---@class Reading
---@field program table
---@field loading boolean
---@field lenient boolean
---@field given table           params that were given
---@field context table         for core/check: types, declared, providers, policies, secrets, times
---@field problem fun(self: Reading, where: table, message: string, hint: string|nil)
---@field here fun(): table      file and line of the cholfile's code that runs now

--- Reports the problems of one table of fields; gives what is right of it.
local function check_fields(reading, where, fields, given, what)
  local context <const> = setmetatable({ what = what }, { __index = reading.context })
  return check.fields(fields, given, function(path, message, at)
    local place <const> = { file = where.file, line = where.line, word = where.word,
      name = where.name,
      path = list.copy(path), at = at }
    local prefix <const> = #path > 0 and at ~= "key"
      and ('field "%s" of %s: '):format(check.path_text(path), what) or ""
    reading:problem(place, prefix .. message)
  end, {}, context)
end
M.check_fields = check_fields

local function not_yet(reading, word)
  return function(...)
    for index = 1, select("#", ...) do
      if check.is_unknown((select(index, ...))) then return unknown end
    end
    local where <const> = reading.here()
    where.word = word.name
    local what <const> = word.group ==
      "provider" and ("instances from the provider \"%s\" are"):format(word.name)
      or ('"%s" is'):format(word.name)
    reading:problem(where, ("%s not in this version yet"):format(what))
    return unknown
  end
end

-- Declarations ------------------------------------------------------------------------------------

local lists <const> = { instance = "instances", sync = "syncs", task = "tasks", param = "params",
  secret = "secrets" }

local function check_new(reading, where, name)
  local other <const> = reading.by_name[where.word .. " " .. name]
  if not other then return true end
  reading:problem({ file = where.file, line = where.line, word = where.word, name = name,
    at = "name" },
    ('%s "%s" is declared twice; the first is at %s:%d'):format(where.word, name, other.where.file,
      other.where.line))
  return false
end

local finish <const> = {}

function finish.param(reading, declaration, fields)
  local where <const> = declaration.where
  local at <const> =
    { file = where.file, line = where.line, word = "param", name = declaration.name }
  local kind <const> = fields.type or params.type_of(fields.default)
  if not kind then
    at.path = { "default" }
    reading:problem(at,
      ("field \"default\" of param \"%s\": expected a text, a number or a boolean, got %s")
      :format(declaration.name, text.show(fields.default)))
  end
  declaration.type, declaration.help = kind or "string", fields.help
  declaration.choices, declaration.default = fields.choices, fields.default
  declaration.required = fields.required
  if declaration.required == nil then declaration.required = fields.default == nil end
  if kind and fields.default ~= nil then
    local value <const>, message <const> = params.typed(declaration, { value = fields.default })
    if message then
      at.path = { "default" }
      reading:problem(at, ('field "default" of param "%s": %s'):format(declaration.name, message))
    end
    declaration.default = value
  end
  declaration.value = declaration.default
  local given <const> = reading.given[declaration.name]
  if given and kind then
    local value <const>, message <const> = params.typed(declaration, given)
    if message then
      reading:problem({ file = where.file, line = where.line, word = "param",
        name = declaration.name,
        at = "name" }, ('param "%s" from %s: %s'):format(declaration.name,
        given.from or "the run", message))
    else
      declaration.value = value
    end
  end
end

function finish.secret(_, declaration, fields)
  declaration.optional = fields.optional or false
end

local function declare(reading, word, object, declaration, given)
  local what <const> = ('%s "%s"'):format(word.name, declaration.name)
  local where <const> = { file = declaration.where.file, line = declaration.where.line,
    word = word.name,
    name = declaration.name }
  if declaration.complete then
    reading:problem(where, what .. " already has its table")
    return object
  end
  declaration.complete = true
  if check.is_unknown(given) then
    declaration.fields = setmetatable({}, { __index = function() return nil end })
    declaration.unknown = true
    return object
  end
  if type(given) ~= "table" then
    reading:problem(where, ("expected a table of fields after %s, as in %s { … }, got %s")
      :format(what, what, text.show(given)))
    given = {}
    declaration.unknown = true
  end
  declaration.given = given
  if declaration.unknown then
    declaration.fields = {}
  else
    declaration.fields = check_fields(reading, where, word.fields, given, what)
  end
  if finish[word.name] then finish[word.name](reading, declaration, declaration.fields) end
  return object
end

--- Declarations written without a table, or with only a name, get what their defaults say.
--- When reading broke off, the last one was just being written: nothing is said of what it lacks.
function M.complete(reading)
  for index, pending in ipairs(reading.pending) do
    if not pending.declaration.complete then
      local cut <const> = reading.broke_off and index == #reading.pending
      declare(reading, pending.word, pending.object, pending.declaration,
        cut and unknown or {})
    end
  end
end

local function object_meta(reading, word, declaration, methods)
  return {
    __name = word.name,
    __metatable = false,
    __index = methods or function(_, key)
      failure.raise("invalid", '%s "%s" has no %s', word.name, declaration.name, text.show(key))
    end,
    __newindex = function(_, key)
      failure.raise("invalid", '%s "%s" is declared once; write %s into its table', word.name,
        declaration.name, tostring(key))
    end,
    __call = function(object, given) return declare(reading, word, object, declaration, given) end,
    __tostring = function() return ('%s "%s"'):format(word.name, declaration.name) end,
  }
end

local function instance_methods(reading, word, declaration)
  local methods <const> = {}
  function methods.acquire(_, overrides)
    local engine <const> = actions.engine(reading, declaration.name .. ":acquire")
    if not engine then return unknown end
    local what <const> = declaration.name .. ":acquire"
    local typed <const> = check.options(what, word.fields, overrides, reading.context)
    -- Defaults are the declaration's: only what was said here overrides them.
    for key in pairs(typed) do
      if not overrides or overrides[key] == nil then typed[key] = nil end
    end
    return engine.acquire(declaration.name, typed)
  end
  local names <const> = { "acquire" }
  return function(_, key)
    local method <const> = methods[key]
    if method then return method end
    local message <const> = ('instance "%s" has no method %s%s'):format(declaration.name,
      text.show(key),
      text.nearest(tostring(key), names) and text.did_you_mean(tostring(key), names)
      or "; :acquire { … } in a pipeline gives a live instance, which has push, pull, run, exec, destroy")
    if not reading.loading then failure.raise("invalid", "%s", message) end
    local where <const> = reading.here()
    where.name_here = tostring(key)
    reading:problem(where, message)
    return unknown
  end
end

local function named(reading, word)
  return function(name, given)
    local where <const> = reading.here()
    where.word = word.name
    if not reading.loading then
      failure.raise("invalid",
        "%s declares, and what a run is made of is declared before it begins: at the top level",
        word.name)
    end
    if not actions.check_name(reading, where, name) then return unknown end
    if not check_new(reading, where, name) then return unknown end
    local declaration <const> = { word = word.name, name = name, fields = {},
      where = { file = where.file, line = where.line } }
    local methods <const> = word.name ==
      "instance" and instance_methods(reading, word, declaration) or nil
    local object <const> = setmetatable({}, object_meta(reading, word, declaration, methods))
    reading.context.declared[object] = declaration
    table.insert(reading.program[lists[word.name]], declaration)
    reading.by_name[word.name .. " " .. name] = declaration
    table.insert(reading.pending, { word = word, object = object, declaration = declaration })
    if given ~= nil then return declare(reading, word, object, declaration, given) end
    return object
  end
end

--- `param "x" {}` declares, `param.x` is its value; the same for secrets and their references.
local function readable(reading, word, get)
  local declare_named <const> = named(reading, word)
  return setmetatable({}, {
    __metatable = false,
    __call = function(_, ...) return declare_named(...) end,
    __index = function(_, key)
      local names <const> = {}
      for index, declaration in ipairs(reading.program[lists[word.name]]) do
        if declaration.name == key then return get(declaration) end
        names[index] = declaration.name
      end
      local message <const> = ('no %s is declared with the name %s%s'):format(word.name,
        text.show(key),
        text.nearest(key, names) and text.did_you_mean(key, names)
        or ('; write %s "%s" { … } before it'):format(word.name, tostring(key)))
      if not reading.loading then failure.raise("invalid", "%s", message) end
      local where <const> = reading.here()
      where.name_here = tostring(key)
      reading:problem(where, message)
      return unknown
    end,
    __newindex = function(_, key)
      failure.raise("invalid", "%s.%s cannot be set; it is given with the run", word.name,
        tostring(key))
    end,
  })
end

local function param_value(reading)
  return function(declaration)
    if reading.loading and not declaration.complete then
      for _, pending in ipairs(reading.pending) do
        if pending.declaration == declaration then
          declare(reading, pending.word, pending.object, declaration, {})
        end
      end
    end
    if declaration.value ~= nil then return declaration.value end
    return unknown -- required and not given: that is a problem of its own
  end
end

local function secret_reference(reading)
  return function(declaration)
    local reference = declaration.reference
    if not reference then
      reference = setmetatable({}, { __metatable = false, __tostring = function()
        return "secret." .. declaration.name
      end, __concat = function()
        failure.raise("invalid",
          "secret.%s is a reference, not a text: give it to `env`, and let the command read "
          .. "the environment", declaration.name)
      end })
      declaration.reference = reference
      reading.context.secrets[reference] = declaration
    end
    return reference
  end
end

local function policy_table(reading, word)
  return function(given)
    local where <const> = reading.here()
    where.word = word.name
    if check.is_unknown(given) then return unknown end
    if given ~= nil and type(given) ~= "table" then
      reading:problem(where,
        ("expected a table after %s, as in %s, got %s"):format(word.name, word.example,
        text.show(given)))
      return unknown
    end
    local typed <const> = check_fields(reading, where, word.fields, given or {}, word.name)
    if word.group == "provider" then
      local provider <const> = { provider = word.provider, settings = typed }
      reading.context.providers[provider] = true
      return provider
    end
    typed.kind = word.name
    reading.context.policies[typed] = true
    return typed
  end
end

local function seconds_of(value)
  local seconds <const>, message <const> = duration.parse(value)
  if not seconds then failure.raise("invalid", "%s", message) end
  return seconds
end

--- What a name means in a cholfile; nil for those that need the loader (require, read_file).
---@param reading Reading
---@return table<string, any>
function M.words(reading)
  local env <const> = {}
  for name, value in pairs(policy_words.make(seconds_of)) do env[name] = value end
  for _, word in ipairs(words.list) do
    if word.since == "next" then
      env[word.name] = not_yet(reading, word)
    elseif actions.words[word.name] then
      env[word.name] = actions.words[word.name](reading, word)
    elseif schedules.words[word.name] then
      env[word.name] = schedules.words[word.name](reading, word, check_fields)
    elseif conditions.words[word.name] then
      env[word.name] = conditions.words[word.name](reading, word)
    elseif word.name == "param" then
      env.param = readable(reading, word, param_value(reading))
      env.params = env.param
    elseif word.name == "secret" then
      env.secret = readable(reading, word, secret_reference(reading))
    elseif word.call == "named" then
      env[word.name] = named(reading, word)
    elseif word.call == "table" then
      env[word.name] = policy_table(reading, word)
    end
  end
  return env
end

return M
