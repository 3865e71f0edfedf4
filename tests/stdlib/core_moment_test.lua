-- Moments: phrases, what is refused and how, and what they resolve to in zones whose clocks change.

local calendar <const> = require "core.calendar"
local moment <const> = require "core.moment"
local zone <const> = require "core.zone"

local function time(year, month, day, hour, minute)
  return calendar.days(year, month, day) * 86400 + hour * 3600 + minute * 60
end

-- A Saturday afternoon in November.
local said <const> = time(2026, 11, 21, 14, 5) + 0.25

local resolved <const> = {
  { "23:00", "UTC", "Sat 2026-11-21 23:00:00 UTC" },
  { "14:05", "UTC", "Sun 2026-11-22 14:05:00 UTC" },
  { "02:00", "UTC", "Sun 2026-11-22 02:00:00 UTC" },
  { "9:30:15", "UTC", "Sun 2026-11-22 09:30:15 UTC" },
  { "at 23:00", "UTC", "Sat 2026-11-21 23:00:00 UTC" },
  { "9am", "UTC", "Sun 2026-11-22 09:00:00 UTC" },
  { "12am", "UTC", "Sun 2026-11-22 00:00:00 UTC" },
  { "12pm", "UTC", "Sun 2026-11-22 12:00:00 UTC" },
  { "7:45pm", "UTC", "Sat 2026-11-21 19:45:00 UTC" },
  { "noon", "UTC", "Sun 2026-11-22 12:00:00 UTC" },
  { "midnight", "UTC", "Sun 2026-11-22 00:00:00 UTC" },
  { "tonight 23:00", "UTC", "Sat 2026-11-21 23:00:00 UTC" },
  { "tomorrow 02:00", "UTC", "Sun 2026-11-22 02:00:00 UTC" },
  { "tomorrow at noon", "UTC", "Sun 2026-11-22 12:00:00 UTC" },
  { "saturday 15:00", "UTC", "Sat 2026-11-21 15:00:00 UTC" },
  { "saturday 08:00", "UTC", "Sat 2026-11-28 08:00:00 UTC" },
  { "next saturday 15:00", "UTC", "Sat 2026-11-28 15:00:00 UTC" },
  { "Mon 08:00", "UTC", "Mon 2026-11-23 08:00:00 UTC" },
  { "2026-12-01 09:00", "UTC", "Tue 2026-12-01 09:00:00 UTC" },
  { "2026-12-01T09:00:30", "UTC", "Tue 2026-12-01 09:00:30 UTC" },
  { "2026-12-01T09:00:30Z", "Europe/Berlin", "Tue 2026-12-01 10:00:30 CET" },
  { "2026-12-01T09:00+05:30", "UTC", "Tue 2026-12-01 03:30:00 UTC" },
  { "2026-12-01 09:00 Europe/Berlin", "UTC", "Tue 2026-12-01 08:00:00 UTC" },
  { "23:00 Europe/Berlin", "UTC", "Sat 2026-11-21 22:00:00 UTC" },
  { "23:00 europe/berlin", "UTC", "Sat 2026-11-21 22:00:00 UTC" },
  -- In India the next day has begun at 00:00 there, not in UTC.
  { "00:30 Asia/Kolkata", "UTC", "Sat 2026-11-21 19:00:00 UTC" },
  { "tomorrow 00:30 Asia/Kolkata", "UTC", "Sat 2026-11-21 19:00:00 UTC" },
  { "23:00 UTC", "Europe/Berlin", "Sun 2026-11-22 00:00:00 CET" },
  { "in 10m", "UTC", "Sat 2026-11-21 14:15:00 UTC" },
  { "+1h30m", "UTC", "Sat 2026-11-21 15:35:00 UTC" },
  { "now", "UTC", "Sat 2026-11-21 14:05:00 UTC" },
}

