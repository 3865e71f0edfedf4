-- Runs a policy or a chooser that the user wrote as a function. Such a function may not wait and
-- may not touch the world: waits are forbidden natively, and words with an effect call `forbid`
-- first.

local failure <const> = require "core.failure"
local native <const> = require "native"
local verdict <const> = require "policy.verdict"

local M = {}

local deciding = nil ---@type string|nil   what is being decided now

--- Raises inside a policy or chooser. `verb` is what was tried: "gpu:acquire".
---@param verb string
function M.forbid(verb)
  if not deciding then return end
  local raised <const> = failure.new("invalid",
    ("%s was called in a %s: it may only decide, not wait or touch the world; "
    .. "answer with a verdict such as wait \"30s\", fail_over() or give_up \"why\""):format(verb,
      deciding))
  local file <const>, line <const> = native.chunk.where(0)
  if file then raised.where = ("%s:%d"):format(file, line) end
  error(raised, 0)
end

local function guarded(what, fn, ...)
  local before <const> = deciding
  deciding = what
  -- The mark must go also when the function raises.
  local ok <const>, answer <const> = pcall(native.task.forbid_waiting,
    ("a %s may not wait"):format(what), fn, ...)
  deciding = before
  if not ok then error(answer, 0) end
  return answer
end

local function describe(value)
  if type(value) == "string" then return ("%q"):format(value) end
  if type(value) == "table" or type(value) == "function" then return "a " .. type(value) end
  return tostring(value)
end

--- The verdict of a user's policy; nil is "no opinion".
---@param fn fun(failure: table, history: policy.Past[], context: policy.Context): policy.Verdict|nil
---@return policy.Verdict|nil
function M.policy(fn, happened, history, context)
  local answer <const> = guarded("policy", fn, happened, history, context)
  if answer == nil or verdict.is(answer) then return answer end
  failure.raise("invalid",
    "the policy returned %s; expected again(), wait \"30s\", fail_over(), pause(), "
    .. "give_up \"why\" or nothing", describe(answer))
end

--- The order that a user's chooser gives. It may leave offers out, but not make some up.
---@param fn fun(offers: table[]): table[]
---@param offers table[]
---@return table[]
function M.chooser(fn, offers)
  local answer <const> = guarded("chooser", fn, offers)
  if type(answer) ~= "table" then
    failure.raise("invalid", "the chooser returned %s; expected a list of the offers it was given",
      describe(answer))
  end
  local known <const> = {}
  for _, offer in ipairs(offers) do known[offer] = true end
  if known[answer] then return { answer } end
  for index, offer in ipairs(answer) do
    if not known[offer] then
      failure.raise("invalid",
        "the chooser returned %s at %d, which is none of the offers it was given",
        describe(offer), index)
    end
  end
  return answer
end

return M
