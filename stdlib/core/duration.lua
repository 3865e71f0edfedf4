-- Durations as people write them: "90s", "2h30m", "1.5d". Inside choline they are seconds.

local text <const> = require "core.text"

local M = {}

-- Largest first: also the order in which they may be written.
local units <const> = {
  { "w", 604800 }, { "d", 86400 }, { "h", 3600 }, { "m", 60 }, { "s", 1 }, { "ms", 0.001 },
}
local rank <const>, seconds_in <const> = {}, {}
for index, unit in ipairs(units) do
  rank[unit[1]], seconds_in[unit[1]] = index, unit[2]
end
-- What people write for them, to answer with the right one.
local other_names <const> = {
  sec = "s", secs = "s", second = "s", seconds = "s", min = "m", mins = "m", minute = "m",
  minutes = "m", hr = "h", hrs = "h", hour = "h", hours = "h", day = "d", days = "d", week = "w",
  weeks = "w", S = "s", M = "m", H = "h", D = "d", W = "w",
}

M.expected = 'a duration such as "90s" or "2h30m"'

--- Seconds, or nil and what is wrong with the text.
---@param value string
---@return number|nil seconds, string|nil message
function M.parse(value)
  if type(value) ~= "string" then
    return nil, ("expected %s, got %s"):format(M.expected, text.show(value))
  end
  local total, last, position = 0.0, 0, 1
  local rest = text.trim(value)
  if rest == "0" then return 0.0 end
  while position <= #rest do
    local number <const>, unit <const>, after <const> =
      rest:match("^(%d+%.?%d*)%s*(%a*)%s*()", position)
    if not number then
      return nil, ("expected %s, got %s"):format(M.expected, text.show(value))
    end
    if unit == "" then
      return nil, ('expected %s, got %s, which has no unit (one of ms, s, m, h, d, w)')
        :format(M.expected, text.show(value))
    end
    if not rank[unit] then
      local meant <const> = other_names[unit]
      return nil, ('unknown unit "%s" in the duration %s%s'):format(unit, text.show(value),
        meant and ('; write "%s"'):format(meant) or " (known: ms, s, m, h, d, w)")
    end
    if rank[unit] <= last then
      return nil,
        ('the duration %s names its units out of order; write the largest first, each once')
        :format(text.show(value))
    end
    last = rank[unit]
    total = total + tonumber(number) * seconds_in[unit]
    position = after
  end
  if last == 0 then return nil, ("expected %s, got an empty text"):format(M.expected) end
  return total + 0.0
end

--- The shortest exact form down to a millisecond: 9000 gives "2h30m", 0 gives "0s".
---@param seconds number
---@return string
function M.format(seconds)
  if seconds ~= seconds or seconds == math.huge then return "forever" end
  local sign <const> = seconds < 0 and "-" or ""
  local left = math.floor(math.abs(seconds) * 1000 + 0.5)
  local parts <const> = {}
  for _, unit in ipairs(units) do
    local size <const> = math.floor(unit[2] * 1000 + 0.5)
    -- Weeks only when they say it all: "10d" reads better than "1w3d".
    if unit[1] ~= "w" or left % size == 0 then
      local count <const> = left // size
      if count > 0 then
        parts[#parts + 1] = ("%d%s"):format(count, unit[1])
        left = left - count * size
      end
    end
  end
  return #parts == 0 and "0s" or sign .. table.concat(parts)
end

--- For views: the two largest units, "2h30m" for 9012 seconds, "1.2s" below a minute.
---@param seconds number
---@return string
function M.short(seconds)
  if seconds ~= seconds or seconds == math.huge then return "forever" end
  if seconds < 0 then return "-" .. M.short(-seconds) end
  if seconds < 10 then return (("%.1fs"):format(seconds):gsub("%.0s$", "s")) end
  local whole <const> = math.floor(seconds + 0.5)
  if whole < 60 then return ("%ds"):format(whole) end
  if whole < 3600 then return ("%dm%02ds"):format(whole // 60, whole % 60) end
  if whole < 86400 then return ("%dh%02dm"):format(whole // 3600, whole % 3600 // 60) end
  return ("%dd%02dh"):format(whole // 86400, whole % 86400 // 3600)
end

return M
