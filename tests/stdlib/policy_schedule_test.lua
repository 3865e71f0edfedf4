-- Schedules as decisions: how moments follow one another, what is made up for after a time in
-- which nobody was there, and years of a schedule in a moment.

local calendar <const> = require "core.calendar"
local cron <const> = require "core.cron"
local moment <const> = require "core.moment"
local policy <const> = require "policy.schedule"
local zone <const> = require "core.zone"

local function time(day, hour, minute)
  return calendar.days(2026, 11, day) * 86400 + hour * 3600 + minute * 60
end

local function at(text) return { moment = assert(moment.parse(text)) } end
local function every(text) return { cron = assert(cron.parse(text)) } end

local function fields(given)
  given.late, given.misfire = given.late or 60, given.misfire or "once"
  return given
end

local function shown(list)
  local out <const> = {}
  for index, each in ipairs(list) do
    out[index] =
      each.action .. " " .. zone.format("UTC", each.at):match("^%a+ %d+%-%d+%-(%d+ %d+:%d+)")
  end
  return table.concat(out, ", ")
end

local function upcoming(given, said, most)
  local plan <const> = assert(policy.plan(given, said, "UTC"))
  return shown(policy.upcoming(plan, policy.state(), given, most))
end

--- Lives from `said` on; the process is there only in `awake` = { { from, to }, … }. Gives what
--- happened, each with when it was done.
local function live(given, said, awake)
  given = fields(given)
  local plan <const>, state <const> = assert(policy.plan(given, said, "UTC")), policy.state()
  local out <const> = {}
  for _, span in ipairs(awake) do
    local now = span[1]
    while true do
      local due <const> = policy.next(plan, state, given)
      if not due or due.at > span[2] then break end
      now = math.max(now, due.at)
      local decision <const> = policy.decide(plan, state, given, due, now)
      policy.note(state, decision)
      out[#out + 1] = { action = (decision.fires and "" or "no ") .. decision.action,
        at = decision.at, missed = decision.missed }
    end
  end
  return shown(out), out
end

local tests <const> = {}

tests["moments follow one another"] = function(t)
  t.equal(upcoming({ start = at "23:00", pause = at "07:00", resume = at "19:00",
    stop = at "06:00" },
    time(21, 14, 0), 9), "start 21 23:00, pause 22 07:00, resume 22 19:00, stop 23 06:00")
  t.equal(upcoming({ start = at "in 10m", stop = at "in 8h" }, time(21, 14, 0), 9),
    "start 21 14:10, stop 21 22:10")
  t.equal(upcoming({ stop = at "13:00" }, time(21, 14, 0), 9), "stop 22 13:00")
end

tests["what is repeated begins after the start"] = function(t)
  t.equal(upcoming({ start = at "tomorrow 12:00", pause = every "0 8 * * *",
    resume = every "0 19 * * *" }, time(21, 6, 0), 4),
    "start 22 12:00, resume 22 19:00, pause 23 08:00, resume 23 19:00")
end

tests["a moment that cannot be is told with its action"] = function(t)
  local plan <const>, message <const>, action <const> = policy.plan({ start = at "today 02:00" },
    time(21, 14, 0), "UTC")
  t.is_nil(plan)
  t.contains(message, "is past")
  t.equal(action, "start")
end

tests["at one instant, what lets work go on comes before what ends it"] = function(t)
  t.equal(upcoming({ pause = every "0 8 * * *", resume = every "0 8 * * *", stop = at "22:00" },
    time(21, 0, 0), 3), "resume 21 08:00, pause 21 08:00, stop 21 22:00")
end

tests["starts are counted"] = function(t)
  t.equal(upcoming({ start = every "0 2 * * *", times = 3 }, time(21, 14, 0), 9),
    "start 22 02:00, start 23 02:00, start 24 02:00")
end

local nightly <const> = { pause = "0 8 * * *", resume = "0 19 * * *" }
local function window(misfire)
  return { pause = every(nightly.pause), resume = every(nightly.resume), misfire = misfire }
end

tests["who is there all the time does everything in time"] = function(t)
  t.equal((live(window(), time(21, 0, 0), { { time(21, 0, 0), time(22, 12, 0) } })),
    "pause 21 08:00, resume 21 19:00, pause 22 08:00")
end

