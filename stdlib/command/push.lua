-- `choline push FROM NAME:/path`: sends files to a live instance.

local copy <const> = require "command.copy"

return function(arguments, context)
  return copy.run("push", arguments.from, arguments.to, arguments, context)
end
