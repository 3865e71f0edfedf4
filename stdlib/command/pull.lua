-- `choline pull NAME:/path [TO]`: brings files from a live instance.

local copy <const> = require "command.copy"

return function(arguments, context)
  return copy.run("pull", arguments.from, arguments.to or ".", arguments, context)
end
