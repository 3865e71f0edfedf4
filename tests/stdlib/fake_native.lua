-- A deterministic stand-in for the whole native table, in plain Lua: tasks on a virtual clock, a
-- journal that survives a crash at any point and is replayed by the order rule of
-- docs/design/steps.md, and a provider whose offers, instances and commands a test scripts.
--
-- A world outlives processes; `world:boot(fn)` is one process. With options.crash_at = n it dies at
-- the n-th crash point (both sides of each commit, and after each effect).

local M = {}

local CRASH <const> = setmetatable({}, { __tostring = function() return "the process crashed" end })
local EXIT <const> = {}
local stock <const> = { coroutine = coroutine, pcall = pcall, error = error }

-- Worlds

local World <const> = {}
World.__index = World

--- options.program(command, context) scripts commands: it gives { seconds, code, metrics, writes,
--- oom }. options.offers: what the provider has; options.capacity: how many instances at once.
function M.world(options)
  options = options or {}
  return setmetatable({
    time = 1767225600.0, order = 0, agenda = {}, runs = {}, run_order = {}, instances = {},
      by_tag = {},
    offers = options.offers or { { id = "small", price = 0.1, cpus = 2, memory = 4 << 30,
      disk = 10 << 30 } },
    capacity = options.capacity, program = options.program or function()
      return { seconds = 10, code = 0 }
    end,
    refuse = options.refuse or {}, folders = {}, commands = {}, effects = {}, out = {}, env = {},
      violations = {},
    delays = options.delays or {}, detached = {}, terminal = nil, seconds_to_create = 5,
      outside = {},
    on_sync = options.on_sync,
  }, World)
end

--- Calls fn at `seconds` from the world's beginning or from now on.
function World:at(time, fn)
  self.order = self.order + 1
  table.insert(self.agenda, { time = time, order = self.order, fn = fn })
end

function World:after(seconds, fn) self:at(self.time + seconds, fn) end

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

function World:violation(text) table.insert(self.violations, text) end

--- Instances that exist at the provider now.
function World:alive()
  local count = 0
  for _, instance in ipairs(self.instances) do
    if instance.alive then count = count + 1 end
  end
  return count
end

--- Takes an instance away now: reason "preempted" or "lost".
function World:take_away(name, reason)
  for _, instance in ipairs(self.instances) do
    if instance.alive and instance.name == name then
      instance.alive, instance.reason, instance.ended = false, reason, self.time
      for _, command in ipairs(self.commands) do
        if command.tag == instance.tag and not command.ended then command.lost = reason end
      end
      if self.on_change then self.on_change() end
      return
    end
  end
end

-- A process

local Boot <const> = {}
Boot.__index = Boot

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

-- The parts of the native table

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

local function after(boot, seconds, fn)
  boot.world:at(boot.world.time + seconds, function(now) if now == boot then fn() end end)
end

local function instance_of(boot, tag)
  local instance <const> = boot.world.by_tag[tag]
  if not instance then
    return nil, failure(boot, "not_found", "no instance has the tag " .. tostring(tag))
  end
  if not instance.alive then
    return nil, failure(boot, instance.reason or "lost", "instance " .. tag .. " is gone")
  end
  return instance
end

local function provider_part(boot)
  local world <const> = boot.world
  return {
    names = function() return { "local" } end,
    caps = function() return {} end,
    offers = function(name, query)
      return step_call(boot, "provider.offers", "query", { name, query }, function(_, answer)
        after(boot, 1, function()
          local found <const> = {}
          for _, offer in ipairs(world.offers) do
            if not query.max_price or offer.price <= query.max_price then
              table.insert(found, { id = offer.id, provider = name, region = "here",
                type = offer.id,
                cpus = offer.cpus, memory = offer.memory, disk = offer.disk, price = offer.price,
                spot = offer.spot or false, reliability = offer.reliability, raw = {} })
            end
          end
          answer(true, found)
        end)
      end)
    end,
    list = function() return { complete = true, instances = {} } end,
    drill = function(_, fault)
      table.insert(world.outside, fault)
      return { done = true }
    end,
    bill = function() return { seconds = 0, usd = 0, entries = {} } end,
  }
