-- `choline stop [RUN]`: ends a run and its instances, through its process when there is one.

local ask <const> = require "talk.ask"
local ask_owner <const> = require "command.ask_owner"
local list <const> = require "core.list"
local money <const> = require "core.money"
local native <const> = require "native"
local release <const> = require "command.release"
local rows_of <const> = require "command.rows"
local saved <const> = require "command.saved"

local over <const> = { done = true, failed = true, stopped = true }

local function names(instances)
  return table.concat(list.map(instances, function(each)
    return ("%s (%s)"):format(each.name, money.format_price(each.price or 0))
  end), ", ")
end

--- Waits until the owner has ended the run.
local function wait_for_end(id, seconds)
  local until_time <const> = native.clock.wall() + seconds
  while native.clock.wall() < until_time do
    local row <const> = native.store.find(id)
    if over[row.state] then return row end
    if not row.owner then return nil end
    native.wait.sleep(0.05)
  end
  return nil
end

--- Ends the run from its rows alone; nobody owns it.
local function stop_here(row, context)
  local ended <const>, left <const> = release.run(row)
  for _, each in ipairs(ended) do context.say(("released %s"):format(each.name)) end
  for _, each in ipairs(left) do
    context.say(("%s could not be ended: %s; `choline gc` tries again"):format(each.name,
      each.error or "no reason given"))
  end
  return #left == 0
end

local function report(id, arguments, context, ok)
  local row <const> = native.store.find(id)
  if arguments.json then
    context.json { id = id, state = rows_of.state(row), cost = row.cost,
      checkpoints = native.json.array(saved.checkpoints(id)) }
  else
    context.out(("run %s is %s, cost %s%s"):format(id, row.state, money.format(row.cost or 0),
      saved.sentence(id)))
  end
  return ok and 0 or 1
end

return function(arguments, context)
  local row <const> = native.store.find(arguments.run)
  local living <const> = native.store.instances { run = row.id, alive = true }
  if over[row.state] and #living == 0 then return report(row.id, arguments, context, true) end
  if arguments.run == nil and not arguments.yes and native.sys.terminal(0) then
    if not ask.confirm(("stop run %s (%s, %s)?"):format(row.id, row.name, row.state), false) then
      return 1
    end
  end
  local answer <const> = ask_owner(row, "stop", { now = arguments.now == true })
  if not answer then
    return report(row.id, arguments, context, stop_here(row, context))
  end
  if #(answer.releasing or {}) > 0 then context.say("releasing " .. names(answer.releasing)) end
  local ended <const> = wait_for_end(row.id, 600)
  if not ended then return report(row.id, arguments, context, stop_here(row, context)) end
  return report(row.id, arguments, context, true)
end
