-- Repeated times: cron's five fields, "@daily" and the like, "@every 6h", each with a zone. The
-- dialect, and what happens when clocks change, is Vixie cron's (docs/design/schedules.md).

local calendar <const> = require "core.calendar"
local duration <const> = require "core.duration"
local text <const> = require "core.text"
local zones <const> = require "core.zone"

local M = {}

M.expected = 'a repeated time such as "0 8 * * 1-5" (minute, hour, day, month, weekday) or "@daily"'
M.example = '"0 8 * * 1-5", "*/15 * * * *", "0 2 * * sun Europe/Berlin" or "@daily"'

-- A change of clocks that is larger is a correction: nothing is made up for.
local largest_shift <const> = 3 * 3600
-- The 29th of February on a given weekday comes after at most this many years.
local search_seconds <const> = 41 * 366 * calendar.day

---@class core.Cron
---@field text string             as it was written, without its zone
---@field zone string|nil         that it names itself
---@field every number|nil        seconds, of "@every"
---@field fixed boolean           neither minute nor hour begins with *
---@field minutes table<integer, integer>  the first that counts, from each minute on
---@field hours table<integer, integer>
---@field days table<integer, boolean>
---@field months table<integer, boolean>
---@field weekdays table<integer, boolean>
---@field both boolean            the day and the weekday must fit; else one of them
---@field note string|nil         what a person may not expect of it

local function names_from(first, list)
  local names <const> = {}
  for index, name in ipairs(list) do names[name] = first + index - 1 end
  return names
end

local fields <const> = {
  { name = "minute", low = 0, high = 59 },
  { name = "hour", low = 0, high = 23 },
  { name = "day", low = 1, high = 31 },
  { name = "month", low = 1, high = 12, names = names_from(1, { "jan", "feb", "mar", "apr", "may",
    "jun", "jul", "aug", "sep", "oct", "nov", "dec" }) },
  { name = "weekday", low = 0, high = 7, names = names_from(0, { "sun", "mon", "tue", "wed", "thu",
    "fri", "sat" }) },
}

local macros <const> = {
  yearly = "0 0 1 1 *", annually = "0 0 1 1 *", monthly = "0 0 1 * *", weekly = "0 0 * * 0",
  daily = "0 0 * * *", midnight = "0 0 * * *", hourly = "0 * * * *",
}
local macro_names <const> = { "yearly", "annually", "monthly", "weekly", "daily", "midnight",
  "hourly", "every" }

-- Reading -----------------------------------------------------------------------------------------

local function wrong(whole, column, message)
  return nil, ("%s at column %d of %s; write for example %s"):format(message, column,
    text.show(whole), M.example)
end

--- One number or name of a field, or nil and what is wrong.
local function number_of(field, word)
  if word:find("^%d+$") then
    local value <const> = math.tointeger(word)
    if not value or value < field.low or value > field.high then
      return nil, ("%s %s is not between %d and %d"):format(field.name, word, field.low, field.high)
    end
    return value
  end
  local named <const> = field.names and field.names[word:lower()]
  if named then return named end
  if word:find("^[LW#]$") or word:find("^%d+[LW#]") or word:find("#") then
    return nil, ("%s is of other crons (L, W and # are not known here)"):format(text.show(word))
  end
  if field.names and word:find("^%a") then
    local short <const> = field.names[word:sub(1, 3):lower()]
    return nil, ("%s is no %s%s"):format(text.show(word), field.name,
      short and ("; its name has three letters, %s"):format(word:sub(1, 3):lower()) or "")
  end
  return nil, ("%s is no %s (%d to %d)"):format(text.show(word), field.name, field.low, field.high)
end

--- Puts one part of a list, such as 8-18/2, into `set`; gives what is wrong with it.
local function add_part(field, part, set)
  local range, step_text <const> = part:match("^([^/]*)/?(.*)$")
  local step = 1
  if part:find("/", 1, true) then
    step = step_text:find("^%d+$") and math.tointeger(step_text) or 0
    if step < 1 then return ("the step %s is no number from 1 on"):format(text.show(step_text)) end
  end
  local low, high = field.low, field.high
  if range == "?" and (field.name == "day" or field.name == "weekday") then range = "*" end
  if range ~= "*" then
    local from <const>, to <const> = range:match("^([^-]+)%-(.+)$")
    local message
    low, message = number_of(field, from or range)
    if not low then return message end
    if from then
      high, message = number_of(field, to)
      if not high then return message end
    elseif not part:find("/", 1, true) then
      high = low
    end
    -- The week may be said to end on a Sunday.
    if field.name == "weekday" and from and high == 0 and low > 0 then high = 7 end
    if high < low then
      return ("the range %s goes backwards; write %s-%d,%d-%s"):format(range, from, field.name
        == "weekday" and 6 or field.high, field.low, to)
    end
  end
  for value = low, high, step do set[field.name == "weekday" and value % 7 or value] = true end
  return nil
