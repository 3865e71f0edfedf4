-- `choline sync FROM TO`: makes TO like FROM, once or again and again.

local copy <const> = require "command.copy"

return function(arguments, context) return copy.run("sync", arguments, context) end
