-- The table policy `failover { on, choose, max }`: go on with another offer.

local retry <const> = require "policy.retry"
local verdict <const> = require "policy.verdict"

local M = {}

M.default_on = { "preempted", "lost" }
M.default_max = 10

--- A verdict, or nil when the failure is none of this policy's.
---@param policy { max?: integer, on?: string[] }
---@return policy.Verdict|nil
function M.decide(policy, failure, history)
  local kinds <const> = policy.on or M.default_on
  if not retry.covers(kinds, failure.kind) then return nil end
  local count <const> = retry.count(kinds, history) + 1
  local max <const> = policy.max or M.default_max
  if count > max then
    return verdict.give_up(("%s %d times; failover allows %d other %s"):format(
      failure.kind, count, max, max == 1 and "instance" or "instances"))
  end
  return verdict.fail_over(("failover %d of %d"):format(count, max))
end

return M
