-- `choline exec INSTANCE -- COMMAND`: a command on a live instance, with its input, its output as
-- it comes, and its exit code.

local attach <const> = require "command.attach"
local failure <const> = require "core.failure"

return function(arguments)
  if arguments.terminal and not attach.is_interactive() then
    failure.raise("invalid",
      "choline exec -t needs a terminal here, for input and output; without -t "
      .. "the command has pipes")
  end
  return attach.run(attach.find(arguments), arguments.command, {
    terminal = arguments.terminal, input = not arguments.no_input, secrets = arguments.secrets,
  })
end
