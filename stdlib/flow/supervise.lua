-- Keeps a task going: attempts one after the other, each failure put to the task's policies, until
-- it is done or the policies give up.

local attempt <const> = require "flow.attempt"
local combine <const> = require "policy.combine"
local failure <const> = require "core.failure"
local metrics <const> = require "flow.metrics"
local native <const> = require "native"
local task <const> = require "wait.task"
local verdict <const> = require "policy.verdict"

local M = {}

--- Runs one attempt in a task of its own. Gives true and its result, or false and the failure.
local function try_once(self)
  local number <const> = #self.history + 1
  local current <const> = attempt.new {
    ctx = self.ctx, declaration = self.declaration, number = number,
  }
  self.current = current
  self.ctx.attempts[self.declaration.name] = current
  local fields <const> = self.declaration.fields
  local chooser <const> = type(fields.failover) == "table" and fields.failover.choose or nil
  local child <const> = native.task.spawn(tostring(number), function()
    self.ctx:show_task(self.declaration.name, {
      state = "renting", attempt = number, since = native.clock.now(),
    })
    local live <const> = self.ctx.pool:take(fields.on, chooser)
    local guard <close> = task.on_exit(function() self.ctx.pool:put_back(live) end)
    return current:run(live)
  end)
  local guard <close> = task.on_exit(function()
    self.ctx.attempts[self.declaration.name] = nil
    task.end_all({ child }, "the task ended")
  end)
  return native.task.try(child)
end

local function decide(self, happened)
  local fields <const> = self.declaration.fields
  local ok <const>, answer <const> = pcall(combine.decide,
    { retry = fields.retry, failover = fields.failover }, happened, self.history,
    { now = native.clock.now(), began = self.began, random = native.random.number,
      params = self.ctx.params })
  if ok then return answer end
  error(failure.wrap(answer, ("the policy of task \"%s\" failed"):format(self.declaration.name)), 0)
end

local function give_up(self, happened, why)
  local name <const> = self.declaration.name
  self.ctx:show_task(name, { state = "failed", attempt = #self.history, since = native.clock.now(),
    failure = happened.message })
  self.ctx.events:emit("failed", {
    task = name, reason = happened.kind, message = happened.message, why = why,
    attempts = #self.history,
    code = happened.fields and happened.fields.code,
  })
  error(happened, 0)
end

local function wait_before_retry(self, answer)
  local now <const> = native.clock.now()
  local next_number <const> = #self.history + 1
  self.ctx.events:emit("retrying", {
    task = self.declaration.name, attempt = next_number, wait = answer.seconds or 0,
    at = now + (answer.seconds or 0), why = answer.why,
  })
  self.ctx:show_task(self.declaration.name, {
    state = "waiting", attempt = next_number, since = now, next_at = now + (answer.seconds or 0),
    failure = self.history[#self.history].failure.message,
  })
  if (answer.seconds or 0) > 0 then
    self.ctx.pause:unless_wanted(self.declaration.name, ("wait-%d"):format(next_number), function()
      native.wait.sleep(answer.seconds)
    end)
  end
end

local function fail_over(self, live, answer)
  if live then
    self.ctx.pool:retire(live, "failed over")
    if live.holders == 0 then self.ctx.pool:release(live, "failed over") end
  end
  self.ctx.events:emit("failed_over", {
    task = self.declaration.name, attempt = #self.history + 1, from = live and live.label,
    why = answer.why,
  })
end

local function park(self, by_policy)
  local name <const> = self.declaration.name
  if not self.ctx.pause:is_answered(name, #self.history) then
    self.ctx:show_task(name, { state = "paused", attempt = #self.history,
      since = native.clock.now() })
  end
  self.ctx.pool:rest(self.declaration.fields.on)
  -- A schedule may end the task here, and the run goes on.
  local guard <close> = task.on_exit(function(raised)
    if raised == nil or self.ctx.schedules:any() then
      self.ctx.pool:wake(self.declaration.fields.on)
    end
  end)
  self.ctx.pause:park(self.ctx.events, name, #self.history, by_policy)
end

local function record(self, happened, started, live)
  local now <const> = native.clock.now()
  local past <const> = {
    attempt = #self.history + 1, failure = happened, started = started, ended = now,
    instance = live and live.name,
  }
  -- A task that said fail has its event when it ends.
  if happened.kind ~= "failed" then self.ctx.events:emit(happened.kind, {
    task = self.declaration.name, attempt = past.attempt, instance = live and live.name,
    label = live and live.label, lived = live and now - live.began, message = happened.message,
    code = happened.fields and happened.fields.code,
  }) end
  return past
end

--- After a failure: asks the policies and does what they say. Returns when the task is to be tried
--- again.
local function after_failure(self, happened, started, live)
  if combine.instance_gone(happened) and live then
    live.gone = true
    self.ctx.pool:retire(live, happened.kind)
    if live.holders == 0 then self.ctx.pool:release(live, happened.kind) end
  end
  local past <const> = record(self, happened, started, live)
  local answer <const> = decide(self, happened)
  past.verdict = answer
  table.insert(self.history, past)
  if answer.verdict == "give_up" then return give_up(self, happened, answer.why) end
  if answer.verdict == "pause" then return park(self, true) end
  if answer.verdict == "fail_over" then return fail_over(self, live, answer) end
  return wait_before_retry(self, answer)
end

--- Between attempts there is nothing to save.
local function park_if_wanted(self)
  if not self.ctx.pause:wanted(self.declaration.name) then return end
  table.insert(self.history, {
    attempt = #self.history + 1, failure = failure.new("cancelled", "paused"),
    verdict = verdict.pause(), started = native.clock.now(), ended = native.clock.now(),
  })
  park(self)
end

local function supervise(self)
  while true do
    park_if_wanted(self)
    local started <const> = native.clock.now()
    local ok <const>, value <const> = try_once(self)
    local live <const> = self.current.live
    if ok and not (type(value) == "table" and value.paused) then return value end
    if ok then
      table.insert(self.history, {
        attempt = #self.history + 1, failure = failure.new("cancelled", "paused"),
        verdict = verdict.pause(), started = started, ended = native.clock.now(),
        instance = live and live.name,
      })
      if not value.again then park(self) end
    else
      local happened <const> = failure.from(value)
      if happened.kind == "cancelled" or happened.kind == "divergence" then error(value, 0) end
      after_failure(self, happened, started, live)
    end
  end
end

--- Runs the declared task to its end. Gives the result of its last command, or raises its last
--- failure.
---@async
function M.task(ctx, declaration)
  local self <const> = { ctx = ctx, declaration = declaration, history = {},
    began = native.clock.now() }
  local busy <close> = ctx.pause:enter()
  local guard <close> = task.on_exit(function(raised)
    local cancelled <const> = raised ~= nil and failure.from(raised).kind == "cancelled"
    if cancelled then
      ctx:show_task(declaration.name, { state = "stopped", since = native.clock.now() })
    end
    ctx.pool:leave(declaration.fields.on, cancelled)
  end)
  ctx.events:emit("task_started", { task = declaration.name })
  local result <const> = supervise(self)
  ctx:show_task(declaration.name, { state = "done", attempt = #self.history + 1,
    since = native.clock.now() })
  ctx.events:emit("task_done", {
    task = declaration.name, attempts = #self.history + 1,
    seconds = native.clock.now() - self.began,
    metrics = metrics.of(result, declaration.fields.metrics),
    condition = self.current.seen and self.current.seen.condition,
  })
  return result
end

return M
