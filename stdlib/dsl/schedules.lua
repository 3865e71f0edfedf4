-- The words of schedules: schedule, cron and in_; and what can be said of schedules only when the
-- whole program is known.

local check <const> = require "core.check"
local cron <const> = require "core.cron"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local moment <const> = require "core.moment"
local text <const> = require "core.text"
local unknown <const> = require("dsl.unknown").value
local zones <const> = require "core.zone"

local M = {}

---@class dsl.Time   one of
---@field moment core.Moment|nil
---@field cron core.Cron|nil

---@class dsl.Schedule
---@field name string
---@field tasks string[]|nil    nil: the whole run
---@field fields table          start, pause, resume, stop: dsl.Time; zone, misfire, late, overlap, times
---@field where table

M.actions = { "start", "pause", "resume", "stop" }

-- Types -------------------------------------------------------------------------------------------

M.types = {}

M.types.time = { expected = moment.expected .. ', in_ "10m" or cron "0 8 * * 1-5"',
  parse = function(value, context)
    if context.times[value] then return value end
    if type(value) ~= "string" then
      return nil, ("expected %s, got %s"):format(M.types.time.expected, text.show(value))
    end
    local read <const>, message <const> = moment.parse(value)
    return read and { moment = read } or nil, message
  end }

M.types["cron text"] = { expected = cron.expected, accepts = "string", parse = cron.parse }

M.types.zone = { expected = "a time zone such as Europe/Berlin", parse = function(value)
  if type(value) == "string" then return zones.check(value) end
  return nil, ("expected a time zone such as \"Europe/Berlin\", got %s"):format(text.show(value))
end }

-- Words -------------------------------------------------------------------------------------------

M.words = {}

local function time_word(reading, word, make)
  return function(value)
    local where <const> = reading.here()
    where.word = word.name
    local typed <const> = check.value(word.value, value, function(_, message)
      if not reading.loading then failure.raise("invalid", "%s: %s", word.name, message) end
      reading:problem(where, ("%s: %s"):format(word.name, message))
    end, {}, reading.context)
    if typed == nil then return unknown end
    local time <const> = make(typed, value)
    reading.context.times[time] = true
    return time
  end
end

function M.words.cron(reading, word)
  return time_word(reading, word, function(spec) return { cron = spec } end)
end

function M.words.in_(reading, word)
  return time_word(reading, word, function(seconds, said)
    return { moment = { text = "in " .. said, after = seconds } }
  end)
end

