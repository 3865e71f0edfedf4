-- `choline set [RUN] NAME=VALUE …`: changes params of a run that is not over, or its budget. The
-- change is an event of the run; a run that nobody owns takes it up when it goes on.

local ask_owner <const> = require "command.ask_owner"
local check <const> = require "core.check"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local params <const> = require "dsl.params"
local source <const> = require "command.source"
local text <const> = require "core.text"

local function money(value)
  local message
  local read <const> = check.value({ type = "money" }, value, function(_, why)
    message = message or why
  end, {})
  if message then failure.raise("invalid", "budget: %s", message) end
  return read
end

--- The value of NAME=VALUE in the type of the param; raises what is wrong with it.
local function typed(program, name, given)
  local declared <const> = list.find(program.params, function(each) return each.name == name end)
  if not declared then
    if name == "budget" then return money(given.value) end
    local names <const> = list.map(program.params, function(each) return each.name end)
    names[#names + 1] = "budget"
    failure.raise("not_found", "the run has no param \"%s\"%s; there are: %s", name,
      text.did_you_mean(name, names), table.concat(names, ", "))
  end
  local value <const>, message <const> = params.typed(declared, given)
  if message then failure.raise("invalid", "param \"%s\": %s", name, message) end
  return value
end

--- Writes the request into the events of a run that nobody owns.
local function note(id, name, value, request)
  native.run.own(id)
  native.run.event("set_requested", { name = name, value = value, request = request,
    by = native.sys.facts().user }, "set_requested/" .. request)
  native.run.disown()
end

local function set(row, name, value, context)
  local request <const> = native.text.random_id()
  local answer <const> = ask_owner(row, "set", { name = name, value = value, request = request })
  if answer and not answer.accepted then
    failure.raise("conflict", "%s of run %s cannot be set now: %s", name, row.id,
      answer.why or "it was refused")
  end
  if not answer then note(row.id, name, value, request) end
  context.say(("run %s: %s=%s%s"):format(row.id, name, tostring(value), answer and ""
    or ", when it goes on"))
end

return function(arguments, context)
  local given <const> = {}
  params.add_assignments(given, arguments.assignments or {})
  if next(given) == nil then
    failure.raise("invalid", "say what to set: choline set %s NAME=VALUE", arguments.run or "RUN")
  end
  local row <const> = native.store.find(arguments.run)
  if row.finished then failure.raise("conflict", "run %s is %s", row.id, row.state) end
  local program <const> = source.stored(row, context)
  if not program then return 2 end
  local values <const> = {}
  for name, each in list.sorted(given) do values[name] = typed(program, name, each) end
  for name, value in list.sorted(values) do set(native.store.find(row.id), name, value, context) end
  if arguments.json then context.json { id = row.id, set = values } end
  return 0
end
