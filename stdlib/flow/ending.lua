-- How a command is told to end so that what it did is not lost: a signal, time to write a
-- checkpoint, and for a pause that checkpoint here and verified before anything is released.

local checkpoint <const> = require "flow.checkpoint"
local duration <const> = require "core.duration"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local native <const> = require "native"
local sync <const> = require "flow.sync"
local task <const> = require "wait.task"

local M = {}

M.grace = 30       -- seconds between the signal and KILL, unless the task says
M.signal = "TERM"  -- unless the task says
M.look_again = 0.3 -- seconds between looks for a checkpoint that a signal asked for
M.last_grace = 5   -- seconds for a command whose checkpoint is here already

-- Signals after which a command may well go on, having written its checkpoint.
local goes_on <const> = { USR1 = true, USR2 = true, HUP = true }

--- Sends a signal; a command that has ended already is no failure.
---@async
local function send(live, key, signal)
  local ok <const>, raised <const> = pcall(native.instance.signal, live.tag, key, signal)
  if ok then return end
  local why <const> = failure.from(raised)
  if why.kind ~= "conflict" and why.kind ~= "not_found" then error(raised, 0) end
end

--- Lets the command write a checkpoint and end; kills it when it does not. `name` tells apart the
--- waits of one task.
---@async
---@param how { stop_signal?: string, grace?: number }
function M.stop(live, key, how, name)
  send(live, key, how.stop_signal or M.signal)
  local ended <const> = task.within(name, how.grace or M.grace, function()
    return native.instance.wait(live.tag, key)
  end)
  if ended then return end
  send(live, key, "KILL")
  native.instance.wait(live.tag, key)
end

local function emit(self, kind, data)
  data.task, data.attempt = self.declaration.name, self.number
  data.instance = self.live.name
  self.ctx.events:emit(kind, data)
end

local function is_in(all, one)
  return list.find(all, function(each)
    return each.name == one.name and each.mtime == one.mtime
  end) ~= nil
end

--- Brings checkpoints until one comes that was not there before the signal.
---@param from table       the sync of checkpoints
---@param before table[]
local function wait_for_checkpoint(self, from, before)
  local ctx <const> = self.ctx
  while true do
    native.wait.sleep(M.look_again)
    sync.attempt(ctx, self.live, from, true)
    -- The sync itself may have been faster.
    for _, each in ipairs(ctx.sealed[from.name] or {}) do
      if not is_in(before, each) then return end
    end
  end
end

--- Has this run a checkpoint to go on from, here or on the instance?
local function has_checkpoint(self)
  local resume <const> = self.declaration.fields.resume
  if not resume then return false end
  sync.pull_all(self.ctx, self.live)
  return checkpoint.newest(self.ctx, resume, self.live) ~= nil
end

local function race(self, waiting, name, seconds, other)
  local all <const> = { waiting, native.task.spawn(name .. "-limit", function()
    native.wait.sleep(seconds)
  end) }
  if other then all[3] = native.task.spawn(name .. "-checkpoint", other) end
  local guard <close> = task.on_exit(function()
    task.end_all({ all[2], all[3] }, "the race is over")
  end)
  return native.task.any(all)
end

--- Serves an order to pause while the command runs; `waiting` is the task that waits for its end.
--- Gives true when the command has ended, false when it goes on because there is no checkpoint.
---@async
---@return boolean
function M.pause(self, key, waiting)
  local fields <const>, pause <const> = self.declaration.fields, self.ctx.pause
  local number <const>, name <const> = pause.count, "pause-" .. pause.count
  local signal <const>, grace <const> = fields.stop_signal or M.signal, fields.grace or M.grace
  pause:serve(self.declaration.name)
  self.asked_at = native.clock.now()
  local order <const> = pause:newest(self.declaration.name)
  emit(self, "pause_requested", { number = number, signal = signal, grace = grace,
    by = order.by, schedule = order.schedule })
  self:show("pausing")
  local from <const> = goes_on[signal] and fields.resume
    and list.find(self.ctx.program.syncs, function(each) return each.name == fields.resume.from end)
  local before <const> = from
    and native.transfer.checkpoints(sync.side(self.ctx, self.live, from.fields.from))
  send(self.live, key, signal)
  local first <const> = race(self, waiting, name, grace,
    from and function() return wait_for_checkpoint(self, from, before) end)
  if first == 1 then return true end
  if first == 3 then
    send(self.live, key, "TERM")
    if race(self, waiting, name .. "-end", M.last_grace) == 1 then return true end
  elseif not (pause.now or has_checkpoint(self)) then
    emit(self, "pause_refused", {
      message = ("it has written no complete checkpoint %s after %s, and ignores that signal; it "
        .. "goes on"):format(duration.short(grace), signal),
    })
    self:show("running")
    return false
  end
  send(self.live, key, "KILL")
  native.task.try(waiting)
  return true
end

--- Ends the command because a condition of the task holds, as attempt.seen says; gives its end.
---@async
---@param waiting native.Task   that waits for its end
function M.as_seen(self, key, waiting)
  local fields <const>, seen <const> = self.declaration.fields, self.seen
  local signal <const>, grace <const> = fields.stop_signal or M.signal, fields.grace or M.grace
  emit(self, "condition_met", { action = seen.action, condition = seen.condition,
    message = seen.message, facts = seen.facts, signal = signal, grace = grace })
  self:show("stopping")
  send(self.live, key, signal)
  if race(self, waiting, "condition", grace) ~= 1 then send(self.live, key, "KILL") end
  return native.task.join(waiting)
end

--- Waits after a failed try, or for an order that changes what is asked for.
local function wait_or_order(pause, name, seconds)
  task.within(name, seconds, function() pause:wait_next() end)
end

--- After the command's end: returns when its newest checkpoint is here and verified, or when an
--- order says that it need not be. Nothing is released before. Gives false when the task is to go
--- on at once.
---@async
---@param lost Failure|nil   of the last transfer
---@return boolean
function M.secure(self, lost)
  local pause <const>, resume <const> = self.ctx.pause, self.declaration.fields.resume
  -- A later order may say that it need not be.
  local said, tries = nil, 0
  while true do
    local newest, damaged
    if resume then
      local found <const>, _ <const>, broken <const> = checkpoint.newest(self.ctx, resume,
        self.live)
      newest, damaged = found, broken
    end
    if damaged and damaged[1] then
      lost = lost or failure.new("checkpoint_invalid",
        ("checkpoint %s is not here as it was: %s"):format(damaged[1].name, damaged[1].why))
    end
    if newest and not lost then
      emit(self, "pause_secured", { checkpoint = newest.name, step = newest.step,
        sync = resume.from, asked = self.asked_at, written = newest.mtime })
      return true
    end
    if pause.now then
      emit(self, "pause_secured", { checkpoint = newest and newest.name, step = newest
        and newest.step, now = true, sync = resume and resume.from })
      return true
    end
    if pause:is_over(self.declaration.name) then return false end
    local why <const> = lost and lost.message or "it has ended without a complete checkpoint"
    if why ~= said then
      said = why
      emit(self, "pause_held", { message = why, price = self.live.price, again = lost ~= nil })
      self:show("held")
    end
    tries = tries + 1
    local name <const> = ("secure-%d"):format(tries)
    if lost then
      wait_or_order(pause, name, math.min(60, 2 ^ tries))
      lost = not pause.now and sync.pull_all(self.ctx, self.live) or nil
    else
      pause:wait_next()
      pause:serve(self.declaration.name)
      lost = sync.pull_all(self.ctx, self.live)
    end
  end
end

return M
