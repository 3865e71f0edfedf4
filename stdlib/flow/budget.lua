-- The run's account: what is paid from when to when, and the hard stop before the budget is
-- reached. All of it follows from the journal, so a replay stops at the same point.

local failure <const> = require "core.failure"
local money <const> = require "core.money"
local native <const> = require "native"
local policy <const> = require "policy.budget"
local task <const> = require "wait.task"

local M = {}

---@class flow.Account
---@field limit number|nil
local Account <const> = {}
Account.__index = Account

---@param limit number|nil   USD
---@param grace? number       seconds that commands may take to end
---@return flow.Account
function M.new(limit, grace)
  local teardown <const> = policy.teardown_seconds + (grace or 0)
  return setmetatable({ limit = limit, teardown = teardown, paid = {}, changed = nil, spent = nil },
    Account)
end

local function wake(self)
  local changed <const> = self.changed
  self.changed = nil
  if changed then changed:set(true) end
end

--- USD until now.
function Account:cost() return policy.cost(self.paid, native.clock.now()) end

--- Raises when an instance of `price` cannot be paid for even a moment.
function Account:check(price)
  if not self.limit then return end
  local ok <const>, why <const> = policy.may_rent(self.limit, self.paid, native.clock.now(), price,
    self.teardown)
  if not ok then failure.raise("budget", "%s", why) end
end

---@param price number   USD per hour
---@param began number
function Account:rented(price, began)
  local paid <const> = { price = price, began = began }
  table.insert(self.paid, paid)
  wake(self)
  return paid
end

---@param at? number   when it ended, if that was before
function Account:ended(paid, at)
  local now <const> = native.clock.now()
  paid.ended = paid.ended or at and math.max(paid.began, math.min(at, now)) or now
  wake(self)
end

--- Another limit from now on. Without one before, there is nobody who guards it, but nothing more
--- is rented than it allows.
---@param limit number   USD
function Account:change(limit)
  self.limit = limit
  wake(self)
end

--- Wakes the guard for the last time.
function Account:close()
  self.closed = true
  wake(self)
end

local function wait_for_change(self, seconds, count)
  local changed <const> = native.task.event()
  self.changed = changed
  if not seconds then return changed:wait() end
  task.within("until-" .. count, math.max(0, seconds), function() changed:wait() end)
end

--- Waits until the account is closed, or gives the failure when the budget is as good as spent.
---@async
---@return Failure|nil
function Account:guard()
  if not self.limit then return end
  local count = 0
  while not self.closed do
    local now <const> = native.clock.now()
    local ends <const> = policy.ends_at(self.limit, self.paid, now, self.teardown)
    if ends and ends <= now then
      return failure.new("budget",
        ("%s of the budget of %s are spent; stopped so that releasing still fits")
        :format(money.format(self:cost()), money.format(self.limit)), { limit = self.limit })
    end
    count = count + 1
    wait_for_change(self, ends and ends - now, count)
  end
end

return M
