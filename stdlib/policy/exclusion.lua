-- Places that instances could not be used at, lately: they are tried last, for a while that doubles
-- each time, and are forgotten two weeks later.

local M = {}

M.first = 6 * 3600
M.longest = 7 * 24 * 3600

--- Seconds after the last of `count` failures for which a place is tried last.
---@param count integer
---@return number
function M.seconds(count) return math.min(M.first * 2 ^ (count - 1), M.longest) end

--- Whether the place of an offer failed so lately that others should be tried before it.
---@param offer { failed?: { count: integer, ago: number } }
---@return boolean
function M.is_excluded(offer)
  local failed <const> = offer.failed
  return failed ~= nil and failed.ago < M.seconds(failed.count)
end

return M
