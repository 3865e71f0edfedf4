-- The table policy `retry { max, on, wait }`: try again on the same instance.

local backoff <const> = require "policy.backoff"
local verdict <const> = require "policy.verdict"

local M = {}

M.default_on = { "crashed", "lost", "stalled" }
M.default_max = 3

---@param kinds string[]
function M.covers(kinds, kind)
  for _, name in ipairs(kinds) do
    if name == kind then return true end
  end
  return false
end

--- How many of `history` are of a kind in `kinds`.
---@return integer
function M.count(kinds, history)
  local count = 0
  for _, past in ipairs(history) do
    if M.covers(kinds, past.failure.kind) then count = count + 1 end
  end
  return count
end

--- A verdict, or nil when the failure is none of this policy's.
---@param policy { max?: integer, on?: string[], wait?: number|policy.Wait }
---@param failure table
---@param history policy.Past[]
---@param context { random?: fun(): number }
---@return policy.Verdict|nil
function M.decide(policy, failure, history, context)
  local kinds <const> = policy.on or M.default_on
  if not M.covers(kinds, failure.kind) then return nil end
  local count <const> = M.count(kinds, history) + 1
  local max <const> = policy.max or M.default_max
  if count > max then
    return verdict.give_up(("%s %d times; retry allows %d more %s than the first"):format(
      failure.kind, count, max, max == 1 and "attempt" or "attempts"))
  end
  local seconds <const> = backoff.seconds(policy.wait, count, context.random)
  return verdict.wait(seconds, ("retry %d of %d"):format(count, max))
end

return M
