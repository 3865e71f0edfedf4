-- Moments as people write them: "23:00", "tomorrow 02:00 Europe/Berlin", "2026-12-01 09:00",
-- "monday 08:00", "in 10m". Read once; resolved from a time that they are said at.

local calendar <const> = require "core.calendar"
local duration <const> = require "core.duration"
local text <const> = require "core.text"
local zones <const> = require "core.zone"

local M = {}

M.expected = 'a moment such as "23:00", "tomorrow 02:00" or "2026-12-01 09:00 Europe/Berlin"'
M.example = '"23:00", "tomorrow 02:00", "2026-12-01 09:00 Europe/Berlin" or in_ "10m"'

---@class core.Moment
---@field text string
---@field after number|nil       seconds from when it is said
---@field seconds integer|nil    since midnight, as the clocks show
---@field day "today"|"tomorrow"|nil
---@field date integer|nil       days since 1970
---@field weekday integer|nil    0 Sunday
---@field next_one boolean|nil   of the weekday: not today
---@field zone string|nil        that it names itself

local weekdays <const> = {}
for index, name in ipairs { "sunday", "monday", "tuesday", "wednesday", "thursday", "friday",
  "saturday" } do
  weekdays[name], weekdays[name:sub(1, 3)] = index - 1, index - 1
end
local day_words <const> = { "today", "tonight", "tomorrow", "next", "now", "in", "at", "noon",
  "midnight" }
