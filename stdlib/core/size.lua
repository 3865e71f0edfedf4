-- Sizes as people write them: "80 GB" is 80 times 10^9 bytes, "10 GiB" 10 times 2^30. Inside:
-- bytes.

local text <const> = require "core.text"

local M = {}

local units <const> = { B = 1 }
local names <const> = { "B" }
for power, letter in ipairs { "k", "M", "G", "T", "P" } do
  units[letter .. "B"] = math.tointeger(10 ^ (3 * power))
  units[letter:upper() .. "iB"] = 1 << (10 * power)
  names[#names + 1] = letter .. "B"
  names[#names + 1] = letter:upper() .. "iB"
end

M.expected = 'a size such as "80 GB" or "10 GiB"'

--- Bytes, or nil and what is wrong with the text.
---@param value string
---@return integer|nil bytes, string|nil message
function M.parse(value)
  if type(value) ~= "string" then
    return nil, ("expected %s, got %s"):format(M.expected, text.show(value))
  end
  local number <const>, unit <const> = value:match("^%s*(%d+%.?%d*)%s*(%a*)%s*$")
  if not number then return nil, ("expected %s, got %s"):format(M.expected, text.show(value)) end
  if unit == "" then
    return nil, ("expected %s, got %s, which has no unit (one of %s)")
      :format(M.expected, text.show(value), table.concat(names, ", "))
  end
  local factor <const> = units[unit]
  if not factor then
    local meant
    for _, name in ipairs(names) do
      if name:lower() == unit:lower() or name:sub(1, 1):lower() == unit:lower() then
        meant = meant or name
      end
    end
    return nil, ('unknown unit "%s" in the size %s%s'):format(unit, text.show(value),
      meant and ('; did you mean "%s"?'):format(meant) or text.did_you_mean(unit, names))
  end
  local whole <const> = math.tointeger(tonumber(number))
  if whole and whole <= math.maxinteger // factor then return whole * factor end
  local bytes <const> = math.floor(tonumber(number) * factor + 0.5)
  if bytes >= 2 ^ 62 then return nil, ("the size %s is too large"):format(text.show(value)) end
  return math.tointeger(bytes)
end

M.expected_rate = 'a rate such as "20 MB/s"'

--- Bytes a second, or nil and what is wrong with the text.
---@param value string
---@return integer|nil bytes, string|nil message
function M.parse_rate(value)
  if type(value) ~= "string" or not value:find "^%s*%d" then
    return nil, ("expected %s, got %s"):format(M.expected_rate, text.show(value))
  end
  local bytes <const>, message <const> = M.parse((value:gsub("%s*/%s*s%s*$", "")))
  if bytes == 0 then return nil, "a rate of 0 would never end" end
  return bytes, message
end

--- The largest unit that says it exactly, with no decimals: parse(exact(n)) is n.
---@param bytes integer
---@return string
function M.exact(bytes)
  local best, best_factor = "B", 1
  for _, name in ipairs(names) do
    local factor <const> = units[name]
    if bytes ~= 0 and bytes % factor == 0 and factor > best_factor then
      best, best_factor = name, factor
    end
  end
  return ("%d %s"):format(bytes // best_factor, best)
end

--- For views: three digits, decimal units: "1.23 GB".
---@param bytes number
---@return string
function M.format(bytes)
  if bytes < 1000 then return ("%d B"):format(bytes) end
  local value, unit = bytes + 0.0, "B"
  for _, letter in ipairs { "kB", "MB", "GB", "TB", "PB" } do
    if value < 999.5 then break end
    value, unit = value / 1000, letter
  end
  local digits <const> = value < 9.995 and 2 or value < 99.95 and 1 or 0
  return ("%." .. digits .. "f %s"):format(value, unit)
end

return M
