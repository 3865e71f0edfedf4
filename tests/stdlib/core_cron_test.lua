-- Repeated times: the dialect, what is refused and how, and instants over years and changes of
-- clocks. The vectors were made by an independent walk through all minutes.

local calendar <const> = require "core.calendar"
local cron <const> = require "core.cron"
local zone <const> = require "core.zone"

local function time(text)
  local year <const>, month <const>, day <const>, hour <const>, minute <const> =
    text:match("^(%d+)-(%d+)-(%d+)T(%d+):(%d+)Z$")
  return calendar.days(math.tointeger(year), math.tointeger(month), math.tointeger(day)) * 86400
    + math.tointeger(hour) * 3600 + math.tointeger(minute) * 60
end

local function utc(at)
  local fields <const> = zone.fields("UTC", at)
  return ("%04d-%02d-%02dT%02d:%02dZ"):format(fields.year, fields.month, fields.day,
    fields.seconds // 3600, fields.seconds // 60 % 60)
end

--- The first `count` instants after a time.
local function instants(text, place, after, count)
  local spec <const> = assert(cron.parse(text))
  local out <const>, at = {}, time(after)
  for index = 1, count do
    at = cron.next(spec, place, at)
    if not at then break end
    out[index] = utc(at)
  end
  return table.concat(out, " ")
end

local vectors <const> = {
  { "a fixed time in the skipped hour runs right after the jump", "30 2 * * *", "Europe/Berlin",
    "2026-03-28T12:00Z", "2026-03-29T01:00Z 2026-03-30T00:30Z" },
  { "a fixed time in the repeated hour runs once", "30 2 * * *", "Europe/Berlin",
    "2026-10-24T12:00Z", "2026-10-25T00:30Z 2026-10-26T01:30Z" },
  { "a time that is just after the jump runs once", "0 3 * * *", "Europe/Berlin",
    "2026-03-28T12:00Z", "2026-03-29T01:00Z 2026-03-30T01:00Z" },
  { "a wildcard hour follows the new clock in spring", "30 * * * *", "Europe/Berlin",
    "2026-03-29T00:00Z", "2026-03-29T00:30Z 2026-03-29T01:30Z 2026-03-29T02:30Z" },
  { "a wildcard hour runs in both of the repeated hours", "30 * * * *", "Europe/Berlin",
    "2026-10-25T00:00Z", "2026-10-25T00:30Z 2026-10-25T01:30Z 2026-10-25T02:30Z" },
  { "a wildcard minute in the skipped hour does not run", "*/30 2 * * *", "Europe/Berlin",
    "2026-03-28T12:00Z", "2026-03-30T00:00Z 2026-03-30T00:30Z" },
  { "a jump of half an hour", "15 2 * * *", "Australia/Lord_Howe",
    "2026-10-02T16:00Z", "2026-10-03T15:30Z 2026-10-04T15:15Z" },
  { "a midnight that is missing", "0 0 * * *", "America/Sao_Paulo",
    "2018-11-02T12:00Z", "2018-11-03T03:00Z 2018-11-04T03:00Z 2018-11-05T02:00Z" },
  { "a skipped day is a correction, and nothing is made up for", "0 12 * * *", "Pacific/Apia",
    "2011-12-28T23:00Z", "2011-12-29T22:00Z 2011-12-30T22:00Z 2011-12-31T22:00Z" },
  { "day and weekday: one of them is enough", "0 0 13 * 5", "UTC",
    "2026-01-31T12:00Z",
    "2026-02-06T00:00Z 2026-02-13T00:00Z 2026-02-20T00:00Z 2026-02-27T00:00Z" },
  { "a day that begins with * must fit as well", "0 0 */2 * 1", "UTC",
    "2026-01-31T12:00Z", "2026-02-09T00:00Z 2026-02-23T00:00Z" },
  { "the 29th of February", "0 0 29 2 *", "UTC",
    "2027-01-01T00:00Z", "2028-02-29T00:00Z 2032-02-29T00:00Z" },
  { "the 29th of February over a century without", "0 0 29 2 *", "UTC",
    "2096-03-01T00:00Z", "2104-02-29T00:00Z" },
  { "the 29th of February on a Monday", "0 0 29 2 */8", "UTC",
    "2024-03-01T00:00Z", "2032-02-29T00:00Z 2060-02-29T00:00Z" },
  { "names, ranges, steps and lists", "0,30 8-10/2 * jan-mar MON,wed-fri", "UTC",
    "2026-03-31T09:00Z", "2027-01-01T08:00Z 2027-01-01T08:30Z 2027-01-01T10:00Z" },
  { "a step after a number goes on to the end", "40/5 * * * *", "UTC",
    "2026-01-01T00:00Z", "2026-01-01T00:40Z 2026-01-01T00:45Z 2026-01-01T00:50Z 2026-01-01T00:55Z "
      .. "2026-01-01T01:40Z" },
  { "7 is a Sunday, too, also at the end of a range", "0 0 * * 6-7", "UTC",
    "2026-11-20T00:00Z", "2026-11-21T00:00Z 2026-11-22T00:00Z 2026-11-28T00:00Z" },
  { "@weekly", "@weekly", "UTC", "2026-11-20T00:00Z", "2026-11-22T00:00Z 2026-11-29T00:00Z" },
  { "? stands for any day", "0 0 ? * 1", "UTC", "2026-11-20T00:00Z", "2026-11-23T00:00Z" },
}

local refused <const> = {
  ["0 25 * * *"] = 'hour 25 is not between 0 and 23 at column 3 of "0 25 * * *"',
  ["0 8,30 * * *"] = "hour 30 is not between 0 and 23 at column 5",
  ["0 22-2 * * *"] = "the range 22-2 goes backwards; write 22-23,0-2 at column 3",
  ["0 0 * * fri-mon"] = "the range fri-mon goes backwards; write fri-6,0-mon at column 9",
  ["0 0 * * monday"] = '"monday" is no weekday; its name has three letters, mon at column 9',
  ["*/0 * * * *"] = 'the step "0" is no number from 1 on at column 1',
  ["*/x * * * *"] = 'the step "x" is no number',
  ["0 0 L * *"] = '"L" is of other crons (L, W and # are not known here) at column 5',
  ["0 0 * * 5#2"] = '"5#2" is of other crons',
  ["0 0 15W * *"] = '"15W" is of other crons',
  ["0 0 30 2 *"] = "there is no such day in any of its months at column 5",
  ["0 0 31 2,4,jun *"] = "there is no such day",
  ["0,,5 * * * *"] = "a list has an empty part at column 3",
  ["0 0 * *"] = "there are 4 fields where five belong: at column 8",
  ["0 0 * * * * *"] = "there are 7 fields where five belong: at column 11",
  ["0 0 0 * * *"] = "there are six fields, and seconds are not known here: at column 1",
  ["@dayly"] = '"@dayly" is not known; did you mean "@daily"? at column 1',
  ["@reboot"] = "a run goes on after a reboot by `choline service`",
  ["@every"] = "expected a duration",
  ["@every 5"] = "has no unit",
  ["@daily extra words"] = '"extra" is too much at column 8',
  ["0 8 * * 1 Europe/Berln"] = 'unknown time zone "Europe/Berln"; did you mean "Europe/Berlin"? '
    .. "at column 11",
  ["0 -8 * * *"] = "at column 3",
  ["0 8- * * *"] = "at column 3",
  ["99999999999999999999 * * * *"] = "is not between 0 and 59",
}

local tests <const> = {}

for _, vector in ipairs(vectors) do
  tests["instants: " .. vector[1]] = function(t)
    local _, count <const> = vector[5]:gsub("Z", "")
    t.equal(instants(vector[2], vector[3], vector[4], count), vector[5])
  end
end

for text, message in pairs(refused) do
  tests["refused: " .. text] = function(t)
    local spec <const>, why <const> = cron.parse(text)
    t.is_nil(spec)
    t.contains(why, message)
    t.contains(why, 'write for example "0 8 * * 1-5"')
  end
end

tests["a zone is named before or behind the fields"] = function(t)
  t.equal(cron.parse("0 8 * * 1-5 Europe/Berlin").zone, "Europe/Berlin")
  t.equal(cron.parse("0 8 * * 1-5 europe/berlin").zone, "Europe/Berlin")
  t.equal(cron.parse("CRON_TZ=Asia/Kolkata 0 8 * * *").zone, "Asia/Kolkata")
  t.equal(cron.parse("@daily UTC").zone, "UTC")
  t.equal(cron.parse("0 8 * * mon +02:00").zone, "+02:00")
  t.equal(cron.parse("0 8 * * mon").zone, nil)
  t.equal(cron.parse("0 8 * * mon Europe/London").text, "0 8 * * mon")
end

tests["what other crons read otherwise is noted"] = function(t)
  t.contains(cron.parse("0 0 */2 * 1").note, "together with the weekday")
  t.is_nil(cron.parse("0 0 2 * 1").note)
end

tests["@every counts from an anchor"] = function(t)
  local spec <const> = cron.parse("@every 1h30m")
  t.equal(cron.next(spec, "UTC", 1000, 1000), 6400.0)
  t.equal(cron.next(spec, "UTC", 6399.5, 1000), 6400.0)
  t.equal(cron.next(spec, "UTC", 6400, 1000), 11800.0)
end

tests["each instant comes after the one before, fits, and none between them is left out"] =
  function(t)
  local numbers <const> = t.numbers(11)
  local places <const> = { "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC",
    "America/Sao_Paulo" }
  for round = 1, 60 do
    local place <const> = places[numbers(1, #places)]
    local text <const> = ("%d %d %s * %s"):format(numbers(0, 59), numbers(0, 4),
      numbers(0, 2) == 0 and tostring(numbers(1, 28)) or "*",
      numbers(0, 2) == 0 and tostring(numbers(0, 6)) or "*")
    local spec <const> = cron.parse(text)
    local after <const> = time "2015-01-01T00:00Z" + numbers(0, 3 * 365 * 86400)
    local at <const> = cron.next(spec, place, after)
    t.is_true(at > after, text)
    -- From anywhere before, the next is the same.
    local between <const> = after + numbers(0, at - after - 1)
    t.equal(cron.next(spec, place, between), at, ("%s %s round %d"):format(text, place, round))
    t.equal(cron.newest(spec, place, after, at + 0), at)
    t.equal(cron.newest(spec, place, after, at - 1), nil)
  end
end

tests["the newest of very many missed instants is found at once"] = function(t)
  local spec <const> = cron.parse("* * * * *")
  local now <const> = time "2026-06-01T12:00Z" + 30
  t.equal(utc(cron.newest(spec, "UTC", time "2016-01-01T00:00Z", now)), "2026-06-01T12:00Z")
  local rare <const> = cron.parse("0 0 29 2 *")
  t.equal(utc(cron.newest(rare, "UTC", time "2016-01-01T00:00Z", now)), "2024-02-29T00:00Z")
end

return tests
