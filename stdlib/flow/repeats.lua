-- Starts that happen again and again: each begins a run of its own, with the text and the params of
-- this one, and this run waits for their ends. Which of them there is follows from the schedule and
-- the instant, so a process that died in between finds the run that it began.

local list <const> = require "core.list"
local native <const> = require "native"
local queue <const> = require "wait.queue"

local M = {}

M.most_waiting = 100 -- with overlap = "queue"

-- The two halves of a program ---------------------------------------------------------------------

local function is_repeated(schedule)
  local start <const> = schedule.fields.start
  return start ~= nil and start.cron ~= nil
end

--- Leaves in the program of a run what is that run's: without the tasks that are begun again and
-- again, or, in a run that was begun so, only those.
---@param program table
---@param scheduled? { schedule: string }   of the run's env
function M.divide(program, scheduled)
  local mine <const> = scheduled and list.find(program.schedules, function(each)
    return each.name == scheduled.schedule
  end)
  if mine then
    mine.fields.start = nil
    program.schedules = list.filter(program.schedules, function(each)
      return each == mine or not mine.tasks and not is_repeated(each)
    end)
    if mine.tasks then
      program.pipelines = {}
      program.tasks = list.filter(program.tasks, function(each)
        return list.contains(mine.tasks, each.name)
      end)
    end
    return
  end
  for _, schedule in ipairs(program.schedules) do
    if is_repeated(schedule) then
      if not schedule.tasks then program.pipelines = {} end
      program.tasks = list.filter(program.tasks, function(each)
        return schedule.tasks ~= nil and not list.contains(schedule.tasks, each.name)
      end)
    end
  end
end

-- The runs ----------------------------------------------------------------------------------------

---@class flow.Runs
---@field waiting wait.Queue
---@field current string|nil   the run that goes on
local Runs <const> = {}
Runs.__index = Runs

---@param ctx table
---@param declaration dsl.Schedule
---@return flow.Runs
function M.new(ctx, declaration)
  return setmetatable({ ctx = ctx, declaration = declaration, waiting = queue.new(), count = 0 },
    Runs)
end

local function emit(self, kind, at, data)
  data.schedule, data.at = self.declaration.name, at
  self.ctx.events:emit(kind, data, ("%s/%s/%s"):format(kind, data.schedule,
    native.clock.rfc3339(at)))
end

--- An instant has come: what the schedule says about one that goes on is done.
---@param at number    the instant
---@param said number  from when the times of the run that begins count
function Runs:fire(at, said)
  local overlap <const> = self.declaration.fields.overlap
  local busy <const> = self.current or self.count > 0
  if busy and overlap == "forbid" then
    return emit(self, "schedule_skipped", at, { run = self.current, why = "the run of the start "
      .. "before goes on" })
  elseif busy and overlap == "queue" and self.count >= M.most_waiting then
    return emit(self, "schedule_skipped", at, { run = self.current,
      why = ("%d starts wait already"):format(self.count) })
  elseif busy and overlap == "replace" then
    while self.count > 0 do
      self.count = self.count - 1
      local other <const> = self.waiting:take()
      emit(self, "schedule_skipped", other.at, { why = "another start came" })
    end
    local child <const> = self.current and self.ctx.children[self.current]
    if child then child.stop = true end
  end
  self.count = self.count + 1
  self.waiting:put { at = at, said = said }
end

--- Makes the run of an instant, or finds the one that was made.
local function begin(self, start)
  local ctx <const> = self.ctx
  local row <const> = ctx.row or {}
  local env <const> = list.copy(row.env or {})
  env.scheduled = { schedule = self.declaration.name, at = start.at, said = start.said,
    by = ctx.run }
  return native.run.create {
    name = row.name or ctx.program.name, params = ctx.params, env = env,
    sources = list.map(native.store.sources(ctx.run), function(each)
      return { path = each.path, text = each.text }
    end), budget = ctx.account.limit,
    parent = ("%s/%s/%s"):format(ctx.run, self.declaration.name, native.clock.rfc3339(start.at)),
  }
end

--- Begins the runs one after the other, and waits for the end of each.
---@async
function Runs:serve()
  while true do
    local start <const> = self.waiting:take()
    if not start then return end
    self.count = self.count - 1
    local id <const> = begin(self, start)
    emit(self, "schedule_run_begun", start.at, { run = id })
    if id then
      self.current, self.ctx.children[id] = id, { since = native.clock.now() }
      local ended <const> = native.wait.passed("run/" .. id)
      self.current, self.ctx.children[id] = nil, nil
      emit(self, "schedule_run_ended", start.at, { run = id, state = ended.state,
        message = ended.message })
    end
  end
end

--- No run begins any more but those that wait.
function Runs:close() self.waiting:close() end

return M
