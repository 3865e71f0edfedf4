-- `choline resume [RUN]`: goes on with a run that was paused or interrupted, from its stored
-- sources.

local detach <const> = require("command.run").detach
local failure <const> = require "core.failure"
local native <const> = require "native"
local owner <const> = require "command.owner"
local source <const> = require "command.source"

local over <const> = { done = true, failed = true, stopped = true }

return function(arguments, context)
  local row <const> = native.store.find(arguments.run)
  if over[row.state] then
    failure.raise("conflict", "run %s is %s; start another with `choline run`", row.id, row.state)
  end
  local changed <const> = source.changed(row)
  if #changed > 0 then
    context.say(("%s changed since the run began; it goes on with what it began with"):format(
      table.concat(changed, ", ")))
  end
  if arguments.detach then
    context.out(row.id)
    return detach(row.id, context)
  end
  local program <const> = source.stored(row, context)
  if not program then return 2 end
  source.check_secrets(program)
  source.check_agent()
  local fresh <const> = #native.store.events(row.id, 0, 1) == 0
  if not fresh then context.out(row.id) end
  return owner.execute(row.id, program, { plain = arguments.plain, json = arguments.json,
    resumed = not fresh or nil })
end
