-- Schedules in the engine, on a virtual clock: what happens when, and that whatever dies at any
-- point nothing happens twice, late without a word, or not at all.

local cron <const> = require "core.cron"
local moment <const> = require "core.moment"
local support <const> = require "flow_support"

local function at(text) return { moment = assert(moment.parse(text)) } end
local function every(text) return { cron = assert(cron.parse(text)) } end

local function schedule(name, tasks, fields)
  fields.late, fields.misfire = fields.late or 60, fields.misfire or "once"
  fields.overlap = fields.overlap or "forbid"
  return { word = "schedule", name = name, tasks = tasks, fields = fields,
    where = { file = "Cholfile.lua", line = 1 } }
end

-- A training that writes two checkpoints, and ends when it is told.
local function training()
  return support.world { program = function(_, context)
    local writes <const> = {}
    for step = 1, 2 do
      writes[step] = { at = step * 10, path = "/work/ckpt",
        name = ("e%d-%02d"):format(context.attempt, step), step = context.attempt * 100 + step }
    end
    return { seconds = 300, writes = writes }
  end }
end

local function program(schedules)
  return function()
    local fields <const> = {}
    fields.syncs = { support.sync("checkpoints", { from = "gpu:/work/ckpt", to = "ckpt" }) }
    fields.tasks = { support.task("train", { run = "train", grace = 20,
      resume = { from = "checkpoints", run = "train --resume {checkpoint}" } }) }
    fields.schedules = schedules()
    return support.program(fields)
  end
end

local function texts(world)
  local out <const> = {}
  for index, command in ipairs(world.commands) do out[index] = command.text end
  return table.concat(out, "|")
end