end

--- The set of values of a field, or nil, what is wrong, and where in the word.
local function read_field(field, word)
  local set <const>, position = {}, 1
  for part, after in (word .. ","):gmatch("([^,]*),()") do
    if part == "" then return nil, "a list has an empty part", position end
    local message <const> = add_part(field, part, set)
    if message then return nil, message, position end
    position = after
  end
  return set
end

--- For each number the first of `set` from it on.
local function following(set, high)
  local first, next_one = {}, nil
  for value = high, 0, -1 do
    if set[value] then next_one = value end
    first[value] = next_one
  end
  return first
end

local function has_day(days, months)
  for month in pairs(months) do
    for day in pairs(days) do
      if day <= (month == 2 and 29 or calendar.days_in(2027, month)) then return true end
    end
  end
  return false
end

local function read_five(whole, words)
  local sets <const> = {}
  for index, field in ipairs(fields) do
    local message, at
    sets[index], message, at = read_field(field, words[index].text)
    if not sets[index] then return wrong(whole, words[index].column + at - 1, message) end
  end
  local function starred(index) return words[index].text:find("^[*?]") ~= nil end
  local both <const> = starred(3) or starred(5)
  if both and not has_day(sets[3], sets[4]) then
    return wrong(whole, words[3].column, "there is no such day in any of its months")
  end
  local note
  if words[3].text:find("^%*/") and not starred(5) then
    note = "a day that begins with * must fit together with the weekday, not instead of it"
  elseif words[5].text:find("^%*/") and not starred(3) then
    note = "a weekday that begins with * must fit together with the day, not instead of it"
  end
  return {
    minutes = following(sets[1], 59), hours = following(sets[2], 23), days = sets[3],
    months = sets[4], weekdays = sets[5], both = both, note = note,
    fixed = not starred(1) and not starred(2),
  }
end

