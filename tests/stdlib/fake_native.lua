-- A deterministic stand-in for the whole native table, in plain Lua: tasks on a virtual clock, a
-- journal that survives a crash at any point and is replayed by the order rule of
-- docs/design/steps.md, and a provider whose offers, instances and commands a test scripts.
--
-- A world outlives processes; `world:boot(fn)` is one process. With options.crash_at = n it dies at
-- the n-th crash point (both sides of each commit, and after each effect).

local M = {}

local cloud <const> = require "fake_cloud"
local rows <const> = require "fake_rows"
local tasks <const> = require "fake_tasks"
local zones <const> = require "fake_zones"

local CRASH <const>, EXIT <const>, stock <const> = tasks.CRASH, tasks.EXIT, tasks.stock
local current <const>, wait <const> = tasks.current, tasks.wait
local ready <const>, step_call <const>, die <const> = tasks.ready, tasks.step_call, tasks.die
local spawn <const>, run_ready <const>, advance <const> = tasks.spawn, tasks.run_ready,
  tasks.advance
local after <const> = cloud.after

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

local Boot <const> = {}
Boot.__index = Boot

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
  zones.add(native.clock, function(kind, message)
    stock.error(setmetatable({ kind = kind, message = message, fields = {} },
      native.failure_meta), 0)
  end)
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
  function native.wait.till(time, label)
    return step_call(boot, "wait.till", "wait", { time }, function(_, answer)
      local function look()
        if world.time >= time then return answer(true) end
        after(boot, time - world.time, look)
      end
      look()
    end, label)
  end
  local passed <const> = {}
  local function queue(kind)
    passed[kind] = passed[kind] or { values = {}, takers = {} }
    return passed[kind]
  end
  local function hand_out(kind)
    local one <const> = queue(kind)
    while #one.values > 0 and #one.takers > 0 do
      table.remove(one.takers, 1)(table.remove(one.values, 1))
    end
  end
  function native.wait.pass(kind, value)
    table.insert(queue(kind).values, value)
    hand_out(kind)
  end
  function native.wait.passed(kind)
    return step_call(boot, "wait.passed", "wait", { kind }, function(step, answer)
      table.insert(queue(kind).takers, function(value)
        if step.plain or boot.live[step.key] then answer(true, value)
        else table.insert(queue(kind).values, 1, value) end
      end)
      hand_out(kind)
    end)
  end
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
  function sys.detach(argv)
    table.insert(world.detached, argv)
    world.runs[argv[3]].owner = { host = "here", pid = 99, since = world.time }
    return 99
  end
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
  native.task, native.provider, native.instance = tasks.part(boot), cloud.provider(boot),
    cloud.instance(boot)
  native.transfer, native.run, native.store = cloud.transfer(boot), rows.run(boot), rows.store(boot)
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
