-- Time zones: what the clocks of a place say at an instant, and when they say something. A zone is
-- a name of the tz database, "local" for this computer's own, or an offset such as "+02:00".

local calendar <const> = require "core.calendar"
local native <const> = require "native"
local text <const> = require "core.text"

local M = {}

---@class core.Period   a time without a change of clocks
---@field begins integer
---@field ends integer       not included
---@field offset integer     seconds east of UTC
---@field abbreviation string

local known <const> = {} ---@type table<string, core.Period[]>
local ever <const> = 1 << 45

local function of_offset(zone)
  if zone == "Z" or zone == "UTC" then
    return { begins = -ever, ends = ever, offset = 0, abbreviation = "UTC" }
  end
  local sign <const>, hours <const>, minutes <const> = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign or tonumber(hours) > 14 or tonumber(minutes) > 59 then return nil end
  local east <const> = (tonumber(hours) * 60 + tonumber(minutes)) * 60
  return { begins = -ever, ends = ever, offset = math.tointeger(sign == "-" and -east or east),
    abbreviation = zone }
end

--- The name of this computer's zone.
---@return string
function M.here() return native.clock.zone() end

local function all_names()
  local ok <const>, names <const> = pcall(native.clock.zones) -- a slim system has none
  return ok and names or {}
end

--- A zone as the database writes it, or nil and what is wrong with it.
---@return string|nil name, string|nil message
function M.check(zone)
  if of_offset(zone) then return zone end
  local names <const> = all_names()
  local lower <const> = zone:lower()
  for _, name in ipairs(names) do
    if name == zone then return name end
  end
  for _, name in ipairs(names) do
    if name:lower() == lower then return name end
  end
  -- Links of the database are found by asking.
  if zone:find("^[%w_+-]+[%w_/+-]*$") and pcall(native.clock.period, 0, zone) then return zone end
  local near = text.nearest(zone, names)
  for _, name in ipairs(names) do
    if not near and name:lower():match("[^/]*$") == lower then near = name end
  end
  if #names == 0 then
    return nil, ("unknown time zone %s: this computer has no time zones (package tzdata); UTC and "
      .. "offsets such as +02:00 work"):format(text.show(zone))
  end
  return nil, ("unknown time zone %s%s"):format(text.show(zone),
    near and ('; did you mean "%s"?'):format(near)
    or "; expected a name such as Europe/Berlin, UTC, or an offset such as +02:00")
end

--- The period that `time` is in.
---@param zone string
---@param time number
---@return core.Period
function M.period(zone, time)
  local periods = known[zone]
  if not periods then
    periods = { of_offset(zone) }
    known[zone] = periods
  end
  for index = #periods, 1, -1 do
    local period <const> = periods[index]
    if time >= period.begins and time < period.ends then
      -- What was asked for last is asked for again.
      periods[index], periods[#periods] = periods[#periods], period
      return period
    end
  end
  local found <const> = native.clock.period(time, zone ~= "local" and zone or nil)
  periods[#periods + 1] = found
  return found
end

---@class core.LocalTime
---@field year integer
---@field month integer
---@field day integer
---@field seconds integer   since midnight, as the clocks show
---@field weekday integer   0 Sunday
---@field abbreviation string

---@return core.LocalTime
function M.fields(zone, time)
  local period <const> = M.period(zone, time)
  local shown <const> = math.floor(time) + period.offset
  local days <const> = shown // calendar.day
  local year <const>, month <const>, day <const> = calendar.date(days)
  return { year = year, month = month, day = day, days = days, seconds = shown % calendar.day,
    weekday = calendar.weekday(days), abbreviation = period.abbreviation }
end

--- When the clocks of a zone show `shown` (seconds since 1970 as if they were UTC). A time that
--- comes twice is the first; one that is skipped is the moment of the change.
---@param shown integer
---@return integer time, "twice"|"skipped"|nil what
function M.instant(zone, shown)
  local first
  -- No offset is more than a day, and changes are days apart.
  local period = M.period(zone, shown - calendar.day)
  while true do
    local time <const> = shown - period.offset
    if time >= period.begins and time < period.ends then
      if first then return first, "twice" end
      first = time
    end
    if period.ends > shown + calendar.day then break end
    local after <const> = M.period(zone, period.ends)
    if not first and time >= period.ends and shown - after.offset < after.begins then
      return after.begins, "skipped"
    end
    period = after
  end
  return first
end

--- "Tue 2026-03-10 23:00:00 CET"
---@return string
function M.format(zone, time)
  local at <const> = M.fields(zone, time)
  return ("%s %04d-%02d-%02d %02d:%02d:%02d %s"):format(calendar.day_names[at.weekday], at.year,
    at.month, at.day, at.seconds // 3600, at.seconds // 60 % 60, at.seconds % 60,
    at.abbreviation)
end

return M