--- The tasks that are named before the fields, or nil for the whole run.
local function task_names(reading, where, given)
  local names <const>, fields <const> = {}, {}
  for key, value in list.sorted(given) do
    if math.type(key) ~= "integer" then
      fields[key] = value
    elseif type(value) == "string" then
      names[#names + 1] = value
    elseif not check.is_unknown(value) then
      local declared <const> = reading.context.declared[value]
      if declared and declared.word == "task" then
        names[#names + 1] = declared.name
      else
        reading:problem(where, ("schedule: expected a task or its name, got %s"):format(declared
          and ('the %s "%s"'):format(declared.word, declared.name) or text.show(value)))
      end
    end
  end
  return #given > 0 and names or nil, fields
end

local function free_name(reading, wanted)
  local name, count = wanted, 1
  while list.find(reading.program.schedules, function(each) return each.name == name end) do
    count = count + 1
    name = ("%s-%d"):format(wanted, count)
  end
  return name
end

local function name_of(reading, where, said, tasks)
  if not said then
    return free_name(reading, tasks and table.concat(tasks, "-") or "run")
  end
  if not said:find("^[%a_][%w_-]*$") then
    reading:problem(where, ("%s is no name for a schedule: letters, digits, - and _, not beginning "
      .. "with a digit"):format(text.show(said)))
  elseif free_name(reading, said) ~= said then
    reading:problem(where, ('schedule "%s" is declared twice'):format(said))
  end
  return said
end

---@param check_fields function   of dsl/environment
function M.words.schedule(reading, word, check_fields)
  return function(given)
    local where <const> = reading.here()
    where.word = "schedule"
    if check.is_unknown(given) then return unknown end
    if not reading.loading then
      failure.raise("invalid", "schedule declares, and belongs to the top level of a cholfile")
    elseif type(given) ~= "table" then
      reading:problem(where, ("expected a table after schedule, as in %s, got %s"):format(
        word.example, text.show(given)))
      return unknown
    end
    local tasks <const>, rest <const> = task_names(reading, where, given)
    local fields <const> = check_fields(reading, where, word.fields, rest, "schedule")
    local schedule <const> = { word = "schedule", tasks = tasks, fields = fields, given = rest,
      where = { file = where.file, line = where.line } }
    schedule.name = name_of(reading, where, fields.name, tasks)
    table.insert(reading.program.schedules, schedule)
    return unknown
  end
end

-- The whole ---------------------------------------------------------------------------------------

--- Does it start again and again?
function M.repeats(schedule)
  local start <const> = schedule.fields.start
  return start ~= nil and start.cron ~= nil
end

local function tell(reading, schedule, field, message)
  reading:problem({ file = schedule.where.file, line = schedule.where.line, word = "schedule",
    path = field and { field } or nil },
    ('schedule "%s": %s'):format(schedule.name, message))
end

local function check_times(reading, schedule)
  local fields <const>, given <const> = schedule.fields, schedule.given
  local any = false
  for _, action in ipairs(M.actions) do any = any or given[action] ~= nil end
  if not any then
    tell(reading, schedule, nil, "says no time; give it a start, pause, resume or stop")
  elseif fields.resume and not given.pause then
    tell(reading, schedule, "resume", "there is nothing to resume without a pause")
  elseif fields.times and not M.repeats(schedule) and given.start == nil then
    tell(reading, schedule, "times", "counts starts by cron, and there is no start")
  elseif fields.times and fields.start and not M.repeats(schedule) then
    tell(reading, schedule, "times", "counts starts by cron, and this start happens once")
  end
end

local function check_names(reading, schedule, index)
  for _, name in ipairs(schedule.tasks or {}) do
    if not index.by_name[name] then
      local pipeline <const> = list.find(reading.program.pipelines, function(each)
        return each.name == name
      end)
      tell(reading, schedule, nil, pipeline
        and ('"%s" is a pipeline; without a name the schedule is for the whole run'):format(name)
        or ('no task is called "%s"%s'):format(name, text.nearest(name, index.names)
          and text.did_you_mean(name, index.names) or #index.names > 0
          and "; known: " .. text.join(index.names) or "; none is declared"))
    end
  end
end

--- A pause must lose nothing.
local function check_pause(reading, schedule)
  if not schedule.fields.pause then return end
  for _, task in ipairs(reading.program.tasks) do
    local concerned <const> = not schedule.tasks or list.contains(schedule.tasks, task.name)
    if concerned and not task.unknown and not task.fields.resume then
      tell(reading, schedule, "pause", ('task "%s" has no resume, so a pause would lose its work')
        :format(task.name))
    end
  end
  if not schedule.tasks and #reading.program.pipelines > 0 then
    tell(reading, schedule, "pause", ('pipeline "%s" cannot be paused; name tasks')
      :format(reading.program.pipelines[1].name))
  end
end

local function after_of(task)
  local after <const> = task.fields.after
  return type(after) == "string" and { after } or after or {}
end

--- What starts again and again is a run of its own, so nothing else can wait for it.
local function check_repeated(reading, schedule)
  for _, task in ipairs(reading.program.tasks) do
    local inside <const> = list.contains(schedule.tasks, task.name)
    for _, before in ipairs(after_of(task)) do
      if inside ~= list.contains(schedule.tasks, before) then
        tell(reading, schedule, nil, ('task "%s" is after "%s", and only one of them starts again '
          .. "and again; name both"):format(task.name, before))
      end
    end
  end
end

local function check_starts(reading)
  local first <const>, whole = {}, nil
  for _, schedule in ipairs(reading.program.schedules) do
    if schedule.fields.start then
      if M.repeats(schedule) and not schedule.tasks then whole = schedule end
      for _, name in ipairs(schedule.tasks or { "" }) do
        if first[name] then
          tell(reading, schedule, "start", ('%s starts by schedule "%s" already'):format(name == ""
            and "the run" or ('task "%s"'):format(name), first[name].name))
        end
        first[name] = schedule
      end
    end
  end
  for _, schedule in ipairs(reading.program.schedules) do
    if whole and schedule ~= whole and M.repeats(schedule) then
      tell(reading, schedule, "start", ('the whole run starts again and again by schedule "%s"')
        :format(whole.name))
    end
  end
end

--- Reports the problems of all schedules.
---@param index { names: string[], by_name: table }   of tasks
function M.check(reading, index)
  for _, schedule in ipairs(reading.program.schedules) do
    check_times(reading, schedule)
    check_names(reading, schedule, index)
    check_pause(reading, schedule)
    if schedule.tasks and M.repeats(schedule) then check_repeated(reading, schedule) end
  end
  check_starts(reading)
  for _, schedule in ipairs(reading.program.schedules) do schedule.given = nil end
end

return M
