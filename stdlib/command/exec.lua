-- `choline exec INSTANCE -- COMMAND`: a command on a live instance, with its output and its exit
-- code.

local native <const> = require "native"
local rows_of <const> = require "command.rows"

--- The folder that the run's commands stand in; nil: the instance's home.
local function folder_of(instance)
  if not instance.run then return nil end
  for _, shown in pairs(native.store.shown(instance.run)) do
    if type(shown) == "table" and shown.tag == instance.tag then return shown.folder end
  end
  return nil
end

return function(arguments)
  local instance <const> = rows_of.find_instance(arguments.instance, arguments.run)
  local words <const> = arguments.command
  local command <const> = #words == 1 and { shell = words[1] } or { list = words }
  local result <const> = native.instance.exec(instance.tag, command, {
    dir = folder_of(instance),
  })
  native.sys.write(1, result.out)
  native.sys.write(2, result.err)
  return result.code
end
