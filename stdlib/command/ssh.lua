-- `choline ssh INSTANCE [-- COMMAND]`: a shell on a live instance, on a terminal as here; in a
-- pipe, a shell that reads its commands from it.

local attach <const> = require "command.attach"

return function(arguments)
  return attach.run(attach.find(arguments), arguments.command, {
    terminal = attach.is_interactive(), secrets = arguments.secrets,
  })
end
