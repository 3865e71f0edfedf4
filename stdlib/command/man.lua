-- `choline man`: the manual page, made of the commands' specs.

local completion <const> = require "talk.completion"
local failure <const> = require "core.failure"
local native <const> = require "native"
local specs <const> = require "command.specs"

return function()
  native.sys.write(1, completion.man(specs, native.version, failure.catalogue))
  return 0
end
