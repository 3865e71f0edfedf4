-- Words that do something or say something of the whole run: budget, on, pipeline, parallel, sleep,
-- log and their like. Those that act ask the program's engine, which is there only while a run
-- lives.

local call <const> = require "policy.call"
local check <const> = require "core.check"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value

local M = {}

--- The engine, for words that act; nil after a problem was told because there is none while
--- loading.
function M.engine(reading, verb)
  call.forbid(verb)
  if reading.program.engine then return reading.program.engine end
  local message <const> =
    ("%s waits, and the top level of a cholfile may not wait: it only declares; "
    .. "call it in a pipeline or in a task's function"):format(verb)
  if not reading.loading then failure.raise("invalid", "%s", message) end
  local where <const> = reading.here()
  where.name_here = verb:match("[%w_]+$")
  reading:problem(where, message)
  return nil
end

--- Is this a name that may be declared? Tells when it is not.
---@return boolean
function M.check_name(reading, where, name)
  local what <const> = where.word
  if check.is_unknown(name) then return false end
  if type(name) ~= "string" then
    reading:problem(where, ('expected a name after %s, as in %s "name", got %s')
      :format(what, what, text.show(name)))
    return false
  end
  local pattern <const> =
    (what == "param" or what == "secret") and "^[%a_][%w_]*$" or "^[%a_][%w_-]*$"
  if not name:find(pattern) then
    reading:problem(where,
      ('%s is no name for %s: letters, digits%s and _, not beginning with a digit')
      :format(text.show(name), what == "instance" and "an instance" or "a " .. what,
        pattern:find("-]", 1, true) and ", -" or ""))
    return false
  end
  return true
end

local special <const> = {}
M.words = special

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
        reading:problem(where,
          ('on("%s", …) expects a function(event), got %s'):format(event, text.show(body)))
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
    if not M.check_name(reading, where, name) then return unknown end
    for _, other in ipairs(reading.program.pipelines) do
      if other.name == name then
        where.at, where.name = "name", name
        reading:problem(where,
          ('pipeline "%s" is declared twice; the first is at %s:%d'):format(name,
          other.where.file, other.where.line))
        return unknown
      end
    end
    local pipeline <const> = { name = name, where = { file = where.file, line = where.line } }
    table.insert(reading.program.pipelines, pipeline)
    local function set(fn)
      if type(fn) ~= "function" and not check.is_unknown(fn) then
        reading:problem(where,
          ('pipeline "%s" expects a function, as in pipeline "%s" (function() … end), got %s')
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
    local engine <const> = M.engine(reading, "parallel")
    if not engine then return unknown end
    if type(axes) ~= "table" then
      failure.raise("invalid",
        "parallel expects a table of lists such as { lr = { 1e-3, 3e-4 } }, got %s",
        text.show(axes))
    end
    for name, values in list.sorted(axes) do
      if type(name) ~= "string" or type(values) ~= "table" or #values == 0 then
        failure.raise("invalid", "parallel: expected a list of values for %s, got %s",
          text.show(name),
          text.show(values))
      end
    end
    local function run(body)
      if type(body) ~= "function" then
        failure.raise("invalid", "parallel expects a function(point) after its table, got %s",
          text.show(body))
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
    if select("#", ...) == 0 and type(format) ==
      "string" and format:gsub("%%%%", ""):find("%%") then
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
    local engine <const> = M.engine(reading, "sleep")
    if not engine then return unknown end
    return engine.sleep(seconds)
  end)
end

special.now = function(reading)
  return function()
    call.forbid "now"
    if reading.program.engine then return reading.program.engine.now() end
    local message <const> = "now has no answer at the top level: a run's time begins with the run; "
      .. "call it in a pipeline or in a task's function"
    if not reading.loading then failure.raise("invalid", "%s", message) end
    local where <const> = reading.here()
    where.name_here = "now"
    reading:problem(where, message)
    return unknown
  end
end

return M
