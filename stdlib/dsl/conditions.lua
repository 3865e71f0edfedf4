-- The words of conditions: when, metric, all, any, for_ and their like; and what can be said of
-- conditions only when their task is known.

local check <const> = require "core.check"
local condition <const> = require "policy.condition"
local data <const> = require "dsl.condition_words"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value

local M = {}

local expected <const> = 'a condition such as metric "loss":plateau { over = 50 }'

-- The field of a task that takes one.
M.types = { condition = { expected = "when(…) with " .. expected, parse = function(value, context)
  local said <const> = context.whens[value]
  if said then return said end
  if context.conditions[value] then
    return nil, ("expected when(…) around the condition; write when(%s)"):format(
      condition.text(value))
  end
  return nil, ("expected %s, got %s"):format(M.types.condition.expected, text.show(value))
end } }

-- Words -------------------------------------------------------------------------------------------

local function tell(reading, name, message)
  if not reading.loading then failure.raise("invalid", "%s", message) end
  local where <const> = reading.here()
  where.name_here = name
  reading:problem(where, message)
  return unknown
end

local function make(reading, said)
  reading.context.conditions[said] = true
  return said
end

--- Is it a condition? Else a problem is told, once.
local function is_condition(reading, name, value)
  if reading.context.conditions[value] then return true end
  if check.is_unknown(value) then return false end
  local hint <const> = reading.context.whens[value] and "; when(…) goes around all of it"
    or reading.context.metrics[value] and "; ask it, as in metric \"NAME\":reaches(0.9)"
    or type(value) == "function" and "; call it, as in stalled \"20m\"" or ""
  tell(reading, name, ("%s: expected %s, got %s%s"):format(name, expected,
    reading.context.metrics[value] and "a metric" or reading.context.whens[value] and "when(…)"
      or text.show(value), hint))
  return false
end

--- The typed value of a word that takes one, or nil after a problem was told.
local function typed_value(reading, name, field, value)
  local told = check.is_unknown(value)
  if value == nil then
    told = true
    tell(reading, name, ("%s needs a value, such as %s"):format(name, field.example))
  end
  local typed <const> = not told and check.value(field, value, function(_, message)
    tell(reading, name, ("%s: %s"):format(name, message))
  end, {}, reading.context) or nil
  return typed
end

local function typed_fields(reading, name, fields, given)
  if check.is_unknown(given) then return nil end
  if given ~= nil and type(given) ~= "table" then
    tell(reading, name, ("%s: expected a table such as { %s = %s }, got %s"):format(name,
      fields[1].name, fields[1].example, text.show(given)))
    return nil
  end
  local right = true
  local context <const> = setmetatable({ what = name }, { __index = reading.context })
  local typed <const> = check.fields(fields, given or {}, function(path, message, at)
    right = false
    tell(reading, name, ("%s: %s%s"):format(name, #path > 0 and at ~= "key"
      and check.path_text(path) .. ": " or "", message))
  end, {}, context)
  return right and typed or nil
end

--- Makes the condition of a word, or of a method of `metric`, from what follows it.
local function said_of(reading, word, metric, given)
  local said = { kind = word.name, metric = metric }
  if word.call == "value" then
    local value <const> = typed_value(reading, word.name, word.value, given)
    if value == nil then return unknown end
    local names <const> = { time = "seconds" }
    said[names[word.value.name] or word.value.name] = value
  elseif word.call == "table" then
    local typed <const> = typed_fields(reading, word.name, word.fields, given)
    if not typed then return unknown end
    for name, value in pairs(typed) do said[name] = value end
  elseif given ~= nil then
    return tell(reading, word.name, ("%s takes nothing; write metric %q:%s()"):format(word.name,
      metric, word.name))
  end
  if word.name == "eta_after" and said.time.cron then
    return tell(reading, word.name, "eta_after: expected one moment, got a repeated time")
  end
  return make(reading, said)
end

M.words = {}

for _, name in ipairs { "stalled", "spent", "lasts" } do
  M.words[name] = function(reading, word)
    return function(given) return said_of(reading, word, nil, given) end
  end
end