tests["once: of a pause and a resume that were missed only the later one counts"] = function(t)
  t.equal((live(window "once", time(21, 0, 0), { { time(21, 0, 0), time(21, 7, 0) },
    { time(21, 20, 0), time(22, 9, 0) } })), "no pause 21 08:00, resume 21 19:00, pause 22 08:00")
  t.equal((live(window "once", time(21, 0, 0), { { time(24, 12, 0), time(24, 20, 0) } })),
    "pause 24 08:00, no resume 23 19:00, resume 24 19:00")
end

tests["once: many missed starts are one"] = function(t)
  local text <const>, list <const> = live({ start = every "0 2 * * *" }, time(1, 0, 0),
    { { time(21, 10, 0), time(22, 12, 0) } })
  t.equal(text, "start 21 02:00, start 22 02:00")
  t.equal(list[1].missed, 20)
end

tests["once: a start that was missed together with its stop does not happen"] = function(t)
  t.equal((live({ start = at "23:00", stop = at "06:00" }, time(21, 12, 0),
    { { time(22, 9, 0), time(22, 10, 0) } })), "no start 21 23:00, stop 22 06:00")
end

tests["skip: what was missed does not happen, what is only a little late does"] = function(t)
  t.equal((live({ start = every "0 * * * *", misfire = "skip" }, time(21, 0, 0),
    { { time(21, 5, 30), time(21, 6, 30) } })), "no start 21 05:00, start 21 06:00")
  t.equal((live({ start = every "0 * * * *", misfire = "skip" }, time(21, 0, 0),
    { { time(21, 5, 0) + 59, time(21, 6, 30) } })),
    "no start 21 04:00, start 21 05:00, start 21 06:00")
end

tests["all: everything that was missed happens, in its order"] = function(t)
  t.equal((live({ start = every "0 */6 * * *", misfire = "all" }, time(21, 1, 0),
    { { time(22, 1, 0), time(22, 7, 0) } })),
    "start 21 06:00, start 21 12:00, start 21 18:00, start 22 00:00, start 22 06:00")
end

tests["a clock that is set back makes nothing happen twice"] = function(t)
  local given <const> = fields { start = every "0 * * * *" }
  local plan <const>, state <const> = assert(policy.plan(given, time(21, 0, 30), "UTC")),
    policy.state()
  local first <const> = policy.next(plan, state, given)
  policy.note(state, policy.decide(plan, state, given, first, time(21, 1, 0)))
  -- It is 00:30 again.
  t.equal(policy.next(plan, state, given).at, time(21, 2, 0))
end

tests["ten years of nights in a zone with daylight saving: each once, in order, at the hour"] =
  function(t)
    local given <const> = fields { start = every "30 2 * * * Europe/Berlin" }
    local plan <const>, state <const> = assert(policy.plan(given, time(1, 0, 0), "UTC")),
      policy.state()
    local last, days, odd = nil, {}, 0
    for _ = 1, 3652 do
      local due <const> = policy.next(plan, state, given)
      t.is_true(not last or due.at > last)
      policy.note(state, policy.decide(plan, state, given, due, due.at))
      local there <const> = zone.fields("Europe/Berlin", due.at)
      t.is_nil(days[there.days], "a day twice")
      days[there.days] = true
      if there.seconds ~= 9000 then
        t.equal(there.seconds, 3 * 3600)
        odd = odd + 1
      end
      last = due.at
    end
    t.equal(odd, 10) -- the Sundays in March
  end

tests["whatever sleeps between, no instant is left out or taken twice with misfire all"] =
  function(t)
  local numbers <const> = t.numbers(5)
  for round = 1, 30 do
    local said <const> = time(1, 0, 0) + numbers(0, 5000) * 60
    local awake <const>, from = {}, said
    for index = 1, 12 do
      local began <const> = from + numbers(0, 40) * 1800
      awake[index] = { began, began + numbers(0, 20) * 1800 }
      from = awake[index][2]
    end
    local given <const> = { start = every "*/20 3-9 * * *", misfire = "all" }
    local _, list <const> = live(given, said, awake)
    local expected, want = {}, said
    while true do
      want = cron.next(given.start.cron, "UTC", want)
      if want > from then break end
      expected[#expected + 1] = want
    end
    t.equal(#list, #expected, "round " .. round)
    for index, each in ipairs(list) do t.equal(each.at, expected[index]) end
  end
end

return tests
