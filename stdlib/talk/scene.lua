-- What a view shows of a run, read from the store alone: so the same view serves the process that
-- owns the run and any other.

local native <const> = require "native"

local M = {}

M.event_count = 6
M.log_bytes = 4096

---@class talk.Scene
---@field row native.RunRow
---@field shown table<string, any>
---@field instances table[]
---@field metrics table[]
---@field events table[]     the newest, oldest first
---@field log { task: string, attempt: integer, lines: string[] }|nil
---@field now number

---@class talk.Follower      remembers which events were read
local Follower <const> = {}
Follower.__index = Follower

---@param run string
---@return talk.Follower
function M.follow(run)
  return setmetatable({ run = run, last = 0, recent = {}, tasks = {} }, Follower)
end

local state_of <const> = {
  task_started = "stopped", pipeline_started = "stopped", attempt_started = "stopped",
  task_done = "done", pipeline_done = "done", failed = "failed", skipped = "skipped",
  paused = "paused", resumed = "stopped", task_stopped = "stopped",
}

--- What a schedule does next.
local function note_schedule(rows, event)
  local data <const> = event.data
  if event.kind == "schedule_set" then
    rows["schedule/" .. data.schedule] = { action = data.action, at = data.at, zone = data.zone }
  elseif event.kind == "schedule_cancelled" then
    rows["schedule/" .. data.schedule] = nil
  end
end

--- What the events alone say of a task, for a run that nobody owns now.
local function note_task(tasks, event)
  note_schedule(tasks, event)
  local name <const>, state <const> = event.data.task, state_of[event.kind]
  if not name or not state then return end
  local row <const> = tasks["task/" .. name] or {}
  tasks["task/" .. name] = row
  row.state, row.since = state, event.at
  row.attempt = event.data.attempt or event.data.attempts or row.attempt
  row.failure = event.kind == "failed" and event.data.message or nil
end

--- Events since the last call.
---@return table[]
function Follower:news()
  local events <const> = native.store.events(self.run, self.last)
  for _, event in ipairs(events) do
    self.last = event.id
    note_task(self.tasks, event)
    table.insert(self.recent, event)
  end
  while #self.recent > M.event_count do table.remove(self.recent, 1) end
  return events
end

local function last_lines(text, count)
  local lines <const> = {}
  for line in text:gsub("\27%[[%d;?]*%a", ""):gmatch("[^\n]*") do
    line = line:gsub("^.*\r", ""):gsub("%c", " ")
    if line:find("%S") then lines[#lines + 1] = line end
  end
  return table.move(lines, math.max(1, #lines - count + 1), #lines, 1, {})
end

local function newest_log(run, count)
  local newest
  for _, command in ipairs(native.store.commands(run)) do
    if not newest or (command.started or 0) >= (newest.started or 0) then newest = command end
  end
  if not newest or not native.fs.stat(newest.log) then return nil end
  local size <const> = native.fs.stat(newest.log).size
  local text <const> = native.fs.read_at(newest.log, math.max(0, size - M.log_bytes), M.log_bytes)
  return { task = newest.task, attempt = newest.attempt, lines = last_lines(text, count) }
end

---@return talk.Scene
function Follower:scene()
  self:news()
  local row <const> = native.store.find(self.run)
  return {
    row = row, shown = row.owner and native.store.shown(self.run) or self.tasks,
    instances = native.store.instances { run = self.run }, metrics = native.store.metrics(self.run),
    events = self.recent, log = newest_log(self.run, 4), now = native.clock.wall(),
  }
end

return M
