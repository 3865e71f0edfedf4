-- One attempt of a task on one instance: files towards it, setup once, the command with its syncs
-- and its time limit, and the files back.

local checkpoint <const> = require "flow.checkpoint"
local conditions <const> = require "flow.conditions"
local ending <const> = require "flow.ending"
local failure <const> = require "core.failure"
local duration <const> = require "core.duration"
local list <const> = require "core.list"
local native <const> = require "native"
local sync <const> = require "flow.sync"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

M.grace = ending.grace

local function code_text(result)
  if result.signal and result.signal ~= 0 then return ("signal %d"):format(result.signal) end
  return ("exit %d"):format(result.code)
end

--- How a command's end is called, or nil when it went well.
---@return Failure|nil
function M.classify(result, what)
  if result.code == 0 and (result.signal or 0) == 0 then return nil end
  local fields <const> = { code = result.code, signal = result.signal, seconds = result.seconds }
  local after <const> = duration.short(result.seconds or 0)
  if result.oom then
    return failure.new("oom", ("%s ran out of memory after %s"):format(what, after), fields)
  end
  return failure.new("crashed", ("%s ended with %s after %s"):format(what, code_text(result),
    after), fields)
end

local function environment(ctx, names, env)
  local out <const> = values.env(env, names)
  out.CHOLINE_RUN, out.CHOLINE_TASK = ctx.run, names.task
  out.CHOLINE_ATTEMPT = tostring(names.attempt)
  return out
end

--- Starts a command and waits for its end.
---@async
function M.execute(live, fields)
  native.instance.start(live.tag, fields)
  return native.instance.wait(live.tag, fields.key)
end

local function setup(self)
  local fields <const> = self.declaration.fields
  if not fields.setup then return end
  task.once(self.live.done, "setup/" .. self.declaration.name, function()
    local began <const> = native.clock.now()
    self:show("setup")
    local key <const> = values.key(self.ctx, self.declaration.name, "setup", self.number)
    local ended <const>, result <const> = self.ctx.pause:unless_wanted(self.declaration.name,
      "setup", function() return M.execute(self.live, {
      key = key,
      task = self.declaration.name, attempt = self.number, dir = self.dir,
      command = values.command(fields.setup, self.names), env = environment(self.ctx, self.names,
        fields.env),
    }) end)
    if not ended then
      -- it may not even have begun
      pcall(native.instance.signal, self.live.tag, key, "KILL")
      failure.raise("cancelled", "paused before its setup was done")
    end
    local why <const> = M.classify(result, "setup")
    if why then error(failure.new("setup_failed", why.message, why.fields), 0) end
    self.ctx.events:emit("setup_done", {
      task = self.declaration.name, instance = self.live.name, seconds = native.clock.now() - began,
    })
    return true
  end)
end

--- The command of this attempt: `resume.run` when there is a checkpoint of this run to go on from.
local function choose_command(self)
  local fields <const> = self.declaration.fields
  if not fields.resume then return fields.run end
  local newest <const>, others <const> = checkpoint.newest(self.ctx, fields.resume,
    self.live)
  if not newest then return fields.run end
  self.names.checkpoint = checkpoint.place(self.ctx, self.live, fields.resume, newest, others,
    self.dir)
  self.checkpoint = newest
  return fields.resume.run or fields.run
end

--- Waits for the command's end, and serves orders to pause meanwhile.
local function wait_command(self, key)
  local fields <const>, pause <const> = self.declaration.fields, self.ctx.pause
  local name <const> = self.declaration.name
  local waiting <const> = native.task.spawn("command", function()
    return native.instance.wait(self.live.tag, key)
  end)
  local limit <const> = fields.timeout and native.task.spawn("command-limit", function()
    native.wait.sleep(fields.timeout)
  end)
  local meeting <const> = self.ctx.conditions:follow(self, key)
  local guard <close> = task.on_exit(function()
    self.ctx.conditions:ended(self, key)
    task.end_all(list.append({ waiting, limit }, meeting), "the command ended")
  end)
  while true do
    local asked <const> = native.task.spawn("command-pause-" .. pause.count, function()
      pause:wait_wanted(name)
    end)
    local asking <close> = task.on_exit(function() task.end_all({ asked }, "the wait is over") end)
    local all <const> = list.append({ waiting, asked, limit }, meeting)
    local first <const> = all[native.task.any(all)]
    if first == waiting then return native.task.join(waiting) end
    if first == limit then break end
    if first ~= asked then
      self.seen = native.task.join(first)
      return ending.as_seen(self, key, waiting)
    end
    if ending.pause(self, key, waiting) then
      self.paused = true
      return native.task.join(waiting)
    end
  end
  ending.stop(self.live, key, fields, "grace")
  failure.raise("timeout", "task \"%s\" took longer than %s", name, duration.short(fields.timeout))
end

local function start_command(self, command)
  local fields <const> = self.declaration.fields
  local key <const> = values.key(self.ctx, self.declaration.name, self.number)
  native.instance.start(self.live.tag, {
    key = key, task = self.declaration.name, attempt = self.number, dir = self.dir,
    command = values.command(command, self.names), env = environment(self.ctx, self.names,
      fields.env),
    metrics = M.patterns(fields.metrics),
  })
  self.began = native.clock.now()
  self.ctx.events:emit("attempt_started", {
    task = self.declaration.name, attempt = self.number, instance = self.live.name,
    checkpoint = self.checkpoint and self.checkpoint.name, step = self.checkpoint
      and self.checkpoint.step,
  })
  self:show("running")
  if fields.resume then
    self.live.done["made/" .. fields.resume.from] = { done = true, value = true }
  end
  return key
