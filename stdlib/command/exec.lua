-- `choline exec INSTANCE -- COMMAND`: a command on a live instance, with its output and its exit
-- code.

local native <const> = require "native"
local rows_of <const> = require "command.rows"

local function shown_folder(instance)
  for _, shown in pairs(native.store.shown(instance.run)) do
    if type(shown) == "table" and shown.tag == instance.tag then return shown.folder end
  end
  return nil
end

--- The folder that the run's commands stand in; nil: the instance's home. What a run shows reaches
--- the store a moment later than what it does, so a young instance is waited for.
---@async
local function folder_of(instance)
  if not instance.run or instance.run == "" then return nil end
  local until_time <const> = native.clock.wall() + 3
  while true do
    local folder <const> = shown_folder(instance)
    if folder or not native.store.find(instance.run).owner
      or native.clock.wall() > until_time then return folder end
    native.wait.sleep(0.05)
  end
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
