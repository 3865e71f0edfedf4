-- Tables that answer an unknown name with an error instead of nil.

local text <const> = require "core.text"
local list <const> = require "core.list"

local M = {}

--- Makes reading an unknown key of `t`, or adding one, an error that names the nearest known key.
---@generic T
---@param t T
---@param what string  "exit code", for the message
---@return T
function M.lock(t, what)
  local function refuse(_, key)
    error(("unknown %s %s%s"):format(what, text.show(key), text.did_you_mean(key, list.keys(t))), 2)
  end
  return setmetatable(t, { __index = refuse, __newindex = refuse })
end

return M
