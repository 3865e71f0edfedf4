-- A process that gives its run up, as it is paused, takes no more orders: whoever has one waits for
-- the moment until it has gone, and does it without.

local native <const> = require "native"

local most <const> = 30 -- seconds

--- Asks the owner of the run. Gives its answer, or nil when nobody owns the run now.
---@async
---@param row native.RunRow
---@return table|nil
return function(row, verb, args)
  if not row.owner then return nil end
  local answer <const> = native.run.request(row.id, verb, args or {}, 10)
  if not answer or not answer.leaving then return answer end
  local until_time <const> = native.clock.wall() + most
  while native.store.find(row.id).owner and native.clock.wall() < until_time do
    native.wait.sleep(0.02)
  end
  return nil
end
