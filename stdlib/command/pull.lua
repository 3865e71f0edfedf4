-- `choline pull NAME:/path [TO]`: brings files from an instance or a host.

local copy <const> = require "command.copy"

return function(arguments, context)
  copy.check_far("pull", arguments.from, "gpu:/work")
  arguments.to = arguments.to or "."
  return copy.run("pull", arguments, context)
end
