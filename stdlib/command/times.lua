-- The schedules of a program as commands show them: what each phrase resolved to.

local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local policy <const> = require "policy.schedule"
local when <const> = require "talk.when"

local M = {}

M.actions = { "start", "pause", "resume", "stop" }

--- How a time was written.
function M.phrase(time)
  if time.cron then return ('cron "%s"'):format(time.cron.text) end
  return ('"%s"'):format(time.moment.text)
end

--- Schedules with their plans; raises `invalid` for one whose moment cannot be.
---@return { schedule: dsl.Schedule, plan: policy.Plan }[]
function M.plans(program, said, zone)
  return list.map(program.schedules, function(schedule)
    local plan <const>, message <const>, action <const> = policy.plan(schedule.fields, said, zone)
    if not plan then
      failure.raise("invalid", "%s:%d: %s of schedule \"%s\": %s", schedule.where.file,
        schedule.where.line, action, schedule.name, message)
    end
    return { schedule = schedule, plan = plan }
  end)
end

--- The actions that are one run's: a start that is repeated is of the run that begins others.
function M.only(schedule)
  local start <const> = schedule.fields.start
  return start and start.cron and { start = true } or nil
end

--- The first instant of an action.
local function first_of(each, action)
  local due <const> = policy.next(each.plan, policy.state(), each.schedule.fields,
    { [action] = true })
  return due and due.at
end

--- What the schedules of a program will do, as rows: the first instant of each action.
---@return { schedule: string, tasks: string[]|nil, action: string, phrase: string, at: number|nil, zone: string, remark: string|nil, each: boolean|nil }[]
function M.rows(plans)
  local rows <const> = {}
  for _, each in ipairs(plans) do
    local only <const> = M.only(each.schedule)
    for _, action in ipairs(M.actions) do
      local time <const> = each.schedule.fields[action]
      if time then
        local is_later <const> = only and not only[action]
        rows[#rows + 1] = { schedule = each.schedule.name, tasks = each.schedule.tasks,
          action = action, phrase = M.phrase(time), at = not is_later and first_of(each, action)
            or nil, zone = each.plan.zones[action],
          remark = when.remark(each.plan.what[action]) or time.cron and time.cron.note,
          each = is_later or nil, repeated = time.cron ~= nil or nil }
      end
    end
  end
  return rows
end

--- "schedule night: train starts Mon 2026-11-23 23:00:00 CET (Europe/Berlin), in 8h54m"
function M.line(row, now)
  local who <const> = row.tasks and table.concat(row.tasks, ", ") or "the run"
  local text <const> = row.at and ("%s%s"):format(when.text(row.at, row.zone, now), row.repeated
    and (", and then by " .. row.phrase) or "")
    or row.each and ("by %s, counted from each start"):format(row.phrase) or "never"
  return ("schedule %s: %s %s %s%s"):format(row.schedule, who, when.verb(row.action), text,
    row.remark and " (" .. row.remark .. ")" or "")
end

--- Does all of the program wait for an instant that is to come?
function M.waits(program, plans, now)
  if #program.schedules == 0 then return false end
  local function waits_for(name)
    return list.find(plans, function(each)
      local tasks <const>, start <const> = each.schedule.tasks, first_of(each, "start")
      return each.schedule.fields.start ~= nil and start ~= nil and start > now
        and (tasks == nil or name ~= nil and list.contains(tasks, name))
    end) ~= nil
  end
  for _, task in ipairs(program.tasks) do
    if not waits_for(task.name) then return false end
  end
  return #program.pipelines == 0 or waits_for(nil)
end

--- As they are now, for a cholfile that is read and not yet a run.
function M.now(program)
  return M.plans(program, native.clock.wall(), native.clock.zone())
end

return M
