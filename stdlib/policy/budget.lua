-- What a run costs and when its budget ends. The end is set so early that releasing what lives
-- still fits: a budget is the most that may be spent, teardown included.

local money <const> = require "core.money"

local M = {}

--- Time that a release may take, counted for each instance that lives.
M.teardown_seconds = 60

---@class policy.Paid
---@field price number       USD per hour
---@field began number       instant from which it is paid
---@field ended number|nil

--- USD spent until `now`.
---@param instances policy.Paid[]
function M.cost(instances, now)
  local usd = 0.0
  for _, paid in ipairs(instances) do
    usd = usd + paid.price * math.max(0, (paid.ended or now) - paid.began) / 3600
  end
  return usd
end

--- USD per hour of what lives.
---@param instances policy.Paid[]
function M.rate(instances)
  local usd = 0.0
  for _, paid in ipairs(instances) do
    if not paid.ended then usd = usd + paid.price end
  end
  return usd
end

--- The instant at which releasing must begin, or nil when nothing that lives costs anything.
---@param limit number   USD
---@param instances policy.Paid[]
---@param teardown? number   seconds that an end may take
---@return number|nil
function M.ends_at(limit, instances, now, teardown)
  local rate <const> = M.rate(instances)
  if rate <= 0 then return nil end
  return now + (limit - M.cost(instances, now)) / rate * 3600 - (teardown or M.teardown_seconds)
end

--- May an instance of `price` be rented now? nil and the reason when its teardown alone would pass
--- the limit.
---@return boolean|nil, string|nil
function M.may_rent(limit, instances, now, price, teardown)
  local spent <const> = M.cost(instances, now)
  local reserve <const> = (M.rate(instances) + price) * (teardown or M.teardown_seconds) / 3600
  if spent + reserve < limit then return true end
  return nil,
    ("%s of the budget of %s are spent; renting and releasing an instance of %s would pass it")
    :format(money.format(spent), money.format(limit), money.format_price(price))
end

return M
