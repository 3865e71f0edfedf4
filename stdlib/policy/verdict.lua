-- What a policy answers. A verdict is a small table with the field `verdict`; only this module
-- makes them, so that a policy that returns something else is told so.

local M = {}

---@class policy.Verdict
---@field verdict "again"|"wait"|"fail_over"|"pause"|"give_up"
---@field seconds? number   of a wait
---@field why? string       of give_up, and what a table policy wants `choline why` to say

local meta <const> = { __name = "verdict" }

---@return policy.Verdict
local function new(fields) return setmetatable(fields, meta) end

function meta.__tostring(verdict)
  if verdict.verdict == "wait" then return ("wait %gs"):format(verdict.seconds) end
  if verdict.verdict == "give_up" then return "give up: " .. verdict.why end
  return (verdict.verdict:gsub("_", " "))
end

--- Tries again on the same instance, at once.
---@return policy.Verdict
function M.again() return new { verdict = "again" } end

--- Tries again on the same instance after `seconds`.
---@param seconds number
---@param why? string
---@return policy.Verdict
function M.wait(seconds, why) return new { verdict = "wait", seconds = seconds, why = why } end

--- Goes on with another offer.
---@param why? string
---@return policy.Verdict
function M.fail_over(why) return new { verdict = "fail_over", why = why } end

--- Stops paying and waits for `choline resume`.
---@return policy.Verdict
function M.pause() return new { verdict = "pause" } end

--- Ends the task as failed.
---@param why? string
---@return policy.Verdict
function M.give_up(why) return new { verdict = "give_up", why = why or "the policy gave up" } end

---@return boolean
function M.is(value) return getmetatable(value) == meta end

return M
