-- The schedules of a run. Each is a task of the run that waits for its next instant, which is a
-- step with the instant as its name, notes what it does as an event, and does it: lets tasks begin,
-- pauses them, lets them go on, ends them, or begins a run of its own. What an instant resolved to
-- is in the record before it is waited for, so that a replay waits for the same.

local list <const> = require "core.list"
local native <const> = require "native"
local policy <const> = require "policy.schedule"
local repeats <const> = require "flow.repeats"
local task <const> = require "wait.task"

local M = {}

---@class flow.Scheduled   one schedule of the run
---@field declaration dsl.Schedule
---@field plan policy.Plan
---@field state policy.State
---@field said number    from when its times count
---@field mark string    of its text
---@field only table<string, boolean>|nil   the actions that are this run's
---@field gate table|nil                    an event: may its tasks begin
---@field over boolean|nil
---@field is_repeated boolean     each start begins a run of its own
---@field launching boolean       of such a one: runs may still begin, or go on
---@field ended table|nil         and the event of their end

---@class flow.Schedules
---@field all flow.Scheduled[]
---@field running table<string, native.Task>   of tasks that a schedule may end
local Schedules <const> = {}
Schedules.__index = Schedules

--- From when the times of a run count, and in which zone. The same in every process.
---@param row table   of the run
---@return number said, string zone
function M.origin(row)
  local env <const> = row and row.env or {}
  local said <const> = env.scheduled and env.scheduled.said or row and row.created
  return said or native.clock.now(), env.zone or native.clock.zone()
end

