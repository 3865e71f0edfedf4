-- Policies are pure: while one is asked, nothing may wait or touch the world. Words of a cholfile
-- that would do so call `guard` first.

local failure <const> = require "core.failure"

local M = {}

local asking = {}

--- Calls `fn(...)` as the pure function `what` ("retry of task \"train\""); what it raises passes through.
---@param what string
---@param fn function
---@param ... any
---@return any ...
function M.call(what, fn, ...)
  asking[#asking + 1] = what
  local depth <const> = #asking
  -- Only to take the mark away: the failure goes on as it was.
  local results <const> = table.pack(pcall(fn, ...))
  for index = #asking, depth, -1 do asking[index] = nil end
  if not results[1] then error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

---@return string|nil  what is being asked now
function M.asking()
  return asking[#asking]
end

--- Raises when a pure function is being asked. `verb` is what it tried: "gpu:acquire".
---@param verb string
function M.guard(verb)
  local what <const> = asking[#asking]
  if what then
    failure.raise("invalid", "%s called %s, but a policy may not wait or touch the world: it answers with "
      .. "a verdict such as wait \"30s\", fail_over() or give_up \"why\"", what, verb)
  end
end

return M
