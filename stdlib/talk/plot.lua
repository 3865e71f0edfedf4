-- Curves in a terminal: a sparkline of one row, and a plot of several with its scale.

local M = {}

local levels <const> = { "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█" }

--- At most `count` values that stand for all: means of equal parts.
---@param values number[]
---@return number[]
function M.thin(values, count)
  if #values <= count then return values end
  local out <const> = {}
  for index = 1, count do
    local first <const> = (index - 1) * #values // count + 1
    local last <const> = math.max(first, index * #values // count)
    local sum = 0
    for at = first, last do sum = sum + values[at] end
    out[index] = sum / (last - first + 1)
  end
  return out
end

local function finite(values)
  local out <const> = {}
  for _, value in ipairs(values) do
    if value == value and math.abs(value) ~= math.huge then out[#out + 1] = value end
  end
  return out
end

local function bounds(values)
  local low, high = math.huge, -math.huge
  for _, value in ipairs(values) do low, high = math.min(low, value), math.max(high, value) end
  return low, high
end

--- One row of blocks; "" for nothing to show.
---@param values number[]
---@param columns integer
---@return string
function M.sparkline(values, columns)
  values = M.thin(finite(values), columns)
  local low <const>, high <const> = bounds(values)
  local parts <const> = {}
  for index, value in ipairs(values) do
    local level <const> = high > low and math.floor((value - low) / (high - low) * 7 + 0.5) + 1 or 4
    parts[index] = levels[level]
  end
  return table.concat(parts)
end

--- A number in at most six significant digits.
---@return string
function M.number(value)
  if value == nil then return "-" end
  return ("%.4g"):format(value)
end

--- Rows of a plot, highest first, with the scale at its left.
---@param values number[]
---@param columns integer
---@param rows integer
---@return string[]
function M.plot(values, columns, rows)
  values = finite(values)
  if #values == 0 then return {} end
  local low <const>, high <const> = bounds(values)
  local top <const>, bottom <const> = M.number(high), M.number(low)
  local margin <const> = math.max(#top, #bottom)
  values = M.thin(values, math.max(1, columns - margin - 2))
  local out <const> = {}
  for row = rows, 1, -1 do
    local label <const> = row == rows and top or row == 1 and bottom or ""
    local parts <const> = { (" "):rep(margin - #label) .. label .. (label ~= "" and " ┤" or " │") }
    for index, value in ipairs(values) do
      local height <const> = high > low and (value - low) / (high - low) * (rows * 8 - 1) + 1
        or rows * 4
      local here <const> = math.floor(height - (row - 1) * 8)
      parts[index + 1] = here <= 0 and " " or levels[math.min(here, 8)]
    end
    out[#out + 1] = (table.concat(parts):gsub("%s+$", ""))
  end
  return out
end

return M