local function methods(reading, name)
  local names <const> = list.map(data.methods, function(method) return method.name end)
  return function(object, key)
    local method <const> = list.find(data.methods, function(each) return each.name == key end)
    if not method then
      tell(reading, tostring(key), ("metric %q has no %s%s"):format(name, text.show(key),
        text.nearest(tostring(key), names) and text.did_you_mean(tostring(key), names)
        or "; known: " .. text.join(names)))
      return function() return unknown end
    end
    return function(subject, given)
      if subject ~= object then
        return tell(reading, method.name, ("write a colon before %s, as in %s"):format(method.name,
          method.example))
      end
      return said_of(reading, method, name, given)
    end
  end
end

function M.words.metric(reading)
  return function(name)
    if check.is_unknown(name) then return unknown end
    if type(name) ~= "string" then
      return tell(reading, "metric", ('expected a name after metric, as in metric "loss", got %s')
        :format(text.show(name)))
    end
    local object <const> = setmetatable({}, { __name = "metric", __metatable = false,
      __index = methods(reading, name),
      __tostring = function() return ("metric %q"):format(name) end,
      __newindex = function() failure.raise("invalid", "metric %q cannot be changed", name) end })
    reading.context.metrics[object] = true
    return object
  end
end

for _, name in ipairs { "all", "any" } do
  M.words[name] = function(reading)
    return function(given)
      if check.is_unknown(given) then return unknown end
      if type(given) ~= "table" or reading.context.conditions[given] or not list.is_list(given)
        or #given == 0 then
        return tell(reading, name, ('%s: expected a list of conditions, as in %s { '
          .. 'metric "loss":not_finite(), stalled "20m" }, got %s'):format(name, name,
            reading.context.conditions[given] and "one condition" or text.show(given)))
      end
      local right = true
      for _, each in ipairs(given) do right = is_condition(reading, name, each) and right end
      return right and make(reading, { kind = name, of = list.copy(given) }) or unknown
    end
  end
end

function M.words.for_(reading)
  local field <const> = { name = "time", type = "duration", example = '"10m"' }
  return function(time, what)
    local function make_with(inner)
      local seconds <const> = typed_value(reading, "for_", field, time)
      if not is_condition(reading, "for_", inner) or not seconds then return unknown end
      return make(reading, { kind = "for_", seconds = seconds, what = inner })
    end
    if what == nil then return make_with end
    return make_with(what)
  end
end

function M.words.when(reading)
  return function(said)
    if not is_condition(reading, "when", said) then return unknown end
    local object <const> = setmetatable({}, { __name = "when", __metatable = false,
      __tostring = function() return ("when(%s)"):format(condition.text(said)) end })
    reading.context.whens[object] = said
    return object
  end
end

-- With their task ---------------------------------------------------------------------------------

local function check_metric(task, path, said, tell_of)
  local declared <const> = task.fields.metrics or {}
  local how <const> = declared[said.metric]
  if not how then
    local names <const> = list.keys(declared)
    tell_of(path, ("the task has no metric %q%s"):format(said.metric,
      text.nearest(said.metric, names) and text.did_you_mean(said.metric, names)
      or #names > 0 and "; known: " .. text.join(names) or "; its `metrics` declares none"))
  elseif said.kind == "reaches" and condition.goal(said.metric, how) == "min" then
    tell_of(path, ("less is better for metric %q, and reaches(%s) holds from there upwards; write "
      .. "drops_below(%s) for small enough, or rises_above(%s) for too large"):format(said.metric,
        text.show(said.value), text.show(said.value), text.show(said.value)))
  end
end

--- Reports what is wrong with the conditions of a task.
---@param tell_of fun(path: any[], message: string)
function M.check(task, tell_of)
  for _, name in ipairs { "stop", "fail" } do
    local said <const> = task.fields[name]
    if said and type(task.fields.run) == "function" then
      tell_of({ name }, "a task whose run is a function has no command that a condition could end")
    elseif said then
      condition.each(said, function(each)
        if each.metric then check_metric(task, { name }, each, tell_of) end
      end)
    end
  end
end

return M
