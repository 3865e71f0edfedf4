-- `choline version`: which choline this is.

local native <const> = require "native"

return function(arguments, context)
  if arguments.json then
    context.json { version = native.version, lua = _VERSION }
  else
    context.out("choline " .. native.version)
  end
  return 0
end
