-- `choline key`: the public half of choline's own ssh key.

local native <const> = require "native"

return function(arguments, context)
  local key <const> = native.provider.key()
  if arguments.json then
    context.json(key)
  else
    context.out(key.line)
  end
  return 0
end