end

local function create_instance(boot, step, fields)
  local world <const> = boot.world
  local tag <const> = ("cho-test-%s-%s"):format(boot.owned or "none", fields.label)
  if world.by_tag[tag] and step.resumed then return true, world.by_tag[tag] end
  local refusals <const> = world.refuse[fields.offer.id]
  if refusals and refusals > 0 then
    world.refuse[fields.offer.id] = refusals - 1
    return false, failure(boot, "no_capacity", "offer " .. fields.offer.id .. " is gone")
  end
  if world.capacity and world:alive() >= world.capacity then
    return false, failure(boot, "no_capacity",
      ("all %d instances are taken"):format(world.capacity))
  end
  if world.by_tag[tag] then world:violation("instance made twice: " .. tag) end
  local instance <const> = { tag = tag, name = fields.name, provider = fields.provider,
    price = fields.offer.price,
    provider_id = "id-" .. #world.instances + 1, host = "here", alive = true, created = world.time,
      folders = {},
    run = boot.owned, step = step.key, state = "live" }
  table.insert(world.instances, instance)
  world.by_tag[tag] = instance
  if world.on_create then world.on_create(instance) end
  return true, instance
end

local function start_command(boot, instance, fields)
  local world <const> = boot.world
  for _, command in ipairs(world.commands) do
    if command.key == fields.key and command.tag == instance.tag then return true end
  end
  local text <const> = fields.command.shell or table.concat(fields.command.list, " ")
  local script <const> = world.program(text, { env = fields.env, attempt = fields.attempt,
    task = fields.task,
    instance = instance, dir = fields.dir, world = world })
  local command <const> = { key = fields.key, tag = instance.tag, text = text, task = fields.task,
    attempt = fields.attempt, env = fields.env, dir = fields.dir, started = world.time,
      script = script,
    ends_at = world.time + (script.seconds or 1) }
  table.insert(world.commands, command)
  for _, write in ipairs(script.writes or {}) do
    world:at(world.time + write.at, function()
      if instance.alive and not command.ended and not command.signalled then
        instance.folders[write.path] = instance.folders[write.path] or {}
        instance.folders[write.path][write.name] = { step = write.step, mtime = world.time,
          bytes = 100 }
      end
    end)
  end
  return false
end

local function command_of(world, tag, key)
  for _, command in ipairs(world.commands) do
    if command.key == key and command.tag == tag then return command end
  end
end

local function watch_command(boot, command, answer)
  local world <const> = boot.world
  if command.lost or not world.by_tag[command.tag].alive then
    local reason <const> = world.by_tag[command.tag].reason or "lost"
    return answer(false, failure(boot, reason, "instance " .. command.tag .. " was taken away"))
  end
  local script <const> = command.script
  if command.signalled and not script.deaf or command.signalled == "KILL" then
    command.ended = world.time
    return answer(true, { code = script.on_signal or 143, signal = script.on_signal and 0 or 15,
      seconds = world.time - command.started, oom = false, metrics = {} })
  end
  if world.time >= command.ends_at then
    command.ended = world.time
    return answer(true, { code = script.code or 0, signal = script.signal or 0,
      seconds = script.seconds or 1,
      oom = script.oom or false, metrics = script.metrics or {} })
  end
  after(boot, math.min(1, command.ends_at - world.time), function()
    watch_command(boot, command, answer)
  end)
end