local refused <const> = {
  ["25:00"] = 'there is no such time of day, at column 1 of "25:00"',
  ["23:60"] = "there is no such time of day",
  ["24:00"] = "write 00:00 of the next",
  ["13pm"] = "with pm an hour is between 1 and 12",
  ["tomorow 02:00"] = '"tomorow" means nothing here; did you mean "tomorrow"?, at column 1',
  ["tomorrow"] = 'a time of day is missing, at column 9 of "tomorrow"',
  ["2026-12-01"] = "a time of day is missing",
  ["2026-02-30 09:00"] = "there is no such date, at column 1",
  ["2026-13-01 09:00"] = "there is no such date",
  ["tomorrow monday 09:00"] = "there is a day already, at column 10",
  ["23:00 22:00"] = "there is a time already, at column 7",
  ["23:00 Europe/Berln"] = 'unknown time zone "Europe/Berln"; did you mean "Europe/Berlin"?, '
    .. "at column 7",
  ["23:00 UTC Europe/Berlin"] = "there is a zone already, at column 11",
  ["tomorrow midnight"] = "there is a day already",
  ["midnight tomorrow"] = 'write "tomorrow 00:00"',
  ["next 09:00"] = '"next" needs a day of the week',
  ["0 8 * * 1-5"] = 'this is a repeated time: write cron "0 8 * * 1-5"',
  ["@daily"] = 'write cron "@daily"',
  ["in 10"] = "has no unit",
  ["soon"] = '"soon" means nothing here',
}

local tests <const> = {}

for _, each in ipairs(resolved) do
  tests[("%s in %s"):format(each[1], each[2])] = function(t)
    local read <const>, message <const> = moment.parse(each[1])
    if not read then t.fail(message) end
    t.equal(zone.format(each[2], assert(moment.resolve(read, said, each[2]))), each[3])
  end
end

for text, message in pairs(refused) do
  tests["refused: " .. text] = function(t)
    local read <const>, why <const> = moment.parse(text)
    t.is_nil(read)
    t.contains(why, message)
    t.contains(why, 'write for example "23:00", "tomorrow 02:00"')
  end
end

tests["no text at all"] = function(t)
  t.contains(select(2, moment.parse "  "), "got an empty text")
  t.contains(select(2, moment.parse(5)), "got 5")
end

tests["what is past is refused in words that say what to write"] = function(t)
  local at <const>, why <const> = moment.resolve(assert(moment.parse "today 02:00"), said, "UTC")
  t.is_nil(at)
  t.equal(why, '"today 02:00" is past: it is Sat 2026-11-21 14:05:00 UTC; write "tomorrow" for '
    .. '"today"')
  t.contains(select(2, moment.resolve(assert(moment.parse "2026-11-20 09:00"), said, "UTC")),
    "is past")
end

tests["a time that is skipped is the moment of the change, one that comes twice is the first"] =
  function(t)
    local skipped <const>, what <const> = moment.resolve(assert(moment.parse
      "2026-03-29 02:30 Europe/Berlin"), time(2026, 3, 28, 12, 0), "UTC")
    t.equal({ zone.format("Europe/Berlin", skipped), what }, { "Sun 2026-03-29 03:00:00 CEST",
      "skipped" })
    local twice <const>, how <const> = moment.resolve(assert(moment.parse
      "2026-10-25 02:30 Europe/Berlin"), time(2026, 10, 24, 12, 0), "UTC")
    t.equal({ zone.format("Europe/Berlin", twice), how }, { "Sun 2026-10-25 02:30:00 CEST",
      "twice" })
  end

tests["every time of a day is found again in every zone, but those that are skipped"] = function(t)
  local numbers <const> = t.numbers(3)
  for _ = 1, 3000 do
    local place <const> = require("fake_zones").names[numbers(1, 7)]
    local at <const> = time(2005, 1, 1, 0, 0) + numbers(0, 25 * 365 * 1440) * 60
    local fields <const> = zone.fields(place, at)
    local found <const>, what <const> = zone.instant(place, fields.days * 86400 + fields.seconds)
    t.is_true(found == at or what == "twice" and found < at, ("%s %d"):format(place, at))
    if found ~= at then
      local other <const> = zone.fields(place, found)
      t.equal({ other.days, other.seconds }, { fields.days, fields.seconds })
    end
  end
end

return tests
