-- The tasks and steps of fake_native: a scheduler on a virtual clock, and a journal that is
-- replayed by the order rule of docs/design/steps.md.

local M = {}

local CRASH <const> = setmetatable({}, { __tostring = function() return "the process crashed" end })
local EXIT <const> = {}
local stock <const> = { coroutine = coroutine, pcall = pcall, error = error }

local function next_entry(world)
  local best
  for index, entry in ipairs(world.agenda) do
    local other <const> = best and world.agenda[best]
    if not other or entry.time < other.time or (entry.time == other.time
      and entry.order < other.order) then
      best = index
    end
  end
  return best and table.remove(world.agenda, best)
end

local function failure(boot, kind, message, fields)
  return setmetatable({ kind = kind, message = message, fields = fields or {} },
    boot.native.failure_meta)
end

--- Ends the process where it stands. A task is left hanging, so that none of its handlers runs any
--- more.
local function die(boot, how)
  boot.dead = how
  if stock.coroutine.isyieldable() then stock.coroutine.yield() end
  stock.error(how, 0)
end

local function crash_point(boot, what)
  boot.points = boot.points + 1
  if boot.points == boot.crash_at then
    boot.crashed = what
    die(boot, CRASH)
  end
end

local function current(boot) return boot.running end

local function ready(boot, task, ...)
  task.waiting = nil
  table.insert(boot.queue, { task = task, values = table.pack(...) })
end

local function cancelled_now(task) return task.cancelled and #task.shields == 0 end

--- Waits in the running task; `stop` is called when the wait is given up. Gives what wakes it.
local function wait(boot, stop)
  local task <const> = current(boot)
  if boot.forbidden then
    stock.error(failure(boot, "invalid", boot.forbidden), 0)
  end
  if cancelled_now(task) then
    if stop then stop() end
    stock.error(task.cancelled, 0)
  end
  task.waiting = { stop = stop }
  local values <const> = table.pack(stock.coroutine.yield())
  if values[1] == "raise" then stock.error(values[2], 0) end
  return table.unpack(values, 2, values.n)
end

local function cancel_tree(boot, task, why)
  if task.ended then return end
  task.cancelled = task.cancelled or failure(boot, "cancelled", why or "cancelled")
  if task.waiting and cancelled_now(task) then
    local waiting <const> = task.waiting
    if waiting.stop then waiting.stop() end
    ready(boot, task, "raise", task.cancelled)
  end
  for _, child in ipairs(task.children) do cancel_tree(boot, child, why) end
end

local function finish(boot, task, ok, ...)
  task.ended, task.ok, task.values = true, ok, table.pack(...)
  for _, child in ipairs(task.children) do
    if not child.ended and not child.outside then
      boot.world:violation(("task %s ended before its child %s"):format(task.path, child.path))
    end
  end
  for _, watcher in ipairs(task.watchers) do watcher() end
  task.watchers = {}
end

local function spawn(boot, parent, name, fn, options)
  options = options or {}
  local path <const> = parent and parent.path .. "." .. name or name
  local task <const> = {
    name = name, path = path, parent = parent, children = {}, watchers = {}, shields = {},
    ordinals = {},
    labels = {}, outside = options.outside or (parent and parent.outside) or false,
  }
  if name == "" or #name > 200 or name:find("[%c./]") then
    stock.error(failure(boot, "invalid", ("'%s' cannot name a task"):format(name)), 0)
  end
  if parent then
    for _, child in ipairs(parent.children) do
      if child.name == name then
        stock.error(failure(boot, "invalid", ("task %s has a child %s already"):format(parent.path,
          name)), 0)
      end
    end
    table.insert(parent.children, task)
    -- A child that is born into a cancelled tree ends at its first wait.
    task.cancelled = parent.cancelled and #parent.shields == 0 and parent.cancelled or nil
  end
  task.thread = stock.coroutine.create(function(...)
    return stock.pcall(fn, ...)
  end)
  table.insert(boot.queue, { task = task, values = table.pack(table.unpack(options.args or {})),
    start = true })
  return task
end

local function resume(boot, entry)
  local task <const> = entry.task
  if task.ended then return end
  boot.running = task
  local results <const> = table.pack(stock.coroutine.resume(task.thread,
    table.unpack(entry.values, 1, entry.values.n)))
  boot.running = nil
  if boot.dead then stock.error(boot.dead, 0) end
  if not results[1] then stock.error(results[2], 0) end -- a fault of the fake: pcall is inside
  if stock.coroutine.status(task.thread) == "dead" then
    finish(boot, task, table.unpack(results, 2, results.n))
  end
