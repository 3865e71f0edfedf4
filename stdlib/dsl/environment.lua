-- What a cholfile sees: the sandbox's safe library and the words, made from dsl/words.lua. Words that
-- declare write into the reading's program; words that act ask the program's engine.

local call <const> = require "policy.call"
local check <const> = require "core.check"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local params <const> = require "dsl.params"
local policy_words <const> = require "policy.words"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value
local words <const> = require "dsl.words"

local M = {}

---@class Reading
---@field program table
---@field loading boolean
---@field lenient boolean
---@field given table           params that were given
---@field context table         for core/check: types, declared, providers, policies, secrets
---@field problem fun(self: Reading, where: table, message: string, hint: string|nil)
---@field here fun(): table      file and line of the cholfile's code that runs now

--- Reports the problems of one table of fields; gives what is right of it.
local function check_fields(reading, where, fields, given, what)
  local context <const> = setmetatable({ what = what }, { __index = reading.context })
  return check.fields(fields, given, function(path, message, at)
    local place <const> = { file = where.file, line = where.line, word = where.word, name = where.name,
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
    local what <const> = word.group == "provider" and ("instances from the provider \"%s\" are"):format(word.name)
      or ('"%s" is'):format(word.name)
    reading:problem(where, ("%s not in this version yet"):format(what))
    return unknown
  end
end

--- The engine, for words that act; nil after a problem was told because there is none while loading.
local function engine_for(reading, verb)
  call.forbid(verb)
  if reading.program.engine then return reading.program.engine end
  local message <const> = ("%s waits, and the top level of a cholfile may not wait: it only declares; "
    .. "call it in a pipeline or in a task's function"):format(verb)
  if not reading.loading then failure.raise("invalid", "%s", message) end
  local where <const> = reading.here()
  where.name_here = verb:match("[%w_]+$")
  reading:problem(where, message)
  return nil
end

-- Declarations -------------------------------------------------------------------------------------

local lists <const> = { instance = "instances", sync = "syncs", task = "tasks", param = "params",
  secret = "secrets" }

local function check_name(reading, where, name)
  local what <const> = where.word
  if check.is_unknown(name) then return false end
  if type(name) ~= "string" then
    reading:problem(where, ('expected a name after %s, as in %s "name", got %s')
      :format(what, what, text.show(name)))
    return false
  end
  local pattern <const> = (what == "param" or what == "secret") and "^[%a_][%w_]*$" or "^[%a_][%w_-]*$"
  if not name:find(pattern) then
    reading:problem(where, ('%s is no name for %s: letters, digits%s and _, not beginning with a digit')
      :format(text.show(name), what == "instance" and "an instance" or "a " .. what,
        pattern:find("-]", 1, true) and ", -" or ""))
    return false
  end
  return true
end

local function check_new(reading, where, name)
  for _, other in ipairs(reading.program[lists[where.word]]) do
    if other.name == name then
      reading:problem({ file = where.file, line = where.line, word = where.word, name = name, at = "name" },
        ('%s "%s" is declared twice; the first is at %s:%d'):format(where.word, name, other.where.file,
          other.where.line))
      return false
    end
  end
  return true
end

local finish <const> = {}

function finish.param(reading, declaration, fields)
  local where <const> = declaration.where
  local at <const> = { file = where.file, line = where.line, word = "param", name = declaration.name }
  local kind <const> = fields.type or params.type_of(fields.default)
  if not kind then
    at.path = { "default" }
    reading:problem(at, ("field \"default\" of param \"%s\": expected a text, a number or a boolean, got %s")
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
      reading:problem({ file = where.file, line = where.line, word = "param", name = declaration.name,
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
  local where <const> = { file = declaration.where.file, line = declaration.where.line, word = word.name,
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
function M.complete(reading)
  for _, pending in ipairs(reading.pending) do
    if not pending.declaration.complete then
      declare(reading, pending.word, pending.object, pending.declaration, {})
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
    local engine <const> = engine_for(reading, declaration.name .. ":acquire")
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
    local message <const> = ('instance "%s" has no method %s%s'):format(declaration.name, text.show(key),
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
      failure.raise("invalid", "%s declares, and what a run is made of is declared before it begins: at the top level",
        word.name)
    end
    if not check_name(reading, where, name) then return unknown end
    if not check_new(reading, where, name) then return unknown end
    local declaration <const> = { word = word.name, name = name, fields = {},
      where = { file = where.file, line = where.line } }
    local methods <const> = word.name == "instance" and instance_methods(reading, word, declaration) or nil
    local object <const> = setmetatable({}, object_meta(reading, word, declaration, methods))
    reading.context.declared[object] = declaration
    table.insert(reading.program[lists[word.name]], declaration)
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
      local message <const> = ('no %s is declared with the name %s%s'):format(word.name, text.show(key),
        text.nearest(key, names) and text.did_you_mean(key, names)
        or ('; write %s "%s" { … } before it'):format(word.name, tostring(key)))
      if not reading.loading then failure.raise("invalid", "%s", message) end
      local where <const> = reading.here()
      where.name_here = tostring(key)
      reading:problem(where, message)
      return unknown
    end,
    __newindex = function(_, key)
      failure.raise("invalid", "%s.%s cannot be set; it is given with the run", word.name, tostring(key))
    end,
  })
end

local function param_value(reading)
  return function(declaration)
    if not declaration.complete then
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
        failure.raise("invalid", "secret.%s is a reference, not a text: give it to `env`, and let the command read "
          .. "the environment", declaration.name)
      end })
      declaration.reference = reference
      reading.context.secrets[reference] = declaration
    end
    return reference
  end
end

-- Other words ----------------------------------------------------------------------------------------

local special <const> = {}

local function value_word(reading, word, use)
  return function(value)
    local where <const> = reading.here()
    where.word = word.name
    local typed
    if value == nil and not word.value.required then return use(nil, where) end
    typed = check.value(word.value, value, function(_, message)
      if not reading.loading then failure.raise("invalid", "%s: %s", word.name, message) end
      reading:problem(where, ("%s: %s"):format(word.name, message))
    end, {}, reading.context)
    if typed == nil then return unknown end
    return use(typed, where)
  end
end

function special.budget(reading, word)
  return value_word(reading, word, function(amount, where)
    if reading.program.budget then
      reading:problem(where, "the budget is declared twice")
    end
    reading.program.budget = amount
    return unknown
  end)
end

local function policy_table(reading, word)
  return function(given)
    local where <const> = reading.here()
    where.word = word.name
    if check.is_unknown(given) then return unknown end
    if given ~= nil and type(given) ~= "table" then
      reading:problem(where, ("expected a table after %s, as in %s, got %s"):format(word.name, word.example,
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

function special.deadline(reading, word)
  return value_word(reading, word, function(seconds)
    local policy <const> = { kind = "deadline", seconds = seconds }
    reading.context.policies[policy] = true
    return policy
  end)
end

special.on = function(reading)
  return function(event, fn)
    local where <const> = reading.here()
    where.word = "on"
    local function handle(body)
      local names <const> = require("flow.events").names()
      if check.is_unknown(event) or check.is_unknown(body) then return unknown end
      if not list.contains(names, event) then
        reading:problem({ file = where.file, line = where.line, word = "on",
          text_here = type(event) == "string" and event or nil },
          ("unknown event %s%s"):format(text.show(event), text.nearest(event, names)
            and text.did_you_mean(event, names) or "; see `choline explain on`"))
      elseif type(body) ~= "function" then
        reading:problem(where, ('on("%s", …) expects a function(event), got %s'):format(event, text.show(body)))
      else
        table.insert(reading.program.handlers, { event = event, call = body,
          where = { file = where.file, line = where.line } })
      end
      return unknown
    end
    if fn == nil then return handle end
    return handle(fn)
  end
end

special.pipeline = function(reading, word)
  return function(name, body)
    local where <const> = reading.here()
    where.word = word.name
    if not check_name(reading, where, name) then return unknown end
    for _, other in ipairs(reading.program.pipelines) do
      if other.name == name then
        where.at, where.name = "name", name
        reading:problem(where, ('pipeline "%s" is declared twice; the first is at %s:%d'):format(name,
          other.where.file, other.where.line))
        return unknown
      end
    end
    local pipeline <const> = { name = name, where = { file = where.file, line = where.line } }
    table.insert(reading.program.pipelines, pipeline)
    local function set(fn)
      if type(fn) ~= "function" and not check.is_unknown(fn) then
        reading:problem(where, ('pipeline "%s" expects a function, as in pipeline "%s" (function() … end), got %s')
          :format(name, name, text.show(fn)))
      end
      pipeline.body = fn
      return unknown
    end
    if body ~= nil then return set(body) end
    return set
  end
end

special.parallel = function(reading)
  return function(axes, fn)
    local engine <const> = engine_for(reading, "parallel")
    if not engine then return unknown end
    if type(axes) ~= "table" then
      failure.raise("invalid", "parallel expects a table of lists such as { lr = { 1e-3, 3e-4 } }, got %s",
        text.show(axes))
    end
    for name, values in list.sorted(axes) do
      if type(name) ~= "string" or type(values) ~= "table" or #values == 0 then
        failure.raise("invalid", "parallel: expected a list of values for %s, got %s", text.show(name),
          text.show(values))
      end
    end
    local function run(body)
      if type(body) ~= "function" then
        failure.raise("invalid", "parallel expects a function(point) after its table, got %s", text.show(body))
      end
      return engine.parallel(axes, body)
    end
    if fn ~= nil then return run(fn) end
    return run
  end
end

special.fail = function()
  return function(format, ...)
    local function raise(...)
      -- Expects a format that does not fit its arguments.
      local ok <const>, message <const> = pcall(string.format, tostring(format), ...)
      local raised <const> = failure.new("crashed", ok and message or tostring(format))
      local file <const>, line <const> = native.chunk.where(0)
      raised.where = ("%s:%d"):format(file, line)
      error(raised, 0)
    end
    if select("#", ...) == 0 and type(format) == "string" and format:gsub("%%%%", ""):find("%%") then
      return raise
    end
    raise(...)
  end
end

local result_meta <const> = { __tostring = function(result)
  if type(result.point) ~= "table" then return tostring(result.value) end
  local parts <const> = {}
  for key, value in list.sorted(result.point) do
    parts[#parts + 1] = ("%s=%s"):format(tostring(key), tostring(value))
  end
  return table.concat(parts, " ")
end }

special.best = function()
  return function(results, goal)
    if type(results) ~= "table" or #results == 0 then
      failure.raise("invalid", "best expects the results of a parallel, got %s", text.show(results))
    elseif goal ~= nil and goal ~= "max" and goal ~= "min" then
      failure.raise("invalid", 'best: expected "max" or "min", got %s', text.show(goal))
    end
    local chosen
    for index, result in ipairs(results) do
      if type(result) ~= "table" or type(result.value) ~= "number" then
        failure.raise("invalid", "best compares numbers; result %d is %s", index,
          text.show(type(result) == "table" and result.value or result))
      end
      local better <const> = not chosen or (goal == "min" and result.value < chosen.value)
        or (goal ~= "min" and result.value > chosen.value)
      if better then chosen = result end
    end
    return getmetatable(chosen) and chosen or setmetatable(chosen, result_meta)
  end
end

special.log = function(reading)
  local function writer(level)
    return function(format, ...)
      local message = tostring(format)
      for index = 1, reading.loading and select("#", ...) or 0 do
        if check.is_unknown((select(index, ...))) then return end
      end
      if select("#", ...) > 0 then
        -- Expects a format that does not fit its arguments.
        local ok <const>, formatted <const> = pcall(string.format, message, ...)
        if not ok then
          failure.raise("invalid", "log.%s(%s): %s", level, text.show(format),
            (tostring(formatted):gsub("^.-:%d+: ", "")))
        end
        message = formatted
      end
      call.forbid("log." .. level)
      if reading.program.engine then return reading.program.engine.log(level, message) end
      local where <const> = reading.here()
      table.insert(reading.program.messages, { level = level, text = message, where = where })
    end
  end
  return { info = writer "info", warn = writer "warn", error = writer "error" }
end

special.sleep = function(reading, word)
  return value_word(reading, word, function(seconds)
    local engine <const> = engine_for(reading, "sleep")
    if not engine then return unknown end
    return engine.sleep(seconds)
  end)
end

special.now = function(reading)
  return function()
    local engine <const> = engine_for(reading, "now")
    if not engine then return unknown end
    return engine.now()
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
    elseif special[word.name] then
      env[word.name] = special[word.name](reading, word)
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
