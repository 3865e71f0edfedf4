-- Money and prices: "$40", "$0.60/h". US dollars, the currency in which every provider bills.

local text <const> = require "core.text"

local M = {}

M.expected = 'money such as "$40"'
M.expected_price = 'a price such as "$0.60/h"'

local function amount(value, pattern, expected)
  if type(value) ~= "string" then
    return nil, ("expected %s, got %s"):format(expected, text.show(value))
  end
  local number <const> = value:match(pattern)
  if number then return tonumber(number) + 0.0 end
  local note = ""
  if value:find("€") or value:find("£") or value:find("EUR") or value:find("GBP") then
    note = "; choline counts in US dollars, as providers bill"
  elseif value:match("^%s*%d+%.?%d*") then
    note = "; write the $ before it"
  end
  return nil, ("expected %s, got %s%s"):format(expected, text.show(value), note)
end

--- US dollars, or nil and what is wrong with the text.
---@return number|nil usd, string|nil message
function M.parse(value)
  local usd <const>, message <const> = amount(value, "^%s*%$%s*(%d+%.?%d*)%s*$", M.expected)
  if not usd and type(value) == "string" and value:find("/") then
    return nil, ("expected %s, got the price %s"):format(M.expected, text.show(value))
  end
  return usd, message
end

--- US dollars per hour, or nil and what is wrong with the text.
---@return number|nil usd_per_hour, string|nil message
function M.parse_price(value)
  if type(value) == "string" and value:match("^%s*%$%s*%d+%.?%d*%s*$") then
    return nil, ('expected %s, got %s; say per what: "%s/h"')
      :format(M.expected_price, text.show(value), text.trim(value))
  end
  return amount(value, "^%s*%$%s*(%d+%.?%d*)%s*/%s*h$", M.expected_price)
end

--- "$1.50"; small amounts keep two significant digits: "$0.0042".
---@param usd number
---@return string
function M.format(usd)
  if usd < 0 then return "-" .. M.format(-usd) end
  if usd == 0 or usd >= 0.095 then return ("$%.2f"):format(usd) end
  local digits <const> = math.min(8, 1 - math.floor(math.log(usd, 10)))
  local shown <const> = ("$%." .. digits .. "f"):format(usd):gsub("0+$", "")
  return #shown < 5 and shown .. ("0"):rep(5 - #shown) or shown
end

---@param usd_per_hour number
---@return string
function M.format_price(usd_per_hour)
  return M.format(usd_per_hour) .. "/h"
end

return M
