-- The word schedule: what it gives, and what is wrong with one.

local cholfile <const> = require "dsl.cholfile"

local head <const> = [[
local box = instance "box" {}
sync "ckpt" { from = "box:/work/ckpt", to = "./here", every = "2m" }
local train = task "train" { on = box, run = "x", resume = { from = "ckpt", run = "y" } }
task "eval" { on = box, run = "x", after = "train" }
]]
local lines <const> = select(2, head:gsub("\n", "\n"))

local function load(t, text)
  local folder <const> = t.folder { ["Cholfile.lua"] = head .. text }
  return cholfile.load { path = folder .. "/Cholfile.lua" }
end

local function problems(t, text)
  local out <const> = {}
  for index, problem in ipairs(load(t, text).problems) do
    out[index] = ("%d:%d: %s"):format(problem.line - lines, problem.column or 0, problem.message)
  end
  return table.concat(out, "\n")
end

local function schedule(t, text)
  local program <const> = load(t, text)
  t.equal(#program.problems, 0, program.problems[1] and program.problems[1].message)
  return program.schedules[1], program
end

local tests <const> = {
  ["names tasks by name or by what task gave, and takes times of every kind"] = function(t)
    local read <const> = schedule(t, 'schedule { train, start = "23:00 Europe/Berlin", '
      .. 'pause = cron "0 8 * * 1-5", resume = cron "0 19 * * 1-5 UTC", stop = in_ "8h" }')
    t.equal(read.tasks, { "train" })
    t.equal(read.name, "train")
    t.equal({ read.fields.start.moment.seconds, read.fields.start.moment.zone },
      { 23 * 3600, "Europe/Berlin" })
    t.equal({ read.fields.resume.cron.text, read.fields.resume.cron.zone },
      { "0 19 * * 1-5", "UTC" })
    t.equal(read.fields.stop.moment.after, 28800.0)
    t.equal({ read.fields.misfire, read.fields.overlap, read.fields.late },
      { "once", "forbid", 60.0 })
    t.is_nil(read.given)
  end,
  ["without a name it is the whole run; names are made unique"] = function(t)
    local _, program <const> = schedule(t,
      'schedule { stop = "06:00" }\nschedule { "train", stop = "23:00" }\n'
      .. 'schedule { "train", start = "22:00" }\nschedule { name = "late", start = "22:00" }')
    local names <const> = {}
    for index, each in ipairs(program.schedules) do names[index] = each.name end
    t.equal(names, { "run", "train", "train-2", "late" })
    t.is_nil(program.schedules[1].tasks)
  end,
  ["what a helper function made counts where it is used"] = function(t)
    t.equal(problems(t, 'local night = cron "0 22 * * *"\nschedule { start = night }'), "")
  end,
}

local wrong <const> = {
  ['schedule { "train", start = "25:00" }'] = '1:29: field "start" of schedule: there is no such '
    .. 'time of day, at column 1 of "25:00"; write for example "23:00", "tomorrow 02:00", '
    .. '"2026-12-01 09:00 Europe/Berlin" or in_ "10m"',
  ['schedule { "train", start = "0 8 * * *" }'] = 'this is a repeated time: write cron "0 8 * * *"',
  ['schedule { "train", start = 5 }'] = 'expected a moment such as "23:00"',
  ['schedule { "train", pause = cron "0 25 * * *", resume = cron "0 19 * * *" }'] =
    '1:29: cron: hour 25 is not between 0 and 23 at column 3 of "0 25 * * *"',
  ['schedule { "trian", start = "23:00" }'] = 'no task is called "trian"; did you mean "train"?',
  ['schedule { box, start = "23:00" }'] = 'expected a task or its name, got the instance "box"',
  ['schedule { "train" }'] = "says no time; give it a start, pause, resume or stop",
  ['schedule { "train", begin = "23:00" }'] = 'unknown field "begin" of schedule',
  ['schedule { "train", resume = "23:00" }'] = "there is nothing to resume without a pause",
  ['schedule { "eval", pause = "23:00" }'] =
    '1:28: schedule "eval": task "eval" has no resume, so a pause would lose its work',
  ['schedule { pause = "23:00" }'] = 'schedule "run": task "eval" has no resume',
  ['schedule { "train", start = "23:00", zone = "Europe/Berln" }'] =
    'unknown time zone "Europe/Berln"; did you mean "Europe/Berlin"?',
  ['schedule { "train", start = "23:00", misfire = "never" }'] = 'expected "once", "skip" or "all"',
  ['schedule { "train", start = "23:00", times = 3 }'] = "this start happens once",
  ['schedule { "train", stop = "23:00", times = 3 }'] = "there is no start",
  ['schedule { "train", start = cron "@daily" }'] =
    'task "eval" is after "train", and only one of them starts again and again; name both',
  ['schedule { "train", start = "22:00" }\nschedule { "train", start = "23:00" }'] =
    '2:29: schedule "train-2": task "train" starts by schedule "train" already',
  ['schedule { start = cron "@daily" }\nschedule { "train", "eval", start = cron "@hourly" }'] =
    'the whole run starts again and again by schedule "run"',
  ['schedule { "train", name = "my night", start = "22:00" }'] = "is no name for a schedule",
  ['schedule { name = "a", start = "22:00" }\nschedule { name = "a", stop = "22:00" }'] =
    'schedule "a" is declared twice',
  ["schedule(5)"] = "expected a table after schedule",
  ['pipeline "p" (function() end)\nschedule { "p", start = "22:00" }'] =
    '"p" is a pipeline; without a name the schedule is for the whole run',
  ['schedule { start = in_ "10" }'] = "which has no unit",
}

for text, message in pairs(wrong) do
  tests["wrong: " .. text] = function(t) t.contains(problems(t, text), message) end
end

return tests
