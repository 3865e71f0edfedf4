-- What a pipeline's code may do: rent instances, move files, run commands, try points side by side.
-- Every call is a step of the run that is executed now; without one it says so.

local attempt <const> = require "flow.attempt"
local call <const> = require "policy.call"
local duration <const> = require "core.duration"
local ending <const> = require "flow.ending"
local failure <const> = require "core.failure"
local list <const> = require "core.list"
local metrics <const> = require "flow.metrics"
local native <const> = require "native"
local task <const> = require "wait.task"
local values <const> = require "flow.values"

local M = {}

local current = nil ---@type table|nil   the context of the run that is executed, see flow/run

--- Called by flow/run for its run, and with nil at its end.
function M.enter(ctx) current = ctx end

local function context(verb)
  call.forbid(verb)
  if not current then
    failure.raise("invalid",
      "%s was called while the cholfile is being read; it belongs into a pipeline, "
      .. "a task's run function or an `on` handler", verb)
  end
  return current
end

--- A number of its own for each call of `what` in one task.
local function ordinal(ctx, what)
  local where <const> = (native.task.current()) .. "/" .. what
  ctx.counts[where] = (ctx.counts[where] or 0) + 1
  return ctx.counts[where]
end

local function typed(parse, value, what)
  if type(value) ~= "string" then return value end
  local read <const>, why <const> = parse(value)
  if read == nil then failure.raise("invalid", "%s: %s", what, why) end
  return read
end

local function command_of(command)
  if type(command) == "string" then return { shell = command } end
  if type(command) ~= "table" then
    failure.raise("invalid", "expected a command (a text or a list of words), got a %s",
      type(command))
  end
  if command.shell or command.list then return command end
  return { list = list.map(command, tostring) }
end

-- Boxes: live instances as the cholfile sees them

---@class flow.Box
local Box <const> = {}
Box.__index = Box
Box.__name = "instance"
function Box.__tostring(box) return "instance " .. box.label end

local lives <const> = setmetatable({}, { __mode = "k" })
local owners <const> = setmetatable({}, { __mode = "k" })

local function live_of(box, verb)
  local ctx <const> = context("instance:" .. verb)
  local live <const> = lives[box]
  if not live then
    failure.raise("invalid", "instance:%s needs an instance before the colon", verb)
  end
  if live.released then
    failure.raise("invalid", "instance \"%s\" is destroyed; %s is not possible", live.label, verb)
  end
  return live, ctx
end

--- The box of a live instance. A shared one belongs to a task's attempt, which releases it.
function M.box(live, shared)
  local box <const> = setmetatable({
    name = live.name, label = live.label, tag = live.tag, provider = live.provider,
    price = live.price,
  }, Box)
  lives[box], owners[box] = live, shared
  return box
end