end

local function on_end(task, fn)
  if task.ended then return fn() end
  table.insert(task.watchers, fn)
end

local function run_ready(boot)
  while #boot.queue > 0 do resume(boot, table.remove(boot.queue, 1)) end
end

-- Steps

local function deliver(boot, step)
  local pending <const> = boot.pending[step.key]
  boot.pending[step.key] = nil
  boot.delivered = step.seq
  boot.now = step.done_at
  if step.state == "ok" then ready(boot, pending, "ok", step.result)
  else ready(boot, pending, "raise", failure(boot, step.result.kind, step.result.message,
    step.result.fields)) end
end

local function commit(boot, step, state, result)
  crash_point(boot, "before result of " .. step.key)
  boot.journal.last = boot.journal.last + 1
  step.state, step.result, step.seq, step.done_at = state, result, boot.journal.last,
    boot.world.time
  crash_point(boot, "after result of " .. step.key)
  table.insert(boot.inbox, step)
end

--- Starts the effect of a step. `effect(step, answer)` calls answer(ok, value) once, later.
local function go_live(boot, step, effect)
  boot.live[step.key] = true
  effect(step, function(ok, value)
    if boot.over or not boot.live[step.key] then return end
    boot.live[step.key] = nil
    commit(boot, step, ok and "ok" or "error", value)
  end)
end

local function next_recorded(boot)
  if not boot.owned then return nil end
  if boot.delivered == boot.journal.last then return nil end
  for _, step in pairs(boot.journal.steps) do
    if step.seq == boot.delivered + 1 then return step end
  end
end

local function step_call(boot, verb, class, args, effect, label)
  local task <const> = current(boot)
  if not boot.owned or task.outside then
    local result
    local done <const> = {}
    effect({ key = verb, verb = verb, args = args, attempt = 1, plain = true }, function(ok, value)
      if done.over then return end
      done.over = true
      if ok then ready(boot, task, "ok", value) else ready(boot, task, "raise", value) end
    end)
    result = wait(boot, function() done.over = true end)
    return result
  end
  if cancelled_now(task) then stock.error(task.cancelled, 0) end
  if boot.forbidden then stock.error(failure(boot, "invalid", boot.forbidden), 0) end
  if label then
    if task.labels[label] then
      stock.error(failure(boot, "invalid", "label used twice: " .. label), 0)
    end
    task.labels[label] = true
  else
    task.ordinals[verb] = (task.ordinals[verb] or -1) + 1
    label = ("%s#%d"):format(verb, task.ordinals[verb])
  end
  local key <const> = task.path .. "/" .. label
  local hash <const> = boot.native.json.encode(args)
  local step = boot.journal.steps[key]
  if step and step.hash ~= hash then
    boot.diverged = ("step %s asked for with %s, recorded with %s"):format(key, hash, step.hash)
    boot.world:violation(boot.diverged)
    stock.error(failure(boot, "divergence", boot.diverged), 0)
  end
  boot.pending[key] = task
  boot.effects[key] = effect
  boot.args[key] = { verb = verb, class = class, args = args, hash = hash }
  if not step then table.insert(boot.fresh, key)
  elseif step.state == "intent" then table.insert(boot.fresh, key) end
  return wait(boot, function()
    boot.pending[key] = nil
    boot.live[key] = nil
    local open <const> = boot.journal.steps[key]
    if open and open.state == "intent" then
      crash_point(boot, "before abandoning " .. key)
      open.state = "abandoned"
    end
    for index, waiting in ipairs(boot.fresh) do
      if waiting == key then table.remove(boot.fresh, index) break end
    end
  end)
end

