-- Small helpers for tables. Whatever decides an order sorts: `pairs` never does.

local M = {}

---@generic T, U
---@param items T[]
---@param fn fun(item: T, index: integer): U
---@return U[]
function M.map(items, fn)
  local result <const> = {}
  for index, item in ipairs(items) do result[index] = fn(item, index) end
  return result
end

---@generic T
---@param items T[]
---@param fn fun(item: T, index: integer): boolean
---@return T[]
function M.filter(items, fn)
  local result <const> = {}
  for index, item in ipairs(items) do
    if fn(item, index) then result[#result + 1] = item end
  end
  return result
end

--- The first item that `fn` accepts, and its index; nil when there is none.
---@generic T
---@param items T[]
---@param fn fun(item: T): boolean
---@return T|nil, integer|nil
function M.find(items, fn)
  for index, item in ipairs(items) do
    if fn(item) then return item, index end
  end
  return nil
end

---@return integer|nil
function M.index_of(items, wanted)
  for index, item in ipairs(items) do
    if item == wanted then return index end
  end
  return nil
end

---@return boolean
function M.contains(items, wanted)
  return M.index_of(items, wanted) ~= nil
end

--- Orders numbers before strings before all else, so that mixed keys have one order.
local function key_before(left, right)
  local left_type <const>, right_type <const> = type(left), type(right)
  if left_type == right_type and (left_type == "number" or left_type == "string") then
    return left < right
  end
  if left_type ~= right_type then
    if left_type == "number" or right_type == "number" then return left_type == "number" end
    if left_type == "string" or right_type == "string" then return left_type == "string" end
    return left_type < right_type
  end
  return tostring(left) < tostring(right)
end

--- The keys of a table in one order: numbers ascending, then strings bytewise.
---@return any[]
function M.keys(t)
  local keys <const> = {}
  for key in pairs(t) do keys[#keys + 1] = key end
  table.sort(keys, key_before)
  return keys
end

--- Iterates over a table in the order of its sorted keys.
function M.sorted(t)
  local keys <const>, index = M.keys(t), 0
  return function()
    index = index + 1
    local key <const> = keys[index]
    if key ~= nil then return key, t[key] end
  end
end

--- Is every key an integer from 1 on, without holes?
---@return boolean
function M.is_list(t)
  local count = 0
  for key in pairs(t) do
    if math.type(key) ~= "integer" or key < 1 then return false end
    count = count + 1
  end
  return count == #t
end

--- A set with each item as a key.
function M.set(items)
  local result <const> = {}
  for _, item in ipairs(items) do result[item] = true end
  return result
end

--- A copy one level deep.
function M.copy(t)
  local result <const> = {}
  for key, value in pairs(t) do result[key] = value end
  return result
end

---@generic T
---@param into T[]
---@param items T[]
---@return T[] into
function M.append(into, items)
  for _, item in ipairs(items) do into[#into + 1] = item end
  return into
end

return M