--- Seconds from the world's beginning at which events of a kind came.
local function times(world, kind)
  local out <const> = {}
  for _, event in ipairs(world.runs.run001.events) do
    if event.kind == kind then out[#out + 1] = math.floor(event.at - 1767225600) end
  end
  return out
end

local function count(world, kind) return #times(world, kind) end

-- Ends of runs that a schedule began, as command/children would tell them.
local function watch(native, seconds)
  return function(ctx)
    native.task.spawn("runs", function()
      while true do
        for id in pairs(ctx.children) do
          local row <const> = native.store.find(id)
          if native.clock.wall() >= row.created + seconds and not ctx.children[id].told then
            ctx.children[id].told = true
            native.wait.pass("run/" .. id, { state = "done" })
          end
        end
        native.wait.sleep(1)
      end
    end, { outside = true })
  end
end

local function execute(world, scenario, options)
  options = options or {}
  return support.execute(world, function(native)
    options.started = scenario.seconds and watch(native, scenario.seconds) or nil
    return scenario.program()
  end, options)
end

local scenarios <const> = {}

scenarios["a start, a pause, a resume and a stop"] = {
  world = training,
  program = program(function()
    return { schedule("night", { "train" }, { start = at "in 60s", pause = at "in 35s",
      resume = at "in 100s", stop = at "in 45s" }) }
  end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.instances, 2)
    t.is_true(texts(world):find("^train|train %-%-resume /work/ckpt/e1%-0%d$"), texts(world))
    for _, kind in ipairs { "paused", "resumed", "pause_requested", "task_stopped" } do
      t.equal(count(world, kind), 1, kind)
    end
    t.equal(count(world, "schedule_fired"), 4)
  end,
}

scenarios["a start that two tasks wait for, with one after it"] = {
  world = function() return support.world() end,
  program = function()
    return support.program {
      tasks = { support.task("a", { run = "a" }), support.task("b", { run = "b" }),
        support.task("c", { run = "c", after = { "a" } }) },
      schedules = { schedule("both", { "a", "b" }, { start = at "in 30s" }) } }
  end,
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.commands, 3)
    t.equal(#world.instances, 1)
  end,
}

scenarios["runs of their own, one after the other"] = {
  seconds = 25,
  world = function() return support.world() end,
  program = function()
    return support.program {
      tasks = { support.task("train", { run = "train" }) },
      schedules = { schedule("often", nil, { start = every "@every 20s", times = 3,
        overlap = "queue", misfire = "all" }) } }
  end,
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.commands, 0) -- of this run
    t.equal(#world.run_order, 4)
    t.equal(count(world, "schedule_run_begun"), 3)
    t.equal(count(world, "schedule_run_ended"), 3)
    for index = 2, 4 do
      local run <const> = world.runs[world.run_order[index]]
      t.equal(run.parent, ("run001/often/%s"):format(os.date("!%Y-%m-%dT%H:%M:%SZ",
        1767225600 + (index - 1) * 20)))
    end
  end,
}

local function check(t, scenario, world, result, what)
  if result.crashed then t.fail(what .. ": crashed again at " .. result.crashed) end
  if result.ok == false then t.fail(what .. ": " .. tostring(result.value)) end
  if result.stuck then t.fail(what .. ": stuck") end
  t.equal(world.violations, {}, what)
  t.equal(world:alive(), 0, what .. ": alive")
  scenario.expect(t, world)
end

local tests <const> = {}

for name, scenario in pairs(scenarios) do
  tests["after one crash at any point: " .. name] = function(t)
    local calm <const> = scenario.world()
    local points <const> = execute(calm, scenario).points
    scenario.expect(t, calm)
    t.is_true(points > 20, "too few crash points: " .. points)
    for point = 1, points do
      local world <const> = scenario.world()
      local first <const> = execute(world, scenario, { crash_at = point })
      t.is_true(first.crashed, "did not crash at " .. point)
      check(t, scenario, world, execute(world, scenario), ("crash %d (%s)"):format(point,
        first.crashed))
    end
  end

  tests["after crashes one after the other: " .. name] = function(t)
    local numbers <const> = t.numbers(17)
    for round = 1, 25 do
      local world <const> = scenario.world()
      local result
      for _ = 1, 5 do
        result = execute(world, scenario, { crash_at = numbers(1, 60) })
        if not result.crashed then break end
      end
      if result.crashed then result = execute(world, scenario) end
      check(t, scenario, world, result, "round " .. round)
    end
  end

  tests["a finished run replays without doing anything: " .. name] = function(t)
    local world <const> = scenario.world()
    execute(world, scenario)
    local events <const>, effects <const>, last <const>, runs <const> =
      #world.runs.run001.events, #world.effects, world.runs.run001.journal.last, #world.run_order
    check(t, scenario, world, execute(world, scenario), "replay")
    t.equal({ #world.runs.run001.events, #world.effects, world.runs.run001.journal.last,
      #world.run_order }, { events, effects, last, runs })
  end
end

tests["everything happens at its instant"] = function(t)
  local world <const> = training()
  execute(world, scenarios["a start, a pause, a resume and a stop"])
  t.equal(times(world, "schedule_fired"), { 60, 95, 195, 240 })
  t.equal(times(world, "task_started"), { 60 })
  t.equal(times(world, "pause_requested"), { 95 })
  t.equal(times(world, "resumed"), { 195 })
end

tests["a window by cron over a month: paused by day, at work by night, and paid only then"] =
  function(t)
    local hour <const> = 3600
    local world <const> = support.world { program = function()
      return { seconds = 240 * hour, writes = { { at = 60, path = "/work/ckpt", name = "e1",
        step = 1 } } }
    end }
    local result <const> = support.execute(world, program(function()
      return { schedule("nights", { "train" }, { pause = every "0 8 * * 1-5",
        resume = every "0 19 * * 1-5", stop = at "2026-02-01 00:00" }) }
    end))
    t.is_true(result.ok)
    -- January 2026 begins on a Thursday and has 22 working days.
    t.equal(count(world, "pause_requested"), 22)
    t.equal(#world.instances, 23)
    for _, instance in ipairs(world.instances) do
      local from <const> = os.date("!*t", math.floor(instance.created))
      local to <const> = os.date("!*t", math.floor(instance.ended))
      t.is_true(from.hour == 19 or from.yday == 1, "rented at " .. from.hour)
      t.is_true(to.hour == 8 or to.month == 2, "ended at " .. to.hour)
    end
  end

tests["a process that was away for a day brings the state to what it should be"] = function(t)
  local world <const> = support.world { program = function()
    return { seconds = 1e7, writes = { { at = 60, path = "/work/ckpt", name = "e1", step = 1 } } }
  end }
  local function make()
    return program(function()
      return { schedule("nights", { "train" }, { pause = every "0 8 * * *",
        resume = every "0 19 * * *", stop = at "2026-01-04 00:00" }) }
    end)()
  end
  -- It dies while it waits for the first pause, and is taken up after the second resume.
  local calm <const> = support.world { program = world.program }
  local points <const> = support.execute(calm, make).points
  local died
  for point = 20, points do
    world.agenda, world.time = {}, 1767225600.0
    local trial <const> = support.world { program = world.program }
    local first <const> = support.execute(trial, make, { crash_at = point })
    if first.crashed and trial.time > 1767225600 + 100 then died = trial break end
  end
  t.is_true(died, "no crash before the pause")
  died.time = 1767225600.0 + 44 * 3600 -- the 2nd, 20:00
  local result <const> = support.execute(died, make)
  t.is_true(result.ok and not result.stuck)
  local fired <const> = {}
  for _, event in ipairs(died.runs.run001.events) do
    if event.kind == "schedule_fired" or event.kind == "schedule_missed" then
      fired[#fired + 1] = ("%s %s %s"):format(event.kind:sub(10), event.data.action,
        os.date("!%d %H:%M", math.floor(event.data.at)))
    end
  end
  t.equal(table.concat(fired, ", "), "missed pause 02 08:00, fired resume 02 19:00, "
    .. "fired pause 03 08:00, fired resume 03 19:00, fired stop 04 00:00")
end

tests["a start that is refused by overlap is said with the run that is in its way"] = function(t)
  local scenario <const> = { seconds = 50, program = function()
    return support.program { tasks = { support.task("train", { run = "train" }) },
      schedules = { schedule("often", nil, { start = every "@every 20s", times = 4 }) } }
  end }
  local world <const> = support.world()
  execute(world, scenario)
  t.equal(count(world, "schedule_run_begun"), 2)
  t.equal(support.event(world, "schedule_skipped").run, "run002")
  t.equal(times(world, "schedule_skipped"), { 40, 60 })
end

tests["a stop by one schedule does not touch the start of another that comes later"] = function(t)
  local world <const> = support.world()
  local result <const> = support.execute(world, program(function()
    return { schedule("early", { "train" }, { stop = at "in 10s" }),
      schedule("late", { "train" }, { start = at "in 60s" }) }
  end))
  t.is_true(result.ok)
  t.equal(#world.commands, 1)
end

return tests
