-- `choline completion SHELL`: a completion script, made of the commands' specs.

local completion <const> = require "talk.completion"
local native <const> = require "native"
local specs <const> = require "command.specs"
local words <const> = require "dsl.words"

return function(arguments)
  native.sys.write(1, completion[arguments.shell](specs, words.names))
  return 0
end
