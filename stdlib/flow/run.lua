-- Executes a program as a durable run: its tasks in the order of their `after`, its pipelines
-- beside them, within its budget, and with everything released at the end. Called in a task of the
-- run that this process owns; entered again after a crash it takes the same way through the
-- journal.

local attempt <const> = require "flow.attempt"
local budget <const> = require "flow.budget"
local conditions <const> = require "flow.conditions"
local events <const> = require "flow.events"
local failure <const> = require "core.failure"
local instance <const> = require "flow.instance"
local native <const> = require "native"
local pause <const> = require "flow.pause"
local pipeline <const> = require "flow.pipeline"
local repeats <const> = require "flow.repeats"
local schedule <const> = require "flow.schedule"
local supervise <const> = require "flow.supervise"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

---@class flow.Context
---@field program table
---@field run string
---@field params table<string, any>
---@field pool flow.Pool
---@field account flow.Account
---@field events flow.Events
---@field pause flow.Pause
---@field schedules flow.Schedules
---@field conditions flow.Conditions
---@field children table<string, table>   runs that a schedule began and that have not ended
---@field attempts table<string, table>   of tasks, those that run now
---@field counts table<string, integer>
local Context <const> = {}
Context.__index = Context

--- What views show of a task; the run counts as waiting while all its tasks wait for a retry, or
--- for what their schedule says.
function Context:show_task(name, row)
  native.run.show("task/" .. name, row)
  self.states[name] = row.state
  self:show_state()
end

function Context:show_state()
  local scheduled <const> = self.schedules:any()
  local waiting, running = scheduled and next(self.states) == nil, false
  for _, state in pairs(self.states) do
    if state == "waiting" or scheduled and state == "paused" then waiting = true
    elseif state ~= "done" and state ~= "failed" and state ~= "skipped" and state ~= "paused"
      and state ~= "stopped" then
      running = true end
  end
  local state <const> = waiting and not running and "waiting" or "running"
  if state ~= self.state and not self.ending then
    self.state = state
    native.run.set_state(state)
  end
end

--- Ends the run as a person would.
function Context:stop(by)
  if self.on_stop then self.on_stop(by) end
end

local function longest_grace(program)
  local longest = 0
  for _, declaration in ipairs(program.tasks) do
    longest = math.max(longest, declaration.fields.grace or attempt.grace)
  end
  return longest
end

---@param options { run: string, row?: table, events?: table[], stop?: fun(by: string) }
---@return flow.Context
function M.context(program, options)
  local ctx <const> = setmetatable({
    program = program, run = options.run, params = program.values or {}, attempts = {}, counts = {},
    states = {}, ended = {}, outcomes = {}, set = {}, sealed = {}, relayed = {}, box = pipeline.box,
    state = "running", row = options.row, children = {}, on_stop = options.stop,
  }, Context)
  ctx.restarted = values.restarted(options.events or {})
  ctx.account = budget.new(program.budget, longest_grace(program))
  ctx.events = events.new(program.handlers)
  ctx.pause = pause.new(options.events or {})
  ctx.schedules = schedule.new(ctx, options.row, options.events or {})
  if ctx.schedules:any() then
    ctx.pause.stays = function() return ctx.schedules:stays() end
  end
  ctx.conditions = conditions.new(ctx)
  ctx.pool = instance.new(ctx)
  return ctx
end

local function names_of(after)
  if type(after) == "string" then return { after } end
  return after or {}
end

local function wait_before(ctx, declaration)
  for _, name in ipairs(names_of(declaration.fields.after)) do
    ctx.ended[name]:wait()
    if not ctx.outcomes[name].ok then return name end
  end
  return nil
end

local function skip(ctx, declaration, data)
  local name <const> = declaration.name
  data.task = name
  ctx:show_task(name, { state = "skipped", since = native.clock.now() })
  ctx.events:emit("skipped", data)
end

local function skip_task(ctx, declaration, data)
  ctx.outcomes[declaration.name].skipped = true
  ctx.pool:leave(declaration.fields.on, false, true)
  skip(ctx, declaration, data)
end

local function run_task(ctx, declaration)
  local name <const> = declaration.name
  local outcome <const> = { ok = false }
  ctx.outcomes[name] = outcome
  local guard <close> = task.on_exit(function() ctx.ended[name]:set(true) end)
  local may <const>, why <const> = ctx.schedules:wait_start(name)
  if not may then return skip_task(ctx, declaration, { why = why }) end
  local blocker <const> = wait_before(ctx, declaration)
  if blocker then return skip_task(ctx, declaration, { after = blocker }) end
  local whole <const>, result <const> = ctx.schedules:run_task(name, function()
    return supervise.task(ctx, declaration)
  end)
  -- A stop that was planned is a good end: what comes after it begins.
  outcome.ok = true
  if not whole then ctx.events:emit("task_stopped", { task = name }) end
  return result
end

local function run_pipeline(ctx, declaration)
  local may <const>, never <const> = ctx.schedules:wait_start(declaration.name)
  if not may then return skip(ctx, declaration, { why = never }) end
  local busy <close> = ctx.pause:enter()
  local began <const> = native.clock.now()
  local function show(state)
    ctx:show_task(declaration.name, { state = state, since = native.clock.now(), pipeline = true })
  end
  local guard <close> = task.on_exit(function(raised)
    if raised == nil then return end
    show("failed")
    local why <const> = failure.from(raised)
    if why.kind ~= "cancelled" then
      ctx.events:emit("failed", { task = declaration.name, reason = why.kind,
        message = tostring(why) })
    end
  end)
  ctx.events:emit("pipeline_started", { task = declaration.name })
  show("running")
  declaration.body()
  show("done")
  ctx.events:emit("pipeline_done",
    { task = declaration.name, seconds = native.clock.now() - began })
