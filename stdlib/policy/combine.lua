-- Several policies become one answer: the first that has an opinion. What nobody has an opinion on
-- ends the task.

local call <const> = require "policy.call"
local deadline <const> = require "policy.deadline"
local failover <const> = require "policy.failover"
local failure <const> = require "core.failure"
local retry <const> = require "policy.retry"
local verdict <const> = require "policy.verdict"

local M = {}

---@class policy.Past           one earlier failure of the same task
---@field attempt integer
---@field failure table
---@field verdict policy.Verdict
---@field instance string|nil   its name
---@field started number
---@field ended number

---@class policy.Context
---@field now number
---@field began number              start of the task's first attempt
---@field random? fun(): number
---@field params? table<string, any>  of the run, as they are now

local deciders <const> = { retry = retry.decide, failover = failover.decide,
  deadline = deadline.decide }

--- Kinds after which the same instance cannot be used again.
local gone <const> = { preempted = true, lost = true }

---@return boolean
function M.instance_gone(happened) return gone[happened.kind] == true end

local function ask(policy, happened, history, context)
  if type(policy) == "function" then return call.policy(policy, happened, history, context) end
  if policy.kind == nil then
    for _, each in ipairs(policy) do
      local answer <const> = ask(each, happened, history, context)
      if answer then return answer end
    end
    return nil
  end
  local decide <const> = deciders[policy.kind]
  if not decide then failure.raise("invalid", "no policy is called %q", policy.kind) end
  return decide(policy, happened, history, context)
end

--- The verdict of `policies` on a failure. After an instance is gone failover is asked before
--- retry.
---@param policies { retry?: table|function, failover?: table|function }
---@param happened table
---@param history policy.Past[]
---@param context policy.Context
---@return policy.Verdict
function M.decide(policies, happened, history, context)
  local first, second = policies.retry, policies.failover
  if M.instance_gone(happened) then first, second = second, first end
  local answer <const> = first and ask(first, happened, history, context)
    or second and ask(second, happened, history, context)
  if answer then return answer end
  if not first and not second then return verdict.give_up("no retry or failover is declared") end
  return verdict.give_up(("no policy covers %q"):format(happened.kind))
end

return M