local function words_of(value)
  local words <const> = {}
  for column, word in value:gmatch("()(%S+)") do
    words[#words + 1] = { text = word, column = column }
  end
  return words
end

local function read_macro(whole, words)
  local name <const> = words[1].text:sub(2)
  if name == "every" then
    local seconds <const>, message <const> = duration.parse(words[2] and words[2].text or "")
    if not seconds then return wrong(whole, words[2] and words[2].column or #whole + 1, message) end
    if seconds < 1 then return wrong(whole, words[2].column, "less than a second") end
    return { every = seconds }
  end
  if macros[name] then return read_five(whole, words_of(macros[name])) end
  local hint <const> = name == "reboot" and "; a run goes on after a reboot by `choline service`"
    or text.nearest(name, macro_names) and ('; did you mean "@%s"?'):format(text.nearest(name,
      macro_names)) or ""
  return wrong(whole, words[1].column, ("%s is not known%s"):format(text.show("@" .. name), hint))
end

--- The zone before or behind the fields; takes it out of `words`.
local function take_zone(whole, words)
  local before <const> = words[1] and words[1].text:match("^CRON_TZ=(.+)$")
    or words[1] and words[1].text:match("^TZ=(.+)$")
  local wanted <const> = words[1] and words[1].text:find("^@every$") and 2
    or words[1] and words[1].text:find("^@") and 1 or 5
  local word, zone, message
  if before then
    word = table.remove(words, 1)
    zone, message = zones.check(before)
  elseif #words == wanted + 1 and words[#words].text:find("^%a[%a_]+$")
    or #words > wanted and words[#words].text:find("^[%a_]+/") or #words == wanted + 1
    and words[#words].text:find("^[+-]%d%d:?%d%d$") then
    word = table.remove(words)
    zone, message = zones.check(word.text)
  end
  if message then return wrong(whole, word.column, message) end
  return zone or false
end

--- A repeated time, or nil and what is wrong with the text.
---@param value string
---@return core.Cron|nil spec, string|nil message
function M.parse(value)
  if type(value) ~= "string" or text.trim(value) == "" then
    return nil, ("expected %s, got %s"):format(M.expected, value == "" and "an empty text"
      or text.show(value))
  end
  local words <const> = words_of(value)
  local zone <const>, message <const> = take_zone(value, words)
  if message then return nil, message end
  local spec, why
  local shown <const> = {}
  for index, word in ipairs(words) do shown[index] = word.text end
  if words[1] and words[1].text:sub(1, 1) == "@" then
    local wanted <const> = words[1].text == "@every" and 2 or 1
    if #words > wanted then
      return wrong(value, words[wanted + 1].column, ("%s is too much"):format(
        text.show(words[wanted + 1].text)))
    end
    spec, why = read_macro(value, words)
  elseif #words == 6 then
    return wrong(value, words[1].column, "there are six fields, and seconds are not known here:")
  elseif #words ~= 5 then
    return wrong(value, words[6] and words[6].column or #value + 1,
      ("there are %d fields where five belong:"):format(#words))
  else
    spec, why = read_five(value, words)
  end
  if not spec then return nil, why end
  spec.text, spec.zone = table.concat(shown, " "), zone or nil
  return spec
end

-- Instants ----------------------------------------------------------------------------------------

local function day_fits(spec, days, day)
  local by_day <const> = spec.days[day] or false
  local by_weekday <const> = spec.weekdays[(days + 4) % 7] or false
  if spec.both then return by_day and by_weekday end
  return by_day or by_weekday
end

--- The first minute that fits from `shown` on and not after `last`: seconds as the clocks show.
local function next_shown(spec, shown, last)
  local minute = (shown + 59) // 60
  local days = minute // 1440
  minute = minute % 1440
  local date_year, date_month, date_day = calendar.date(days)
  while days * calendar.day <= last do
    if not spec.months[date_month] then
      days = days + calendar.days_in(date_year, date_month) - date_day + 1
      date_day, date_month, minute = 1, date_month + 1, 0
      if date_month > 12 then date_year, date_month = date_year + 1, 1 end
    else
      if day_fits(spec, days, date_day) then
        local hour = minute // 60
        local found = spec.hours[hour] == hour and spec.minutes[minute % 60]
        if not found then
          hour = spec.hours[hour + 1]
          found = hour and spec.minutes[0]
        end
        if found then
          local at <const> = days * calendar.day + hour * 3600 + found * 60
          return at <= last and at or nil
        end
      end
      days, date_day, minute = days + 1, date_day + 1, 0
      if date_day > 28 and date_day > calendar.days_in(date_year, date_month) then
        date_day, date_month = 1, date_month + 1
        if date_month > 12 then date_year, date_month = date_year + 1, 1 end
      end
    end
  end
  return nil
end

--- The first time after `after`, or nil when there is none.
---@param zone string
---@param after number
---@param anchor? number   from when "@every" counts
---@return integer|nil
function M.next(spec, zone, after, anchor)
  if spec.every then
    anchor = anchor or 0
    local at = anchor + (math.floor((after - anchor) / spec.every) + 1) * spec.every
    if at <= after then at = at + spec.every end
    return at
  end
  after = math.floor(after)
  local limit <const> = after + search_seconds
  local period = zones.period(zone, after)
  local from = after + 1 + period.offset
  if spec.fixed and period.begins > after - largest_shift then
    -- What the clocks show for the second time has been.
    local back <const> = zones.period(zone, period.begins - 1).offset - period.offset
    if back > 0 and back < largest_shift then
      from = math.max(from, period.begins + period.offset + back)
    end
  end
  while true do
    local last <const> = math.min(period.ends, limit) + period.offset - 1
    local found <const> = next_shown(spec, from, last)
    if found then return found - period.offset end
    if period.ends > limit then return nil end
    local following_period <const> = zones.period(zone, period.ends)
    local shift <const> = following_period.offset - period.offset
    local change <const> = period.ends
    from = change + following_period.offset
    if spec.fixed and shift > 0 and shift < largest_shift
      and next_shown(spec, change + period.offset, change + following_period.offset - 1) then
      return change
    elseif spec.fixed and shift < 0 and -shift < largest_shift then
      from = change + period.offset
    end
    period = following_period
  end
end

local windows <const> = { 3600, 86400, 7 * 86400, 31 * 86400, 366 * 86400 }

--- The newest time after `after` and not after `now`, or nil when there was none.
---@return integer|nil
function M.newest(spec, zone, after, now, anchor)
  for index = 1, #windows + 1 do
    local from <const> = windows[index] and math.max(after, now - windows[index]) or after
    local at, newest = M.next(spec, zone, from, anchor), nil
    while at and at <= now do
      at, newest = M.next(spec, zone, at, anchor), at
    end
    if newest or from == after then return newest end
  end
end

return M
