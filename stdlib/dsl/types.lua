-- Types of the language that core/check does not know: references to what the cholfile declares,
-- providers, policies, metrics. `context.declared` maps the objects that words gave to
-- declarations.

local check <const> = require "core.check"
local conditions <const> = require "dsl.conditions"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local schedules <const> = require "dsl.schedules"
local text <const> = require "core.text"
local words <const> = require "dsl.words"

local M = {}

local function reference(word, article)
  local expected <const> = ("%s %s or its name"):format(article, word)
  return { expected = expected, parse = function(value, context)
    if type(value) == "string" then return value end
    local declaration <const> = context.declared[value]
    if declaration and declaration.word == word then return declaration.name end
    if declaration then
      return nil,
        ('expected %s, got the %s "%s"'):format(expected, declaration.word, declaration.name)
    end
    return nil, ("expected %s, got %s"):format(expected, text.show(value))
  end }
end

local task_reference <const> = reference("task", "a")

local function check_task_names(value, report, path, context)
  local items <const> = type(value) ==
    "table" and not context.declared[value] and value or { value }
  local names <const> = {}
  for index, item in ipairs(items) do
    local name <const>, message <const> = task_reference.parse(item, context)
    if check.is_unknown(item) then
      names[#names + 1] = nil
    elseif name then
      names[#names + 1] = name
    else
      path[#path + 1] = items == value and index or nil
      report(path, message)
      if items == value then path[#path] = nil end
    end
  end
  return names
end

local function check_kinds(value, report, path)
  local kinds <const> = type(value) == "string" and { value } or value
  if type(kinds) ~= "table" or not list.is_list(kinds) then
    report(path, ('expected kinds of failure such as { "crashed", "lost" }, got %s')
      :format(text.show(value)))
    return nil
  end
  for index, kind in ipairs(kinds) do
    if not check.is_unknown(kind) and not list.contains(failure.task_kinds, kind) then
      if kinds == value then path[#path + 1] = index end
      report(path, ("unknown kind of failure %s%s"):format(text.show(kind),
        text.nearest(kind, failure.task_kinds) and text.did_you_mean(kind, failure.task_kinds)
        or "; known: " .. text.join(failure.task_kinds)))
      if kinds == value then path[#path] = nil end
    end
  end
  return kinds
end

local function check_waits(value, report, path, context)
  if type(value) ~= "table" then
    local seconds <const> = check.value({ type = "duration" }, value, report, path, context)
    return seconds and { first = seconds, jitter = 0 }
  end
  local given <const> = list.copy(value)
  given[1] = nil
  local first
  if value[1] == nil then
    report(path, 'expected a first wait, as in { "30s", up_to = "10m" }')
  else
    path[#path + 1] = 1
    first = check.value({ type = "duration" }, value[1], report, path, context)
    path[#path] = nil
  end
  local typed <const> = check.fields(words.wait_fields, given, report, path,
    setmetatable({ what = '"wait"' }, { __index = context }))
  typed.first = first
  if typed.up_to and not typed.factor then typed.factor = 2 end
  return typed
end

local function check_providers(value, report, path, context)
  local items <const> = context.providers[value] and { value } or value
  if type(items) ~= "table" or not list.is_list(items) or #items == 0 then
    report(path, ("expected providers such as { here {} }, got %s"):format(text.show(value)))
    return nil
  end
  local settings <const> = {}
  for index, item in ipairs(items) do
    if context.providers[item] then
      settings[#settings + 1] = item
    elseif not check.is_unknown(item) then
      if items == value then path[#path + 1] = index end
      local hint <const> = type(item) == "string" and words.by_name[item]
        and ("; write %s {} without quotes"):format(item) or type(item) == "function"
        and "; call it, as in here {}" or ""
      report(path, ("expected a provider such as here {}, got %s%s"):format(text.show(item), hint))
      if items == value then path[#path] = nil end
    end
  end
  return settings
end

local function check_policy(value, report, path, context)
  if type(value) == "function" or context.policies[value] then return value end
  if type(value) == "table" and #value > 0 and list.is_list(value) then
    local typed <const> = {}
    for index, item in ipairs(value) do
      path[#path + 1] = index
      typed[#typed + 1] =
        not check.is_unknown(item) and check_policy(item, report, path, context) or nil
      path[#path] = nil
    end
    return typed
  end
  local key <const> = path[#path]
  report(path,
    ("expected a policy such as %s { … } or a function from (failure, history) to a verdict, got %s")
    :format(type(key) == "string" and key or "retry", text.show(value)))
  return nil
end

--- How many captures a Lua pattern has, or nil and what is wrong with it. Lua itself finds faults
--- only where a subject gets that far.
local function count_captures(pattern)
  local position, open, count = 1, 0, 0
  while position <= #pattern do
    local character <const> = pattern:sub(position, position)
    if character == "%" then
      if position == #pattern then return nil, "it ends with %" end
      position = position + (pattern:sub(position + 1, position + 1) == "b" and 3 or 1)
    elseif character == "[" then
      local close =
        pattern:find("]", position + (pattern:find("^%^?%]", position + 1) and 3 or 2), true)
      while close and pattern:sub(close - 1, close - 1) ==
        "%" and pattern:sub(close - 2, close - 1) ~= "%%" do
        close = pattern:find("]", close + 1, true)
      end
      if not close then return nil, "a [ without its ]" end
      position = close
    elseif character == "(" then
      open, count = open + 1, count + 1
    elseif character == ")" then
      open = open - 1
      if open < 0 then return nil, "a ) without its (" end
    end
    position = position + 1
  end
  if open > 0 then return nil, "a ( without its )" end
  return count
end

local function parse_pattern(value)
  if type(value) ~= "string" then
    return nil, ('expected a Lua pattern such as "loss=(%%S+)", got %s'):format(text.show(value))
  end
  local captures <const>, message <const> = count_captures(value)
  if not captures then
    return nil, ("the pattern %s is malformed: %s"):format(text.show(value), message)
  elseif captures == 0 then
    return nil,
      ('the pattern %s captures nothing; put the number in parentheses, as in "loss=(%%S+)"')
      :format(text.show(value))
  end
  return value
end

local function check_metric(value, report, path, context)
  if type(value) == "table" then
    return check.fields(words.metric_fields, value, report, path,
      setmetatable({ what = "the metric" }, { __index = context }))
  end
  local pattern <const> = check.value({ type = "pattern" }, value, report, path, context)
  return pattern and { pattern = pattern }
end

local function parse_env(value, context)
  local secret <const> = context.secrets[value]
  if secret then return { secret = secret.name, optional = secret.optional or nil } end
  if type(value) == "string" then return value end
  if type(value) == "number" or type(value) == "boolean" then return tostring(value) end
  return nil,
    ("expected a text, a number or a secret such as secret.NAME, got %s"):format(text.show(value))
end

local function parse_secret(value, context)
  local secret <const> = context.secrets[value]
  if secret then return { secret = secret.name } end
  -- what was given may be the password itself, so it is not shown
  return nil, ("expected a secret such as secret.NAME, got a %s"):format(type(value))
end

local function parse_lease(value)
  if value == false then return false end
  local expected <const> = ('expected a duration such as "30m", or false for no lease, got %s')
    :format(text.show(value))
  if type(value) ~= "string" then return nil, expected end
  local seconds <const>, message <const> = duration.parse(value)
  if seconds and seconds <= 0 then
    return nil, expected .. "; an instance with this lease would end at once"
  end
  return seconds, message
end

local choosers <const> = { "cheapest", "fastest", "most_reliable" }

local function parse_chooser(value)
  if type(value) == "function" or list.contains(choosers, value) then return value end
  return nil,
    ("expected cheapest, fastest, most_reliable or a function from offers to their order, got %s%s")
    :format(text.show(value), text.did_you_mean(value, choosers))
end

M.types = {
  instance = reference("instance", "an"),
  ["sync name"] = reference("sync", "a"),
  ["task names"] = { expected = "tasks", check = check_task_names },
  ["failure kinds"] = { expected = "kinds of failure", check = check_kinds },
  waits = { expected = "a wait", check = check_waits },
  providers = { expected = "providers", check = check_providers },
  policy = { expected = "a policy", check = check_policy },
  pattern = { expected = "a Lua pattern", accepts = "string", parse = parse_pattern },
  metric = { expected = "a metric", check = check_metric },
  env_value = { expected = "a text, a number or a secret", parse = parse_env },
  secret = { expected = "a secret such as secret.NAME", parse = parse_secret },
  lease = { expected = "a duration or false", parse = parse_lease },
  chooser = { expected = "a chooser", parse = parse_chooser },
}
for _, part in ipairs { schedules, conditions } do
  for name, kind in pairs(part.types) do M.types[name] = kind end
end

return M