--- When every task waits: deliver the next result, or start what was asked for, or let time go on.
local function advance(boot)
  boot.turn = boot.turn + 1
  local recorded <const> = next_recorded(boot)
  if boot.owned and recorded then
    if not boot.pending[recorded.key] then
      boot.diverged = ("the record has %s, which nobody asks for"):format(recorded.key)
      boot.world:violation(boot.diverged)
      stock.error(EXIT, 0)
    end
    for index, step in ipairs(boot.inbox) do
      if step == recorded then table.remove(boot.inbox, index) break end
    end
    deliver(boot, recorded)
    return true
  end
  if #boot.fresh > 0 then
    local key <const> = table.remove(boot.fresh, 1)
    local asked <const> = boot.args[key]
    local step = boot.journal.steps[key]
    if step then
      step.attempt = step.attempt + 1
      step.resumed = true
    else
      crash_point(boot, "before intent of " .. key)
      step = { key = key, verb = asked.verb, class = asked.class, args = asked.args,
        hash = asked.hash,
        state = "intent", attempt = 1, intent_at = boot.world.time }
      boot.journal.steps[key] = step
      crash_point(boot, "after intent of " .. key)
    end
    go_live(boot, step, boot.effects[key])
    return true
  end
  local entry <const> = next_entry(boot.world)
  if not entry then return false end
  boot.world.time = math.max(boot.world.time, entry.time)
  entry.fn(boot)
  return true
end

local function task_part(boot)
  local task <const> = {}
  function task.spawn(name, fn, options) return spawn(boot, current(boot), name, fn, options) end
  local function wait_end(other)
    if other.ended then
      if cancelled_now(current(boot)) then stock.error(current(boot).cancelled, 0) end
      -- A waiting call always yields, also when the answer is there already.
      local me <const> = current(boot)
      table.insert(boot.queue, { task = me, values = table.pack("ok") })
      me.waiting = {}
      local how <const>, raised <const> = stock.coroutine.yield()
      if how == "raise" then stock.error(raised, 0) end
      return
    end
    local me <const>, over = current(boot), false
    on_end(other, function() if not over then over = true ready(boot, me, "ok") end end)
    wait(boot, function() over = true end)
  end
  function task.join(other)
    wait_end(other)
    if other.ok then return table.unpack(other.values, 1, other.values.n) end
    stock.error(other.values[1], 0)
  end
  function task.try(other)
    wait_end(other)
    return other.ok, table.unpack(other.values, 1, other.values.n)
  end
  function task.any(others)
    for index, other in ipairs(others) do
      if other.ended then wait_end(other) return index end
    end
    local me <const>, over = current(boot), false
    for _, other in ipairs(others) do
      on_end(other, function() if not over then over = true ready(boot, me, "ok") end end)
    end
    wait(boot, function() over = true end)
    for index, other in ipairs(others) do if other.ended then return index end end
  end
  function task.cancel(other, why) cancel_tree(boot, other, why) end
  function task.shield(_, fn)
    local me <const> = current(boot)
    table.insert(me.shields, true)
    local results <const> = table.pack(stock.pcall(fn))
    table.remove(me.shields)
    if not results[1] then stock.error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end
  function task.forbid_waiting(why, fn, ...)
    local before <const> = boot.forbidden
    boot.forbidden = why
    local results <const> = table.pack(stock.pcall(fn, ...))
    boot.forbidden = before
    if not results[1] then stock.error(results[2], 0) end
    return table.unpack(results, 2, results.n)
  end
  function task.current()
    local me <const> = current(boot)
    return me.path, me.outside, me.cancelled ~= nil
  end
  function task.event()
    local event <const> = { waiters = {} }
    function event:is_set() return self.done == true end
    function event:set(value)
      if self.done then return end
      self.done, self.value = true, value
      for _, waiter in ipairs(self.waiters) do
        if not waiter.over then ready(boot, waiter.task, "ok", value) end
      end
    end
    function event:wait()
      local waiter <const> = { task = current(boot) }
      if self.done then
        if cancelled_now(waiter.task) then stock.error(waiter.task.cancelled, 0) end
        waiter.task.waiting = {}
        table.insert(boot.queue, { task = waiter.task, values = table.pack("ok", self.value) })
        local how <const>, value <const> = stock.coroutine.yield()
        if how == "raise" then stock.error(value, 0) end
        return value
      end
      table.insert(self.waiters, waiter)
      return wait(boot, function() waiter.over = true end)
    end
    return event
  end
  return task
end

M.CRASH, M.EXIT, M.stock, M.failure, M.current = CRASH, EXIT, stock, failure, current
M.wait, M.ready, M.step_call, M.spawn, M.die = wait, ready, step_call, spawn, die
M.run_ready, M.advance, M.part, M.crash_point = run_ready, advance, task_part, crash_point

return M