end

--- What C++ takes from a command's output: patterns only.
function M.patterns(metrics)
  if not metrics then return nil end
  local out <const> = {}
  for name, metric in pairs(metrics) do
    if type(metric) == "string" then metric = { pattern = metric } end
    out[name] = { pattern = metric.pattern, step = metric.step }
  end
  return out
end

--- After a cancellation: what the command can still save comes here, unless there is no time.
local function bring_back(self, key)
  if self.live.gone or self.ctx.hurry then return end
  native.task.shield((self.declaration.fields.grace or M.grace) + 60, function()
    if key then ending.stop(self.live, key, self.declaration.fields, "stop-grace") end
    sync.pull_all(self.ctx, self.live)
  end)
end

--- The work itself, with its syncs going on beside it. Gives the end of a command, or what a
--- function gave.
local function run_work(self)
  local fields <const> = self.declaration.fields
  local is_function <const> = type(fields.run) == "function"
  local command <const> = choose_command(self)
  local syncers <const> = {}
  local key
  local guard <close> = task.on_exit(function(raised)
    task.end_all(syncers, "the command ended", 60)
    if raised and failure.from(raised).kind == "cancelled" then bring_back(self, key) end
  end)
  key = not is_function and start_command(self, command)
  for index, each in ipairs(sync.repeated(self.ctx.program, self.live.name)) do
    syncers[index] = native.task.spawn("sync-" .. each.name, function()
      sync.follow(self.ctx, self.live, each)
    end)
  end
  -- To learn that the instance is gone, and to bring files back also after a failure.
  local ok <const>, result <const> = pcall(is_function and self.call_function or wait_command, self,
    key)
  if not ok then
    local kind <const> = failure.from(result).kind
    if kind == "preempted" or kind == "lost" then self.live.gone = true end
    local ends_here <const> = kind == "cancelled" and not self.paused
    if ends_here or kind == "divergence" or self.live.gone then error(result, 0) end
  end
  task.end_all(syncers, "the command ended", 60)
  for index = #syncers, 1, -1 do syncers[index] = nil end
  return self:finish(ok, result)
end

local Attempt <const> = {}
Attempt.__index = Attempt

function Attempt:show(state)
  self.state = state
  self.ctx:show_task(self.declaration.name, {
    state = state, attempt = self.number, instance = self.live and self.live.name,
    since = native.clock.now(), checkpoint = self.checkpoint and self.checkpoint.name,
    why = self.seen and self.seen.message,
  })
end

--- Runs a task that is a function, as a part of a pipeline with this attempt's instance.
---@async
function Attempt:call_function()
  self.ctx.events:emit("attempt_started", {
    task = self.declaration.name, attempt = self.number, instance = self.live.name,
  })
  self:show("running")
  local ended <const>, result <const> = self.ctx.pause:unless_wanted(self.declaration.name,
    "function", function()
      return self.declaration.fields.run {
        instance = self.ctx.box(self.live, self), attempt = self.number,
        checkpoint = self.names.checkpoint,
      }
    end)
  self.paused = not ended
  if self.paused then self.ctx.pause:serve(self.declaration.name) end
  return result
end

--- After the work's end: files back, then what its end is called.
function Attempt:finish(ok, result)
  local why
  if not ok and not self.paused then
    why = failure.from(result)
  elseif self.seen then
    why = self.seen.action == "fail" and conditions.failure(self.seen, self.declaration.name) or nil
  elseif type(self.declaration.fields.run) ~= "function" then
    why = M.classify(result, ("task \"%s\""):format(self.declaration.name))
  end
  self:show("syncing")
  local lost <const> = sync.pull_all(self.ctx, self.live)
  if self.paused then
    if not ending.secure(self, lost) then return { paused = true, again = true } end
    return { paused = true }
  end
  if why then error(why, 0) end
  if lost then
    error(failure.wrap(lost, "the command ended well, but its files could not be brought back"), 0)
  end
  return result
end

---@param fields { ctx: table, declaration: table, number: integer }
function M.new(fields) return setmetatable(fields, Attempt) end

--- Runs the attempt on `live`; gives the command's end or { paused = true }, or raises a failure.
---@async
function Attempt:run(live)
  local fields <const> = self.declaration.fields
  self.live = live
  self.dir = fields.dir or values.folder(self.ctx, live.name)
  self.names = values.of(self.ctx, {
    task = self.declaration.name, attempt = self.number, instance = live.name,
  }, self.dir)
  self:show("syncing")
  sync.push_all(self.ctx, live)
  if fields.resume then checkpoint.look(self.ctx, live, fields.resume) end
  local name <const> = self.declaration.name
  if not self.ctx.pause:wanted(name) then
    local ok <const>, raised <const> = pcall(setup, self) -- a pause cuts it short
    if not ok and not self.ctx.pause:wanted(name) then error(raised, 0) end
  end
  -- Nothing has been done that a pause could lose.
  if self.ctx.pause:wanted(name) then return { paused = true } end
  return run_work(self)
end

return M
