-- `choline push FROM NAME:/path`: sends files to an instance or a host.

local copy <const> = require "command.copy"

return function(arguments, context)
  copy.check_far("push", arguments.to, "gpu:/work")
  return copy.run("push", arguments, context)
end
