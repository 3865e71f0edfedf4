-- What happens in a run, as events: recorded once however often the run is replayed, shown by
-- views, and handed to the cholfile's `on` handlers, one after the other in a task of their own.

local failure <const> = require "core.failure"
local native <const> = require "native"
local queue <const> = require "wait.queue"

local M = {}

-- Every kind but those of failures, which are events too when a task's attempt ends with one.
M.catalogue = {
  { name = "run_started", help = "a run begins: params, seed, git commit, version" },
  { name = "run_resumed", help = "another process goes on with the run" },
  { name = "run_updated", help = "the run goes on with another text of its cholfile" },
  { name = "run_done", help = "the run has ended well" },
  { name = "run_failed", help = "the run has ended, and not well" },
  { name = "run_stopped", help = "the run was stopped" },
  { name = "task_started", help = "a task begins" },
  { name = "attempt_started", help = "the command of an attempt was started" },
  { name = "condition_met", help = "a condition of a task holds, and its command is told to end" },
  { name = "task_done", help = "a task has ended well" },
  { name = "failed", help = "a task has ended, and not well" },
  { name = "skipped",
    help = "a task was not begun: one before it failed, or its schedule says so" },
  { name = "setup_done", help = "setup has ended on an instance" },
  { name = "offer_failed", help = "an offer could not be rented" },
  { name = "instance_rented", help = "an instance is rented and paid from now on" },
  { name = "instance_ready", help = "the agent on an instance answers" },
  { name = "instance_released", help = "an instance is gone and costs nothing more" },
  { name = "instance_kept", help = "an instance was left running as finally = \"keep\" says" },
  { name = "release_failed", help = "an instance could not be ended; choline gc tries again" },
  { name = "sync_done", help = "files were transferred" },
  { name = "sync_failed", help = "files could not be transferred" },
  { name = "sync_conflict",
    help = "a file changed at both sides of a two-way sync; both versions are kept" },
  { name = "sync_looks",
    help = "changes cannot be told at a place; the sync looks every few seconds instead" },
  { name = "sync_relayed",
    help = "a direct sync passes through here, as neither instance reaches the other" },
  { name = "sync_recovered", help = "a repeated sync that had failed works again" },
  { name = "checkpoint_pulled", help = "a complete checkpoint is here, and verified" },
  { name = "checkpoint_repeated",
    help = "a checkpoint was not what the instance has, and came again" },
  { name = "checkpoint_dropped", help = "an old checkpoint was removed here, as `keep` says" },
  { name = "checkpoint_pushed", help = "a checkpoint was brought to an instance to go on from" },
  { name = "retrying", help = "a policy says to try again" },
  { name = "failed_over", help = "a policy says to go on with another offer" },
  { name = "pause_requested", help = "a command was told to write a checkpoint and end" },
  { name = "pause_secured", help = "what a paused task goes on from is here, verified" },
  { name = "pause_refused", help = "a command without a checkpoint goes on" },
  { name = "pause_held",
    help = "a task's instance is kept, as what it did is not here in a checkpoint" },
  { name = "set_requested", help = "somebody wants a param set; the run takes it up when it can" },
  { name = "param_set", help = "somebody has set a param of the run" },
  { name = "paused", help = "a task waits for choline resume and costs nothing" },
  { name = "resumed", help = "a paused task goes on" },
  { name = "task_stopped", help = "a schedule has ended a task; what comes after it begins" },
  { name = "schedule_set", help = "what a schedule does next, and when" },
  { name = "schedule_fired", help = "a schedule did something at its instant" },
  { name = "schedule_missed",
    help = "an instant of a schedule passed unseen and is not made up for" },
  { name = "schedule_skipped", help = "a start was left out, as `overlap` says" },
  { name = "schedule_run_begun", help = "a start has begun a run of its own" },
  { name = "schedule_run_ended", help = "the run of a start has ended" },
  { name = "schedule_cancelled", help = "somebody has cancelled a schedule" },
  { name = "schedule_cancel_requested",
    help = "somebody wants a schedule cancelled; the run takes it up when it can" },
  { name = "pipeline_started", help = "a pipeline begins" },
  { name = "pipeline_done", help = "a pipeline has ended well" },
  { name = "command_done", help = "a command of a pipeline has ended" },
  { name = "handler_failed", help = "an `on` handler raised an error" },
  { name = "log", help = "the cholfile said log.info, log.warn or log.error" },
}

--- The names that `on` accepts: events and the kinds of failures.
---@return string[]
function M.names()
  local names <const> = {}
  for index, kind in ipairs(M.catalogue) do names[index] = kind.name end
  for _, kind in ipairs(failure.task_kinds) do
    if kind ~= "failed" then names[#names + 1] = kind end
  end
  return names
end

---@class flow.Events
local Events <const> = {}
Events.__index = Events

---@param handlers { event: string, call: function, where: table }[]
---@return flow.Events
function M.new(handlers)
  local by_kind <const> = {}
  for _, handler in ipairs(handlers or {}) do
    by_kind[handler.event] = by_kind[handler.event] or {}
    table.insert(by_kind[handler.event], handler)
  end
  return setmetatable({ handlers = by_kind, queue = queue.new() }, Events)
end

--- Records an event and hands it to the handlers of its kind.
---@param kind string
---@param data table
---@param key? string   makes it the same event wherever it is recorded
function Events:emit(kind, data, key)
  local event <const> = native.run.event(kind, data, key)
  if self.handlers[kind] then
    local seen <const> = { kind = kind, at = event.at }
    for name, value in pairs(data) do
      if seen[name] == nil then seen[name] = value end
    end
    self.queue:put(seen)
  end
  return event
end

local function call(self, handler, event)
  local ok <const>, raised <const> = pcall(handler.call, event) -- a handler must not end the run
  if ok then return end
  local why <const> = failure.from(raised)
  if why.kind == "cancelled" then error(raised, 0) end
  native.run.event("handler_failed", { event = event.kind, message = tostring(why) })
end

--- Serves the handlers until the events are closed. Runs as a task of the run: what handlers do is
--- durable.
---@async
function Events:serve()
  while true do
    local event <const> = self.queue:take()
    if not event then return end
    for _, handler in ipairs(self.handlers[event.kind]) do call(self, handler, event) end
  end
end

function Events:close() self.queue:close() end

return M
