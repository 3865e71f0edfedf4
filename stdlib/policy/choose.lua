-- The order in which offers are tried. Every order ends with the offer's id, so that equal offers
-- are taken in the same order in every run.

local M = {}

local function by_id(a, b)
  if a.provider ~= b.provider then return a.provider < b.provider end
  return a.id < b.id
end

local function by(first, second)
  return function(a, b)
    local x <const>, y <const> = first(a), first(b)
    if x ~= y then return x < y end
    local p <const>, q <const> = second(a), second(b)
    if p ~= q then return p < q end
    return by_id(a, b)
  end
end

local function price(offer) return offer.price end
local function doubt(offer) return -(offer.reliability or 0) end
--- Without a benchmark: GPU memory in all, then cores. Better numbers come with the market.
local function slowness(offer)
  local gpu <const> = offer.gpu
  local accelerator <const> = gpu and gpu.count * gpu.memory or 0
  return -(accelerator * 1e6 + (offer.cpus or 0))
end

local orders <const> = {
  cheapest = by(price, doubt),
  fastest = by(slowness, price),
  most_reliable = by(doubt, price),
}

M.names = { "cheapest", "fastest", "most_reliable" }

---@return boolean
function M.is(name) return orders[name] ~= nil end

--- Merges two sorted parts of `from` into `to`: [low, middle) and [middle, high).
local function merge(from, to, low, middle, high, less)
  local left, right = low, middle
  for at = low, high - 1 do
    if left < middle and (right >= high or not less(from[right], from[left])) then
      to[at], left = from[left], left + 1
    else
      to[at], right = from[right], right + 1
    end
  end
end

--- Merge sort: stable, and it never takes a comparison for a contract as table.sort does. Markets
--- have thousands of offers.
local function sorted(list, less)
  local from, to = table.move(list, 1, #list, 1, {}), {}
  local width, count <const> = 1, #list
  while width < count do
    for low = 1, count, 2 * width do
      merge(from, to, low, math.min(low + width, count + 1), math.min(low + 2 * width, count + 1),
        less)
    end
    from, to, width = to, from, 2 * width
  end
  return from
end

--- `offers` in the order in which they should be tried.
---@param offers table[]
---@param name? "cheapest"|"fastest"|"most_reliable"
---@return table[]
function M.order(offers, name) return sorted(offers, orders[name or "cheapest"]) end

return M