local function instance_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  function part.create(fields)
    return step_call(boot, "instance.create", "adoptable", fields, function(step, answer)
      after(boot, world.seconds_to_create, function()
        local ok <const>, made <const> = create_instance(boot, step, fields)
        crash_point(boot, "after the effect of " .. step.key)
        if not ok then return answer(false, made) end
        answer(true, { tag = made.tag, name = made.name, provider = made.provider,
          price = made.price,
          provider_id = made.provider_id, host = made.host })
      end)
    end, fields.label)
  end
  local function on(verb, class, seconds, fn)
    return function(tag, ...)
      local args <const> = table.pack(...)
      return step_call(boot, verb, class, { tag, ... }, function(step, answer)
        after(boot, seconds, function()
          if step.plain == nil and boot.journal.steps[step.key].state ~= "intent" then return end
          fn(step, answer, tag, table.unpack(args, 1, args.n))
        end)
      end)
    end
  end
  part.ready = on("instance.ready", "idempotent", 2, function(_, answer, tag)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    if world.never_ready and world.never_ready[instance.name] then
      return answer(false, failure(boot, "timeout", "no agent answered"))
    end
    answer(true, { home = "/home", cpus = 2, memory = 1, disk = 1, gpus = {}, os = "linux",
      arch = "x86_64", agent = "1" })
  end)
  part.destroy = on("instance.destroy", "idempotent", 3, function(step, answer, tag)
    local instance <const> = world.by_tag[tag]
    if instance.alive then
      instance.alive, instance.ended, instance.reason = false, world.time, "destroyed"
    end
    instance.state = "gone"
    crash_point(boot, "after the effect of " .. step.key)
    answer(true, { gone = true, cost = 0 })
  end)
  part.get = on("instance.get", "query", 1, function(_, answer, tag)
    answer(true, { state = world.by_tag[tag].alive and "live" or "gone" })
  end)
  part.exec = on("instance.exec", "opaque", 1, function(_, answer, tag, command)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    local text <const> = command.shell or table.concat(command.list, " ")
    table.insert(world.effects, "exec " .. text)
    answer(true, world.exec and world.exec(text) or { code = 0, out = text .. "\n", err = "" })
  end)
  part.start = on("instance.start", "keyed", 1, function(step, answer, tag, fields)
    local instance <const>, why <const> = instance_of(boot, tag)
    if not instance then return answer(false, why) end
    local already <const> = start_command(boot, instance, fields)
    crash_point(boot, "after the effect of " .. step.key)
    answer(true, { key = fields.key, already = already })
  end)
  function part.wait(tag, key)
    return step_call(boot, "instance.wait", "wait", { tag, key }, function(_, answer)
      watch_command(boot, command_of(world, tag, key), answer)
    end)
  end
  part.signal = on("instance.signal", "idempotent", 1, function(_, answer, tag, key, signal)
    local command <const> = command_of(world, tag, key)
    if command and not command.ended then command.signalled = signal end
    answer(true)
  end)
  function part.release_all(run)
    local done <const> = {}
    for _, instance in ipairs(world.instances) do
      if instance.run == run and instance.alive then
        instance.alive, instance.ended, instance.state = false, world.time, "gone"
        table.insert(done, { tag = instance.tag, name = instance.name, gone = true })
      end
    end
    return done
  end
  function part.reap() return { ended = {}, lost = {}, foreign = {}, incomplete = {} } end
  return part
end

local function folders_of(boot, side)
  if side.tag then
    local instance <const>, why <const> = instance_of(boot, side.tag)
    if not instance then stock.error(why, 0) end
    return instance.folders
  end
  return boot.world.folders
end

