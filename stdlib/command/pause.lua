-- `choline pause [RUN]`: lets the commands write a checkpoint and end, brings it here, verifies it,
-- and stops paying.

local failure <const> = require "core.failure"
local lines <const> = require "talk.lines"
local native <const> = require "native"
local owner <const> = require "command.owner"
local rows_of <const> = require "command.rows"
local saved <const> = require "command.saved"
local source <const> = require "command.source"

local told <const> = { pause_requested = true, pause_secured = true, checkpoint_repeated = true,
  sync_failed = true, checkpoint_invalid = true, pause_held = true, pause_refused = true,
  instance_released = true, release_failed = true }

local look_every <const> = 0.05 -- seconds

--- Follows the run until it is paused or the pause cannot be had. Gives the row, and the event that
--- says why not.
local function wait_for_pause(id, after, context)
  while true do
    local row <const> = native.store.find(id)
    local stuck
    for _, event in ipairs(native.store.events(id, after)) do
      after = event.id
      if told[event.kind] then context.say(lines.text(event)) end
      if event.kind == "pause_refused" or (event.kind == "pause_held" and not event.data.again) then
        stuck = event
      end
    end
    if stuck then return row, stuck end
    if row.finished or not row.owner then return row end
    native.wait.sleep(look_every)
  end
end

local function say_stuck(id, stuck, context)
  if stuck.kind == "pause_refused" then
    context.say(("the command goes on and costs what it did; `choline pause %s --now` ends it and "
      .. "loses its work, `choline stop %s` ends the run"):format(id, id))
  else
    context.say(("its instance is kept and paid for, so that nothing is lost: look with `choline "
      .. "exec` or fetch files with `choline pull`; `choline pause %s --now` gives it up, "
      .. "`choline resume %s` begins anew on it"):format(id, id))
  end
end

local function report(row, stuck, arguments, context)
  if stuck then say_stuck(row.id, stuck, context) end
  if arguments.json then
    context.json { id = row.id, state = rows_of.state(row), cost = row.cost or 0.0,
      checkpoints = native.json.array(saved.checkpoints(row.id)) }
  elseif row.state == "paused" then
    context.out(("run %s is paused%s"):format(row.id, saved.sentence(row.id)))
  elseif not row.finished and not row.owner then
    context.out(("run %s was interrupted before it was paused; `choline pause %s` tries again")
      :format(row.id, row.id))
  else
    context.out(("run %s is %s"):format(row.id, row.state))
  end
  return row.state == "paused" and 0 or 8
end

--- Nobody owns the run, and its instances cost money: this process takes it to pause it.
local function pause_here(row, arguments, context)
  local program <const> = source.stored(row, context)
  if not program then return 2 end
  context.say(("run %s was interrupted; it is taken up to be paused"):format(row.id))
  owner.execute(row.id, program, { json = arguments.json, plain = true, resumed = true,
    order = { verb = "pause", now = arguments.now == true },
    when_paused = function() report(native.store.find(row.id), nil, arguments, context) end })
  return report(native.store.find(row.id), nil, arguments, context)
end

return function(arguments, context)
  local row <const> = native.store.find(arguments.run)
  if row.state == "paused" and not row.owner then
    context.say(("run %s is paused already"):format(row.id))
    return 0
  end
  if row.finished then failure.raise("conflict", "run %s is %s", row.id, row.state) end
  local answer <const> = row.owner and native.run.request(row.id, "pause",
    { now = arguments.now == true }, 10)
  if not answer then
    local again <const> = native.store.find(row.id) -- its process may have ended just now
    if again.finished or again.state == "paused" then
      return report(again, nil, arguments, context)
    end
    return pause_here(again, arguments, context)
  end
  if not answer.accepted then
    failure.raise("conflict", "run %s cannot be paused now: %s", row.id, answer.why)
  end
  local after <const>, stuck <const> = wait_for_pause(row.id, answer.after or 0, context)
  return report(after, stuck, arguments, context)
end
