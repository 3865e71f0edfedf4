-- `choline drill FAULT [INSTANCE]`: causes a fault on the local provider, to see that all goes on.

local failure <const> = require "core.failure"
local native <const> = require "native"
local rows_of <const> = require "command.rows"

local actions <const> = { kill = "preempt", lose = "lose", refuse = "refuse", delay = "delay",
  ["lose-reply"] = "lose_reply" }
local needs_instance <const> = { kill = true, lose = true }

return function(arguments, context)
  local fault <const> = { action = actions[arguments.fault], count = arguments.count,
    seconds = arguments.seconds }
  if arguments.count and arguments.count < 1 then
    failure.raise("invalid", "--count: expected 1 or more, got %d", arguments.count)
  end
  if needs_instance[arguments.fault] and not arguments.instance then
    failure.raise("invalid", "choline drill %s needs an instance: choline drill %s NAME",
      arguments.fault, arguments.fault)
  end
  if arguments.instance then
    fault.instance = rows_of.find_instance(arguments.instance, arguments.run).tag
  end
  local done <const> = native.provider.drill("local", fault)
  if arguments.json then context.json(done)
  else context.out(arguments.instance and ("%s: %s"):format(arguments.fault, arguments.instance)
    or arguments.fault .. ": set") end
  return 0
end