end

local function work(ctx)
  ctx:show_state()
  local children <const> = {}
  for _, declaration in ipairs(ctx.program.tasks) do
    ctx.ended[declaration.name] = native.task.event()
    ctx.pool:join(declaration.fields.on, declaration.fields.finally == "keep")
    table.insert(children, { name = declaration.name, fn = function() return run_task(ctx,
      declaration) end })
  end
  for _, declaration in ipairs(ctx.program.pipelines or {}) do
    table.insert(children, { name = declaration.name, fn = function() return run_pipeline(ctx,
      declaration) end })
  end
  for _, result in ipairs(task.all(children)) do
    if not result.ok then error(result.value, 0) end
  end
  ctx.schedules:wait_runs()
end

--- Waits for the end of the work, of the budget, or of everything that can go on without `choline
--- resume`.
local function supervise_work(ctx, options)
  local all <const> = { native.task.spawn("work", function() work(ctx) end) }
  local guard <close> = task.on_exit(function() task.end_all(all, "the run ends", 900) end)
  all[2] = native.task.spawn("pause", function() ctx.pause:wait_quiet() end)
  if ctx.account.limit then all[3] = native.task.spawn("budget", function()
    return ctx.account:guard() end)
  end
  local first <const> = native.task.any(all)
  if first == 2 then
    options.paused()
    failure.raise("cancelled", "the run is paused")
  end
  if first == 3 then
    local why <const> = native.task.join(all[3])
    task.end_all({ all[1] }, why.message, 900)
    return why
  end
  local ok <const>, raised <const> = native.task.try(all[1])
  return not ok and failure.from(raised) or nil
end

local orders <const> = {}

function orders.pause(ctx, order) ctx.pause:order(order.now == true, order.by) end
function orders.resume(ctx, order)
  if not order.taken_up then return ctx.pause:go_on() end
  local names <const> = ctx.schedules:names()
  for _, kind in ipairs { "tasks", "pipelines" } do
    for _, declaration in ipairs(ctx.program[kind] or {}) do
      names[#names + 1] = declaration.name
    end
  end
  ctx.pause:take_up(names)
end

function orders.cancel_schedule(ctx, order)
  if ctx.set[order.request] then return end
  ctx.set[order.request] = true
  ctx.events:emit("schedule_cancelled", { schedule = order.name, by = order.by,
    request = order.request }, "schedule_cancelled/" .. order.request)
  ctx.schedules:cancel(order.name)
end

function orders.set(ctx, order)
  if ctx.set[order.request] then return end
  ctx.set[order.request] = true
  if order.name == "budget" then ctx.account:change(order.value)
  else ctx.params[order.name] = order.value end
  ctx.events:emit("param_set", { name = order.name, value = order.value, by = order.by,
    request = order.request }, "param_set/" .. order.request)
end

--- What other processes ask of the run: each order is a step, so a replay obeys it where it came.
local function obey(ctx)
  while true do
    local order <const> = native.wait.passed("order")
    orders[order.verb](ctx, order)
  end
end

local function tell_start(ctx, options)
  local row <const> = options.row or {}
  ctx.events:emit("run_started", {
    params = ctx.params, seed = row.seed, git = row.env and row.env.git, version = native.version,
    cholfile = ctx.program.path,
  }, "run_started")
end

--- Executes `program`. Gives nil when all went well, else the failure that ended it. Raises when it
--- is cancelled, after everything is released. options.paused is called when all that is left is
--- paused, and does not return.
---@async
---@param program table
---@param options { run: string, row?: table, events?: table[], paused: function, stop?: fun(by: string), started?: fun(ctx: flow.Context) }
---@return Failure|nil
function M.execute(program, options)
  if program.schedules and #program.schedules > 0 then
    repeats.divide(program, options.row and options.row.env and options.row.env.scheduled)
  end
  local ctx <const> = M.context(program, options)
  pipeline.enter(ctx)
  program.engine = pipeline.engine(ctx)
  conditions.check(ctx)
  if options.started then options.started(ctx) end
  local obeying <const> = native.task.spawn("orders", function() obey(ctx) end)
  local handlers <const> = native.task.spawn("handlers", function() ctx.events:serve() end)
  local schedules <const> = ctx.schedules:any()
    and native.task.spawn("schedules", function() ctx.schedules:run() end) or nil
  local guard <close> = task.on_exit(function(raised)
    ctx.ending = true
    native.task.shield(900, function() ctx.pool:close(raised ~= nil) end)
    task.end_all({ handlers, obeying, schedules }, "the run ends")
    pipeline.enter(nil)
    program.engine = nil
  end)
  tell_start(ctx, options)
  local why <const> = supervise_work(ctx, options)
  if why and why.kind == "divergence" then error(why, 0) end
  ctx.ending = true
  if schedules then task.end_all({ schedules }, "the work is done") end
  ctx.pool:close()
  ctx.account:close()
  if why then
    ctx.events:emit("run_failed", { reason = why.kind, message = why.message,
      cost = ctx.account:cost() }, "run_failed")
  else
    ctx.events:emit("run_done", { cost = ctx.account:cost() }, "run_done")
  end
  ctx.events:close()
  native.task.try(handlers)
  return why
end

return M
