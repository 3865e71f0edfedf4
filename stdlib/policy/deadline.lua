-- The table policy `deadline "36h"`: gives up when the task has been tried for longer than that; no
-- opinion before. First in a list of policies, so that it is asked before the one that tries again.

local verdict <const> = require "policy.verdict"

local M = {}

---@param policy { seconds: number }
---@param context { now: number, began: number }
---@return policy.Verdict|nil
function M.decide(policy, _, _, context)
  local spent <const> = context.now - context.began
  if spent < policy.seconds then return nil end
  return verdict.give_up(("tried for %ds; the deadline was %ds"):format(spent, policy.seconds))
end

return M
