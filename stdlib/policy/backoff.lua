-- How long to wait before the n-th try: grows by a factor up to a limit, with optional jitter so
-- that many tasks that failed together do not come back together.

local M = {}

---@class (exact) policy.Wait
---@field [1]? number       seconds before the first retry; default 0
---@field first? number     the same, by name
---@field up_to? number     the longest wait; default the first wait, or no limit when a factor is given
---@field factor? number    default 2 when up_to is given, else 1
---@field jitter? number    part of the wait that is random, 0 to 1; default 0

--- Seconds before retry `count` (1 for the first).
---@param wait number|policy.Wait|nil
---@param count integer
---@param random? fun(): number   in [0,1)
---@return number
function M.seconds(wait, count, random)
  if wait == nil then return 0 end
  if type(wait) == "number" then return wait end
  local first <const> = wait[1] or wait.first or 0
  local limit <const> = wait.up_to or (wait.factor and math.huge or first)
  local factor <const> = wait.factor or (wait.up_to and 2 or 1)
  local seconds = math.min(first * factor ^ math.min(count - 1, 64), math.max(limit, first))
  local jitter = wait.jitter
  if jitter == true then jitter = 0.5 end
  if jitter and jitter ~= false and jitter > 0 and random then
    seconds = seconds * (1 - jitter * random())
  end
  return seconds
end

return M