--- Copies files from here (below the cholfile's folder) to the instance.
---@async
---@param from string
---@param to string
---@param options? { exclude?: string[], delete?: boolean, include_ignored?: boolean }
function Box:push(from, to, options)
  local live <const>, ctx <const> = live_of(self, "push")
  live.dir = live.dir or to
  options = options or {}
  return native.transfer.sync {
    name = ("%s-push-%d"):format(live.label, ordinal(ctx, "push")),
    from = { path = values.here(ctx, from) },
    to = { tag = live.tag, path = to }, exclude = options.exclude, delete = options.delete,
    include_ignored = options.include_ignored,
  }
end

--- Copies files from the instance to here.
---@async
function Box:pull(from, to, options)
  local live <const>, ctx <const> = live_of(self, "pull")
  options = options or {}
  return native.transfer.sync {
    name = ("%s-pull-%d"):format(live.label, ordinal(ctx, "pull")),
    from = { tag = live.tag, path = from },
    to = { path = values.here(ctx, to) }, exclude = options.exclude, delete = options.delete,
    checkpoints = options.checkpoints,
  }
end

local no_metric <const> = {
  __index = function(given, name)
    local seen <const> = list.keys(given)
    failure.raise("invalid", "the command gave no metric \"%s\"; it gave %s", tostring(name),
      #seen > 0 and table.concat(seen, ", ") or "none")
  end,
}

local function metrics_of(result, declared)
  return setmetatable(metrics.of(result, declared), no_metric)
end

local function names_of(ctx, live, dir)
  return values.of(ctx, { instance = live.name, task = (native.task.current()), attempt = 1 }, dir)
end

--- Waits for the command's end. One that is to end before gets its signal and its grace: when its
--- time is over, and when what it belongs to is cancelled, stopped or paused.
local function wait_for(ctx, live, key, how)
  local name <const> = key:gsub("%.", "-")
  local guard <close> = task.on_exit(function(raised)
    if not raised or failure.from(raised).kind ~= "cancelled" or live.gone or ctx.hurry then
      return
    end
    native.task.shield(how.grace + 60, function()
      ending.stop(live, key, how, "stop-" .. name)
    end)
  end)
  local ended <const>, result <const> = task.within("wait-" .. name, how.timeout, function()
    return native.instance.wait(live.tag, key)
  end)
  guard.fn = nil
  if ended then return result end
  ending.stop(live, key, how, "grace-" .. name)
  failure.raise("timeout", "the command took longer than %s", duration.short(how.timeout))
end

--- How a command of a pipeline ends before its time.
local function how_to_end(box, options)
  local shared <const> = owners[box]
  local fields <const> = shared and shared.declaration.fields or {}
  return {
    stop_signal = options.stop_signal or fields.stop_signal,
    grace = typed(duration.parse, options.grace, "grace") or fields.grace or ending.grace,
    timeout = typed(duration.parse, options.timeout, "timeout"),
  }
end

--- Runs a command and waits for its end; it outlives a crash of choline. Raises `crashed` when it
--- does not end with 0, unless options.check is false.
---@async
---@param command string|(string|number)[]
---@param options? { metrics?: table, env?: table, dir?: string, timeout?: string|number, check?: boolean, stop_signal?: string, grace?: string|number }
function Box:run(command, options)
  local live <const>, ctx <const> = live_of(self, "run")
  options = options or {}
  local dir <const> = options.dir or live.dir or values.folder(ctx, live.name)
  local names <const> = names_of(ctx, live, dir)
  local path <const> = native.task.current()
  local key <const> = values.key(ctx, path, ordinal(ctx, "run"))
  native.instance.start(live.tag, {
    key = key, task = owners[self] and owners[self].declaration.name or path:match("([^.]*)$"),
    attempt = 1, dir = dir,
    command = values.command(command_of(command), names), env = values.env(options.env, names),
    metrics = attempt.patterns(options.metrics),
  })
  local result <const> = wait_for(ctx, live, key, how_to_end(self, options))
  ctx.events:emit("command_done", {
    instance = live.label, code = result.code, seconds = result.seconds,
  })
  local why <const> = attempt.classify(result, "the command")
  if why and options.check ~= false then error(why, 0) end
  return {
    code = result.code, signal = result.signal, seconds = result.seconds,
    metrics = metrics_of(result, options.metrics),
  }
end

--- Runs a short command and gives its output. Done again when choline crashed in between, unless
--- options.interrupted is "fail".
---@async
function Box:exec(command, options)
  local live <const>, ctx <const> = live_of(self, "exec")
  options = options or {}
  local dir <const> = options.dir or live.dir or values.folder(ctx, live.name)
  local names <const> = names_of(ctx, live, dir)
  return native.instance.exec(live.tag, values.command(command_of(command), names), {
    dir = dir, env = values.env(options.env, names), input = options.input,
    timeout = typed(duration.parse, options.timeout, "timeout"), interrupted = options.interrupted
      or "rerun",
  })
end

--- Ends the instance. A second time is no error.
---@async
function Box:destroy()
  local live <const> = lives[self]
  local ctx <const> = context("instance:destroy")
  if owners[self] then
    failure.raise("invalid", "instance \"%s\" belongs to a task, which ends it when it is done",
      live.label)
  end
  ctx.pool:release(live, "destroyed by the pipeline")
end

function Box:__close(raised)
  local live <const> = lives[self]
  if not live or owners[self] or not current then return end
  local cancelled <const> = raised ~= nil and failure.from(raised).kind == "cancelled"
  if live.keep and not cancelled then current.pool:keep(live)
  else current.pool:release(live, "end of its block") end
end

-- Words

local function merged(fields, overrides)
  local out <const> = list.copy(fields)
  for name, value in list.sorted(overrides or {}) do out[name] = value end
  return out
end

--- Will an instance of `name` that somebody else holds become free?
local function may_become_free(ctx, name, path)
  for _, live in ipairs(ctx.pool.lives) do
    local owner <const> = live.owner
    if live.name == name and not live.kept
      and not (owner and (path .. "."):sub(1, #owner + 1) == owner .. ".") then
      return true
    end
  end
  return false
end

--- Rents an instance of the declaration `name`. When the provider has no more and this run itself
--- holds some elsewhere, waits until one of those has ended.
---@async
---@param name string
---@param overrides? table   checked fields
---@return flow.Box
function M.acquire(name, overrides)
  local ctx <const> = context("instance:acquire")
  local fields <const> = merged(ctx.pool:entry(name).fields, overrides)
  local path <const> = native.task.current()
  while true do
    local freed <const> = ctx.pool:freed_count(name)
    -- no_capacity may pass
    local ok <const>, live <const> = pcall(ctx.pool.rent, ctx.pool, name, fields,
      { keep = fields.keep == true })
    if ok then
      live.owner = path
      return M.box(live)
    end
    local why <const> = failure.from(live)
    if why.kind ~= "no_capacity" or not may_become_free(ctx, name, path) then
      ctx.pool:tell_freed(name) -- whose turn this was not used
      error(live, 0)
    end
    ctx.pool:wait_freed(name, freed)
  end
end

local function points_of(grid)
  local points = { {} }
  for _, name in ipairs(list.keys(grid)) do
    local more <const> = {}
    for _, point in ipairs(points) do
      for _, choice in ipairs(grid[name]) do
        local copy <const> = list.copy(point)
        copy[name] = choice
        more[#more + 1] = copy
      end
    end
    points = more
  end
  return points
end

local function label_of(point)
  local parts <const> = {}
  for name, value in list.sorted(point) do
    parts[#parts + 1] = ("%s=%s"):format(name, tostring(value))
  end
  return table.concat(parts, ",")
end
M.label_of = label_of

local result_meta <const> = {
  __index = function(result, name) return rawget(result, "point")[name] end,
  __tostring = function(result)
    return ("%s (%s)"):format(label_of(result.point), tostring(result.value))
  end,
}

--- A task's name has no dots, slashes or control characters, and is not long.
local function name_of(number, index, label)
  return ("parallel-%d-%d:%s"):format(number, index, (label:sub(1, 100):gsub("[%c./]", "_")))
end

local function run_points(ctx, points, fn)
  local number <const> = ordinal(ctx, "parallel")
  local tasks <const>, labels <const> = {}, {}
  local guard <close> = task.on_exit(function()
    task.end_all(tasks, "another point failed", 900)
  end)
  for index, point in ipairs(points) do
    labels[index] = label_of(point)
    tasks[index] = native.task.spawn(name_of(number, index, labels[index]), function()
      return fn(point)
    end)
  end
  local results <const>, open <const> = {}, {}
  for index in ipairs(points) do open[index] = index end
  while #open > 0 do
    local at <const> = native.task.any(list.map(open, function(index) return tasks[index] end))
    local index <const> = table.remove(open, at)
    local ok <const>, value <const> = native.task.try(tasks[index])
    if not ok then error(failure.wrap(value, ("the point %s failed"):format(labels[index])), 0) end
    results[index] = setmetatable({ point = points[index], value = value }, result_meta)
  end
  guard.fn = nil
  return results
end

--- `parallel { lr = { 0.1, 0.2 } } (function(point) … end)`: all points at once, results in their
--- order. The first failure ends the others and is raised.
---@async
---@param grid table<string, any[]>
---@param fn fun(point: table): any
function M.parallel(grid, fn)
  local ctx <const> = context("parallel")
  return run_points(ctx, points_of(grid), fn)
end

--- What the words of a cholfile that act ask; see dsl/environment.lua.
---@param ctx flow.Context
function M.engine(ctx)
  return {
    acquire = M.acquire,
    parallel = M.parallel,
    log = function(level, message) ctx.events:emit("log", { level = level, message = message }) end,
    sleep = function(seconds) native.wait.sleep(seconds) end,
    now = native.clock.now,
  }
end

return M
