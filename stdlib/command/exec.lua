-- `choline exec INSTANCE -- COMMAND`: a command on a live instance, with its output and its exit
-- code.

local native <const> = require "native"
local rows_of <const> = require "command.rows"

return function(arguments)
  local instance <const> = rows_of.find_instance(arguments.instance, arguments.run)
  local words <const> = arguments.command
  local command <const> = #words == 1 and { shell = words[1] } or { list = words }
  local result <const> = native.instance.exec(instance.tag, command, {})
  native.sys.write(1, result.out)
  native.sys.write(2, result.err)
  return result.code
end