--- Tells schedules of one name apart whose text is another, as after `choline resume --update`.
---@param declaration dsl.Schedule
---@return string
function M.mark(declaration)
  local fields <const>, parts <const> = declaration.fields, {}
  for _, name in ipairs { "start", "pause", "resume", "stop" } do
    local time <const> = fields[name]
    parts[#parts + 1] = time and (time.cron or time.moment).text .. " "
      .. tostring((time.cron or time.moment).zone) or ""
  end
  for _, name in ipairs { "zone", "misfire", "late", "overlap", "times" } do
    parts[#parts + 1] = tostring(fields[name])
  end
  parts[#parts + 1] = table.concat(declaration.tasks or {}, ",")
  return native.text.sha256(table.concat(parts, "\n")):sub(1, 8)
end

--- From when the times of one schedule count: the run's beginning, or when this text of it came.
---@param row table
---@param events table[]   of the run
---@return number said, string zone
function M.said(declaration, row, events)
  local said, zone <const> = M.origin(row)
  local mark <const> = M.mark(declaration)
  for _, event in ipairs(events) do
    if event.kind == "run_updated" then
      said = event.at
    elseif event.kind == "schedule_set" and event.data.schedule == declaration.name
      and event.data.mark == mark then
      return event.data.said, zone
    end
  end
  return said, zone
end

local function concerns(scheduled, name)
  local tasks <const> = scheduled.declaration.tasks
  return tasks == nil or list.contains(tasks, name)
end

---@param ctx table
---@param row table|nil     of the run
---@param events table[]     of the run
---@return flow.Schedules
function M.new(ctx, row, events)
  local self <const> = setmetatable({ ctx = ctx, all = {}, running = {}, stopped = {} }, Schedules)
  for _, declaration in ipairs(ctx.program.schedules or {}) do
    local said <const>, zone <const> = M.said(declaration, row, events)
    local plan, message <const> = policy.plan(declaration.fields, said, zone)
    -- It could be resolved when the run began: the zones of this computer are others now.
    if not plan then plan = { at = {}, what = {}, repeated = {}, zones = {}, problem = message } end
    local is_repeated <const> = plan.repeated.start ~= nil
    self.all[#self.all + 1] = { declaration = declaration, plan = plan, state = policy.state(),
      said = said, mark = M.mark(declaration),
      only = is_repeated and { start = true } or nil, is_repeated = is_repeated,
      launching = is_repeated, ended = is_repeated and native.task.event() or nil }
  end
  return self
end

--- Have tasks of this run anything to do with schedules?
function Schedules:any() return #self.all > 0 end

local function left(scheduled)
  if scheduled.over then return nil end
  return policy.next(scheduled.plan, scheduled.state, scheduled.declaration.fields, scheduled.only)
end

--- Will something of a schedule still let something begin or go on?
function Schedules:stays()
  for _, scheduled in ipairs(self.all) do
    if scheduled.launching or left(scheduled) then return true end
  end
  return false
end

-- What tasks ask ----------------------------------------------------------------------------------

--- When the task begins, as far as a schedule says; nil when none does or it has begun.
local function start_of(scheduled)
  return not scheduled.is_repeated and scheduled.plan.at.start or nil
end

--- Runs `fn` until it ends; while it does, the caller parks whenever a pause is wanted.
---@async
local function or_park(self, name, child, fn)
  local pause <const>, count = self.ctx.pause, 0
  while true do
    count = count + 1
    local results <const> = table.pack(pause:unless_wanted(name, ("%s-%d"):format(child, count),
      fn))
    if results[1] then return table.unpack(results, 2, results.n) end
    local busy <close> = pause:enter()
    -- Below those of attempts, which count from 1.
    pause:park(self.ctx.events, name, -count)
  end
end

--- Waits until the schedules let the task or pipeline begin. Gives true, or false and why it never
--- will.
---@async
---@param name string
---@return boolean, string|nil
function Schedules:wait_start(name)
  for index, scheduled in ipairs(self.all) do
    if concerns(scheduled, name) and start_of(scheduled) then
      scheduled.gate = scheduled.gate or native.task.event()
      self.ctx:show_task(name, { state = "waiting", since = native.clock.now() })
      local why <const> = or_park(self, name, ("start-%d"):format(index), function()
        return scheduled.gate:wait()
      end)
      if why ~= "start" then return false, why end
    end
  end
  return true
end

--- Does the task, or pipeline, still wait for an instant to begin at?
function Schedules:waits(name)
  for _, scheduled in ipairs(self.all) do
    if concerns(scheduled, name) and not scheduled.over and start_of(scheduled)
      and not scheduled.state.last.start then
      return true
    end
  end
  return false
end

--- Runs `fn`, the work of the task, in a task that a schedule may end. Gives true and its result,
--- or false when it was ended.
---@async
function Schedules:run_task(name, fn)
  local may_end <const> = list.find(self.all, function(scheduled)
    return scheduled.declaration.tasks and scheduled.declaration.fields.stop
      and concerns(scheduled, name) and not scheduled.is_repeated
  end)
  if not may_end then return true, fn() end
  local child <const> = native.task.spawn("scheduled", fn)
  self.running[name] = child
  local guard <close> = task.on_exit(function(raised)
    self.running[name] = nil
    if raised then task.end_all({ child }, "the task ended", 900) end
  end)
  local ok <const>, value <const> = native.task.try(child)
  if self.stopped[name] and not ok then return false end
  if not ok then error(value, 0) end
  return true, value
end

-- What schedules do -------------------------------------------------------------------------------

local actions <const> = {}

local function open_gate(scheduled, why)
  if not start_of(scheduled) then return end
  scheduled.gate = scheduled.gate or native.task.event()
  if not scheduled.gate:is_set() then scheduled.gate:set(why) end
end

function actions.start(self, scheduled, decision)
  if not scheduled.is_repeated then return open_gate(scheduled, "start") end
  scheduled.runs:fire(decision.at, decision.late and native.clock.now() or decision.at)
end

function actions.pause(self, scheduled)
  local declaration <const> = scheduled.declaration
  self.ctx.pause:order(false, nil, { tasks = declaration.tasks, schedule = declaration.name })
end

function actions.resume(self, scheduled)
  -- What a person has paused, a person lets go on.
  if self.ctx.pause:is_ordered_by_person() then return end
  self.ctx.pause:go_on(scheduled.declaration.tasks)
end

function actions.stop(self, scheduled)
  local declaration <const> = scheduled.declaration
  open_gate(scheduled, "it was stopped before it began")
  if not declaration.tasks then return self.ctx:stop("its schedule") end
  for _, name in ipairs(declaration.tasks) do
    if self.running[name] then
      self.stopped[name] = true
      native.task.cancel(self.running[name], "stopped by its schedule")
    end
  end
end

local function emit(self, scheduled, kind, number, data)
  local declaration <const> = scheduled.declaration
  data.schedule, data.mark = declaration.name, scheduled.mark
  data.tasks = declaration.tasks and native.json.array(declaration.tasks) or nil
  return self.ctx.events:emit(kind, data, ("%s/%s/%s/%d"):format(kind, declaration.name,
    scheduled.mark, number)).data
end

--- One instant: said, waited for, decided, noted, done.
local function take(self, scheduled, due, number)
  local zone <const> = scheduled.plan.zones[due.action]
  local set <const> = emit(self, scheduled, "schedule_set", number, { action = due.action,
    at = due.at, zone = zone, said = scheduled.said })
  due = { action = set.action, at = set.at }
  native.run.show("schedule/" .. scheduled.declaration.name, { action = due.action, at = due.at,
    zone = zone })
  native.wait.till(due.at, ("%s %s"):format(due.action, native.clock.rfc3339(due.at)))
  local fields <const> = scheduled.declaration.fields
  local decided <const> = policy.decide(scheduled.plan, scheduled.state, fields, due,
    native.clock.now())
  local decision <const> = emit(self, scheduled, decided.fires and "schedule_fired"
    or "schedule_missed", number, { action = decided.action, at = decided.at, zone = zone,
    late = decided.late, missed = decided.missed, why = decided.why })
  decision.fires = decided.fires
  policy.note(scheduled.state, decision)
  if decision.fires then
    actions[decision.action](self, scheduled, decision)
  elseif decision.action == "start" then
    open_gate(scheduled, "its start was missed")
  end
end

local function follow(self, scheduled)
  local guard <close> = task.on_exit(function()
    scheduled.over = true
    native.run.show("schedule/" .. scheduled.declaration.name, nil)
    open_gate(scheduled, "its schedule was cancelled")
    if scheduled.runs then scheduled.runs:close() end
    self.ctx.pause:tell()
  end)
  local number = 0
  while true do
    local due <const> = left(scheduled)
    if not due then return end
    number = number + 1
    take(self, scheduled, due, number)
  end
end

--- Follows all schedules. Returns when nothing of them is left, with the runs that they began.
---@async
function Schedules:run()
  local tasks <const> = {}
  for _, scheduled in ipairs(self.all) do
    local name <const> = scheduled.declaration.name
    if scheduled.is_repeated then
      scheduled.runs = repeats.new(self.ctx, scheduled.declaration)
      tasks[#tasks + 1] = { name = name .. ":runs", fn = function()
        local guard <close> = task.on_exit(function()
          scheduled.launching = false
          scheduled.ended:set(true)
          self.ctx.pause:tell()
        end)
        scheduled.runs:serve()
      end }
    end
    tasks[#tasks + 1] = { name = name, fn = function()
      scheduled.following = native.task.spawn("instants", function() follow(self, scheduled) end)
      native.task.try(scheduled.following)
    end }
  end
  for _, result in ipairs(task.all(tasks)) do
    if not result.ok then error(result.value, 0) end
  end
end

local function parking_name(scheduled) return "schedule " .. scheduled.declaration.name end

--- Waits until what starts again and again does so no more, and its last run has ended.
---@async
function Schedules:wait_runs()
  for _, scheduled in ipairs(self.all) do
    if scheduled.ended then
      or_park(self, parking_name(scheduled), "ended-" .. scheduled.declaration.name, function()
        scheduled.ended:wait()
      end)
    end
  end
end

--- As whom the schedules themselves park.
---@return string[]
function Schedules:names() return list.map(self.all, parking_name) end

--- Nothing more happens by the schedule of that name; what it has paused stays so.
function Schedules:cancel(name)
  for _, scheduled in ipairs(self.all) do
    if scheduled.declaration.name == name and not scheduled.over then
      scheduled.over = true
      if scheduled.following then native.task.cancel(scheduled.following, "cancelled") end
    end
  end
end

return M
