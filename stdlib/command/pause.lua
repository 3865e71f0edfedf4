-- `choline pause [RUN]`: lets the commands write a checkpoint and end, brings it here, and stops
-- paying.

local failure <const> = require "core.failure"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local function wait_for_pause(id)
  while true do
    local row <const> = native.store.find(id)
    if row.state == "paused" or row.finished or not row.owner then return row end
    native.wait.sleep(0.2)
  end
end

return function(arguments, context)
  local row <const> = native.store.find(arguments.run)
  if row.state == "paused" then
    context.say(("run %s is paused already"):format(row.id))
    return 0
  end
  if row.finished then failure.raise("conflict", "run %s is %s", row.id, row.state) end
  local answer <const> = native.run.request(row.id, "pause", {}, 10)
  if not answer then
    failure.raise("conflict",
      "no process owns run %s now; `choline resume %s` goes on with it, `choline stop %s` ends it",
      row.id, row.id, row.id)
  end
  if not answer.accepted then
    failure.raise("conflict", "run %s cannot be paused now: %s", row.id, answer.why)
  end
  context.say("waiting until the tasks have ended and their checkpoints are here")
  local after <const> = wait_for_pause(row.id)
  if arguments.json then context.json { id = row.id, state = rows_of.state(after),
    cost = after.cost }
  else context.out(("run %s is %s"):format(row.id, after.state)) end
  return after.state == "paused" and 0 or 8
end
