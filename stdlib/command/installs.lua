-- The installations that this computer's user had, by their ids: kept beside the credentials, in
-- the config folder, so that the loss of the state folder makes no stranger of their instances.

local native <const> = require "native"
local path <const> = require "core.path"

local M = {}

local function file() return path.join(native.sys.folders().config, "installs") end

---@return table<string, string>   id → where it was
function M.known()
  local out <const> = {}
  if not native.fs.stat(file()) then return out end
  for line in native.fs.read(file()):gmatch("[^\n]+") do
    local id <const>, where <const> = line:match("^(%w+)%s+(.*)$")
    if id then out[id] = where end
  end
  return out
end

--- Remembers the present one. A config folder that cannot be written costs no run.
function M.remember()
  local id <const> = native.sys.facts().install
  if not id or id == "" or M.known()[id] then return end
  pcall(function()
    local folders <const> = native.sys.folders()
    local before <const> = native.fs.stat(file()) and native.fs.read(file()) or ""
    native.fs.make_folder(folders.config)
    native.fs.write(file(), ("%s%s %s:%s\n"):format(before, id, native.sys.facts().host,
      folders.state), 384) -- 0600
  end)
end

return M