for name in pairs(weekdays) do day_words[#day_words + 1] = name end
table.sort(day_words)

-- Words -------------------------------------------------------------------------------------------

local readers <const> = {}

local function clock_time(hour, minute, second, half)
  hour, minute, second = math.tointeger(hour), math.tointeger(minute or "0"),
    math.tointeger(second or "0")
  if half then
    if hour < 1 or hour > 12 then
      return nil, ("with %s an hour is between 1 and 12"):format(half)
    end
    hour = hour % 12 + (half == "pm" and 12 or 0)
  end
  if hour == 24 and minute == 0 then
    return nil, 'a day ends at 23:59; for its end write 00:00 of the next'
  end
  if hour > 23 or minute > 59 or second > 59 then return nil, "there is no such time of day" end
  return hour * 3600 + minute * 60 + second
end

--- A time of day; gives false when the word is none.
function readers.time(out, word)
  local hour, minute, second, half = word:match("^(%d%d?):(%d%d):(%d%d)()$")
  if hour then half = nil end
  if not hour then hour, minute, half = word:match("^(%d%d?):(%d%d)([ap]?m?)$") end
  if not hour then hour, half = word:match("^(%d%d?)([ap]m)$") end
  if word == "noon" then hour = "12" end
  if not hour then return false end
  if half ~= nil and half ~= "am" and half ~= "pm" and half ~= "" then return false end
  if out.seconds then return nil, "there is a time already" end
  local message
  out.seconds, message = clock_time(hour, minute, second, half ~= "" and half or nil)
  return out.seconds and true, message
end

local function has_day(out) return out.day or out.date or out.weekday end

function readers.date(out, word)
  local year, month, day = word:match("^(%d%d%d%d)-(%d%d?)-(%d%d?)$")
  if not year then return false end
  year, month, day = math.tointeger(year), math.tointeger(month), math.tointeger(day)
  if month < 1 or month > 12 or day < 1 or day > calendar.days_in(year, month) then
    return nil, "there is no such date"
  end
  if has_day(out) then return nil, "there is a day already" end
  out.date = calendar.days(year, month, day)
  return true
end

function readers.day(out, word)
  local is_day <const> = word == "today" or word == "tonight" or word == "tomorrow"
  if not is_day and not weekdays[word] and word ~= "next" and word ~= "midnight" then
    return false
  end
  if word == "next" then
    out.next_one = true
    return true
  end
  if has_day(out) then return nil, "there is a day already" end
  if word == "midnight" then
    if out.seconds then return nil, "there is a time already" end
    out.seconds, out.alone = 0, true
  elseif is_day then
    out.day = word == "tonight" and "today" or word
  else
    out.weekday = weekdays[word]
  end
  return true
end

function readers.zone(out, _, original, is_last)
  local looks <const> = original:find("/", 1, true) or original:find("^[+-]%d%d:?%d%d$")
    or is_last and original:find("^%u[%u%d+-]*$") or original:find("^[Uu][Tt][Cc]$")
    or original == "Z"
  if not looks then return false end
  if out.zone then return nil, "there is a zone already" end
  local zone <const>, message <const> = zones.check(original)
  if not zone then return nil, message end
  out.zone = zone
  return true
end

local order <const> = { "time", "date", "day", "zone" }

local function take(out, item, is_last)
  local word <const> = item.text:lower()
  if word == "at" then return true end
  for _, name in ipairs(order) do
    local taken <const>, message <const> = readers[name](out, word, item.text, is_last)
    if taken or message then return taken, message end
  end
  return nil, ("%s means nothing here%s"):format(text.show(item.text),
    text.did_you_mean(word, day_words))
end

local function words_of(value)
  -- 2026-12-01T09:00:00+01:00 is a date, a time and a zone.
  local spaced = value:gsub("(%d%d%d%d%-%d%d?%-%d%d?)[Tt](%d)", "%1 %2")
  spaced = spaced:gsub("(%d:%d%d)(Z)$", "%1 %2"):gsub("(%d:%d%d)([+-]%d%d:?%d%d)$", "%1 %2")
  local words <const> = {}
  for column, word in spaced:gmatch("()(%S+)") do
    words[#words + 1] = { text = word, column = math.min(column, #value) }
  end
  return words
end

local function wrong(value, column, message)
  return nil, ("%s, at column %d of %s; write for example %s"):format(message, column,
    text.show(value), M.example)
end

local function after(value, said, column)
  local seconds <const>, message <const> = duration.parse(said)
  if not seconds then return wrong(value, column, message) end
  return { text = value, after = seconds }
end

--- What is missing or too much in a phrase of words that are right.
local function incomplete(out, value)
  if out.alone and has_day(out) then
    return wrong(value, 1, 'midnight is the next 00:00; for another day write "tomorrow 00:00"')
  elseif not out.seconds then
    return wrong(value, #value + 1, "a time of day is missing")
  elseif out.next_one and not out.weekday then
    return wrong(value, 1, '"next" needs a day of the week')
  end
  return nil
end

--- A moment, or nil and what is wrong with the text.
---@param value string
---@return core.Moment|nil moment, string|nil message
function M.parse(value)
  if type(value) ~= "string" or text.trim(value) == "" then
    return nil, ("expected %s, got %s"):format(M.expected, type(value) == "string"
      and "an empty text" or text.show(value))
  end
  local said <const> = text.trim(value)
  if said:lower() == "now" then return { text = value, after = 0.0 } end
  local plus <const> = said:match("^%+%s*(.+)$")
  if plus then return after(value, plus, 2) end
  local column <const>, span <const> = said:match("^[Ii][Nn]%s+()(.+)$")
  if span then return after(value, span, column) end
  if said:find("^@") or said:find("^[%d*][%d,*/-]*%s+[%d*]%S*%s+%S+%s+%S+%s+%S+") then
    return wrong(value, 1, ("this is a repeated time: write cron %s"):format(text.show(said)))
  end
  local out <const>, words <const> = { text = value }, words_of(said)
  for index, item in ipairs(words) do
    local taken <const>, message <const> = take(out, item, index == #words)
    if not taken then return wrong(value, item.column, message or "this cannot be read") end
  end
  local missing <const>, why <const> = incomplete(out, value)
  if why then return missing, why end
  return out
end

-- Resolving ---------------------------------------------------------------------------------------

local function on_day(zone, days, seconds) return zones.instant(zone, days * 86400 + seconds) end

--- The days on which it may be, in their order.
local function days_of(moment, today)
  if moment.date then return { moment.date } end
  if moment.day == "today" then return { today } end
  if moment.day == "tomorrow" then return { today + 1 } end
  if not moment.weekday then return { today, today + 1, today + 2 } end
  local ahead = (moment.weekday - calendar.weekday(today)) % 7
  if moment.next_one and ahead == 0 then ahead = 7 end
  return { today + ahead, today + ahead + 7 }
end

--- When it is, said at `said`; or nil and why it cannot be.
---@param moment core.Moment
---@param said number
---@param zone string   where it names none
---@return number|nil at, string|nil what   "twice" or "skipped" of an instant, else the message
function M.resolve(moment, said, zone)
  if moment.after then return said + moment.after end
  local place <const> = moment.zone or zone
  local now <const> = zones.fields(place, said)
  for _, days in ipairs(days_of(moment, now.days)) do
    local at <const>, what <const> = on_day(place, days, moment.seconds)
    if at > said then return at, what end
  end
  return nil, ("%s is past: it is %s%s"):format(text.show(moment.text), zones.format(place, said),
    moment.day == "today" and '; write "tomorrow" for "today"' or "")
end

return M