local function copy_folders(boot, fields)
  local from <const>, to <const> = folders_of(boot, fields.from), folders_of(boot, fields.to)
  local excluded <const> = {}
  for _, name in ipairs(fields.exclude or {}) do excluded[name] = true end
  local files, found = 0, false
  for path, entries in pairs(from) do
    local rest
    if path == fields.from.path then rest = "" elseif path:sub(1,
      #fields.from.path + 1) == fields.from.path .. "/" then
      rest = path:sub(#fields.from.path + 1)
    end
    if rest then
      found = true
      local target <const> = fields.to.path .. rest
      to[target] = to[target] or {}
      for name, entry in pairs(entries) do
        local there <const> = to[target][name]
        if not excluded[name] and not (there and there.mtime == entry.mtime) then
          to[target][name] = { step = entry.step, mtime = entry.mtime, bytes = entry.bytes }
          files = files + 1
        end
      end
    end
  end
  return files, found
end

local function transfer_part(boot)
  local world <const> = boot.world
  return {
    sync = function(fields)
      return step_call(boot, "transfer.sync", "idempotent", fields, function(step, answer)
        after(boot, 2, function()
          local ok <const>, files <const>, found <const> = stock.pcall(copy_folders, boot, fields)
          if not ok then return answer(false, files) end
          if not found and fields.from.tag then
            return answer(false, failure(boot, "not_found", "nothing is at " .. fields.from.path))
          end
          if world.on_sync then
            local why <const> = world.on_sync(fields)
            if why then return answer(false, failure(boot, why, "the sync failed as told")) end
          end
          table.insert(world.effects, ("sync %s %d"):format(fields.name, files))
          crash_point(boot, "after the effect of " .. step.key)
          answer(true, { files = files, bytes = files * 100, deleted = 0, unchanged = 0,
            skipped = {}, seconds = 2 })
        end)
      end)
    end,
    checkpoints = function(place)
      return step_call(boot, "transfer.checkpoints", "query", place, function(_, answer)
        after(boot, 1, function()
          local list <const> = {}
          for name, entry in pairs(folders_of(boot, place)[place.path] or {}) do
            table.insert(list, { name = name, path = place.path .. "/" .. name, step = entry.step,
              bytes = entry.bytes,
              mtime = entry.mtime })
          end
          table.sort(list, function(a, b)
            return a.mtime < b.mtime or (a.mtime == b.mtime and a.name < b.name)
          end)
          answer(true, list)
        end)
      end)
    end,
  }
end

local function run_row(boot, run)
  local row <const> = { id = run.id, name = run.name, state = run.state, created = run.created,
    finished = run.finished,
    params = run.params, env = run.env, budget = run.budget, seed = run.seed, owner = run.owner,
      cost = 0.0,
    failure = run.failure }
  for _, instance in ipairs(boot.world.instances) do
    if instance.run == run.id then
      row.cost = row.cost + ((instance.ended
        or boot.world.time) - instance.created) / 3600 * instance.price
    end
  end
  return row
end

local function run_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  local function mine() return world.runs[boot.owned] end
  function part.create(fields)
    local id <const> = ("run%03d"):format(#world.run_order + 1)
    world.runs[id] = { id = id, name = fields.name, params = fields.params, env = fields.env,
      sources = fields.sources,
      budget = fields.budget, seed = fields.seed or 1, state = "running", created = world.time,
        events = {}, keys = {},
      shown = {}, metrics = {}, journal = { steps = {}, last = 0 } }
    table.insert(world.run_order, id)
    return id
  end
  function part.own(id)
    local run <const> = world.runs[id]
    if run.owner and run.owner.boot ~= boot then
      stock.error(failure(boot, "conflict", "run " .. id .. " is owned by pid 4711",
        { pid = 4711, host = "here" }), 0)
    end
    run.owner = { host = "here", pid = 1, since = world.time, boot = boot }
    run.shown = {}
    boot.owned, boot.journal, boot.delivered, boot.now = id, run.journal, 0, run.created
    return { replaying = run.journal.last > 0, steps = run.journal.last, row = run_row(boot, run) }
  end
  function part.current() return boot.owned end
  function part.replaying() return boot.owned ~= nil and boot.delivered < boot.journal.last end
  function part.event(kind, data, key)
    local run <const>, task <const> = mine(), current(boot)
    if not key then
      task.ordinals.event = (task.ordinals.event or -1) + 1
      key = ("%s/event#%d"):format(task.path, task.ordinals.event)
    end
    if run.keys[key] then
      local known <const> = run.keys[key]
      if known.kind ~= kind then
        world:violation(("event %s was %s, now %s"):format(key, known.kind, kind))
      end
      return { id = known.id, at = known.at, kind = kind, data = known.data, fresh = false }
    end
    crash_point(boot, "before event " .. key)
    local event <const> = { id = #run.events + 1, at = world.time, kind = kind, data = data,
      key = key }
    boot.native.json.encode(data) -- what cannot be stored is a fault
    table.insert(run.events, event)
    run.keys[key] = event
    return { id = event.id, at = event.at, kind = kind, data = data, fresh = true }
  end
  function part.show(key, value) mine().shown[key] = value end
  function part.set_state(state, why)
    mine().state, mine().failure = state, why
    if state == "done" or state == "failed" or state == "stopped" then
      mine().finished = world.time
    end
  end
  function part.disown()
    if boot.owned then mine().owner = nil end
    boot.owned = nil
  end
  function part.cost() return run_row(boot, mine()).cost end
  function part.next_request()
    local me <const> = current(boot)
    boot.requests = me
    return wait(boot, function() boot.requests = nil end)
  end
  function part.reply(id, answer) world.replies = world.replies or {} world.replies[id] = answer end
  function part.request() return nil end
  return part
end

local function store_part(boot)
  local world <const> = boot.world
  local part <const> = {}
  local function run_of(id)
    local run <const> = world.runs[id]
    if not run then
      stock.error(failure(boot, "not_found", ("there is no run %q"):format(tostring(id))), 0)
    end
    return run
  end
  function part.runs(filter)
    local rows <const> = {}
    for index = #world.run_order, 1, -1 do
      local run <const> = world.runs[world.run_order[index]]
      if not (filter and (filter.name and filter.name ~= run.name or filter.state
        and filter.state ~= run.state)) then
        table.insert(rows, run_row(boot, run))
      end
    end
    return rows
  end
  function part.find(reference)
    if reference == nil then
      if #world.run_order == 0 then
        stock.error(failure(boot, "not_found", "there is no run yet"), 0)
      end
      return run_row(boot, world.runs[world.run_order[#world.run_order]])
    end
    return run_row(boot, run_of(reference))
  end
  function part.sources(id) return run_of(id).sources end
  function part.steps(id, filter)
    local list <const> = {}
    for _, step in pairs(run_of(id).journal.steps) do
      if not (filter and (filter.state and filter.state ~= step.state or filter.verb
        and filter.verb ~= step.verb)) then
        table.insert(list, step)
      end
    end
    table.sort(list, function(a, b) return a.key < b.key end)
    return list
  end
  function part.events(id, after_id, most)
    local list <const> = {}
    for _, event in ipairs(run_of(id).events) do
      if event.id > (after_id or 0) and (not most or #list < most) then
        table.insert(list, event)
      end
    end
    return list
  end
  function part.instances(filter)
    filter = filter or {}
    local list <const> = {}
    for _, each in ipairs(world.instances) do
      if not (filter.run and each.run ~= filter.run) and not (filter.alive ~= nil
        and each.alive ~= filter.alive) then
        table.insert(list, { tag = each.tag, name = each.name, run = each.run, step = each.step,
          provider = each.provider,
          provider_id = each.provider_id, state = each.state, price = each.price, host = each.host,
          created = each.created, ended = each.ended,
            cost = ((each.ended or world.time) - each.created) / 3600 * each.price,
          handle = {} })
      end
    end
    return list
  end
  function part.metrics(id) return run_of(id).metrics end
  function part.commands(id)
    local list <const> = {}
    for _, each in ipairs(world.commands) do
      if each.key:sub(1, #id + 1) == id .. "." then
        table.insert(list, { key = each.key, task = each.task, attempt = each.attempt,
          tag = each.tag,
          state = each.ended and "exited" or "running", code = each.script.code, log = each.log
            or "/nowhere",
          log_bytes = each.log_bytes or 0, started = each.started, ended = each.ended })
      end
    end
    return list
  end
  function part.shown(id) return run_of(id).shown end
  return part
end

local function system_parts(boot)
  local world <const>, native <const> = boot.world, boot.native
  native.clock = {
    now = function()
      local task <const> = current(boot)
      if boot.owned and task and not task.outside then return boot.now end
      return world.time
    end,
    wall = function() return world.time end,
    ticks = function() return world.time end,
    zone = function() return "UTC" end,
    format = function(time) return os.date("!%Y-%m-%d %H:%M:%S UTC", math.floor(time)) end,
    rfc3339 = function(time) return os.date("!%Y-%m-%dT%H:%M:%SZ", math.floor(time)) end,
  }
  native.random = { number = function()
    local path <const> = current(boot).path
    boot.random[path] = (boot.random[path] or #path) * 1103515245 + 12345 & 0x7fffffff
    return boot.random[path] / 0x80000000
  end }
  native.wait = { sleep = function(seconds, label)
    return step_call(boot, "wait.sleep", "wait", { seconds }, function(step, answer)
      step.deadline = step.deadline or world.time + seconds
      after(boot, math.max(0, step.deadline - world.time), function() answer(true) end)
    end, label)
  end }
end

local function sys_over(boot)
  local world <const>, sys <const> = boot.world, boot.native.sys
  function sys.env(name) return world.env[name] end
  function sys.cwd() return world.cwd or "/work" end
  function sys.terminal() return world.terminal end
  function sys.write(fd, text) world.out[fd] = (world.out[fd] or "") .. text end
  function sys.run(argv)
    table.insert(world.outside, table.concat(argv, " "))
    return world.sys_run and world.sys_run(argv) or { code = 1, out = "", err = "" }
  end
  function sys.detach(argv) table.insert(world.detached, argv) return 99 end
  function sys.interactive() return 0 end
  function sys.disk_free() return 50 << 30 end
  function sys.next_signal()
    local me <const> = current(boot)
    boot.signals = me
    return wait(boot, function() boot.signals = nil end)
  end
  function sys.exit(code)
    boot.code = code
    die(boot, EXIT)
  end
end

--- Sends a signal to the process; for world:at.
function Boot:signal(name)
  local waiting <const> = self.signals
  self.signals = nil
  if waiting then ready(self, waiting, "ok", name) else stock.error("nobody waits for signals") end
end

--- A request of another process; its answer is in world.replies[id].
function Boot:request(id, verb, args)
  local waiting <const> = self.requests
  self.requests = nil
  if not waiting then stock.error("nobody waits for requests") end
  ready(self, waiting, "ok", { id = id, verb = verb, args = args or {},
    by = { host = "here", pid = 2, user = "me" } })
end

local stdlib_floors <const> = { core = true, wait = true, talk = true, policy = true, flow = true,
  dsl = true, command = true }

--- Modules of the stdlib are loaded anew for each process, as a real one would.
local function with_modules(native, fn)
  local kept <const> = {}
  for name, module in pairs(package.loaded) do
    if name == "native" or stdlib_floors[name:match("^(%w+)%.") or ""] then kept[name] = module end
  end
  for name in pairs(kept) do package.loaded[name] = nil end
  package.loaded.native = native
  local results <const> = table.pack(stock.pcall(fn))
  for name in pairs(package.loaded) do
    if name == "native" or stdlib_floors[name:match("^(%w+)%.") or ""] then
      package.loaded[name] = nil
    end
  end
  for name, module in pairs(kept) do package.loaded[name] = module end
  if not results[1] then stock.error(results[2], 0) end
  return table.unpack(results, 2, results.n)
end

--- One process: runs fn(native) as its main task until it ends, the process crashes or exits, or
--- nothing can go on. Gives { ok, value, crashed, code, stuck, points }.
function World:boot(fn, options)
  options = options or {}
  local boot <const> = setmetatable({
    world = self, queue = {}, pending = {}, fresh = {}, live = {}, effects = {}, args = {},
      inbox = {}, random = {},
    points = 0, turn = 1, crash_at = options.crash_at, delivered = 0, now = self.time,
  }, Boot)
  local native <const> = { version = "0.1.0", failure_meta = {} }
  boot.native = native
  system_parts(boot)
  require("fake_basic").fill(native)
  sys_over(boot)
  native.task, native.provider, native.instance = task_part(boot), provider_part(boot),
    instance_part(boot)
  native.transfer, native.run, native.store = transfer_part(boot), run_part(boot), store_part(boot)
  local result <const> = {}
  local ok <const>, raised <const> = stock.pcall(with_modules, native, function()
    local main <const> = spawn(boot, nil, "main", function() return fn(native, boot) end)
    while not main.ended do
      run_ready(boot)
      if main.ended then break end
      if not advance(boot) then
        result.stuck = true
        return
      end
    end
    result.ok, result.value = main.ok, main.values[1]
    result.values = main.values
  end)
  boot.over = true
  for _, run in pairs(self.runs) do
    if run.owner and run.owner.boot == boot then run.owner = nil end
  end
  result.points, result.crashed, result.code, result.diverged = boot.points, boot.crashed,
    boot.code, boot.diverged
  if not ok and raised ~= CRASH and raised ~= EXIT then stock.error(raised, 0) end
  return result
end

return M
