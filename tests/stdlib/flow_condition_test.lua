-- Conditions of tasks in the engine: what they end and how it is called, and that a process that
-- dies at any point neither loses an end nor does it twice.

local support <const> = require "flow_support"

local function execute(world, program, options)
  options = options or {}
  return support.execute(world, function(native)
    function options.started(ctx)
      native.run.heard()
      if options.prepare then options.prepare(native) end
      native.task.spawn("conditions", function() ctx.conditions:serve() end, { outside = true })
    end
    return program(native)
  end, options)
end

local function copy(value)
  if type(value) ~= "table" then return value end
  local out <const> = {}
  for key, each in pairs(value) do out[key] = copy(each) end
  return out
end

local function one_task(given, more)
  return function()
    local fields <const> = copy(given)
    fields.metrics, fields.run = { acc = { pattern = "x" }, loss = { pattern = "x" } }, "train"
    local program <const> = more and more() or {}
    program.tasks = { support.task("train", fields), support.task("after", { run = "after",
      after = { "train" } }) }
    return support.program(program)
  end
end

--- A value each two seconds from the step `first` on.
local function series(name, values, first)
  local points <const> = {}
  for index, value in ipairs(values) do
    points[index] = { at = index * 2, name = name, step = (first or 1) + index - 1, value = value }
  end
  return points
end

local function world_of(script)
  return support.world { program = function(text, context)
    if text == "after" then return { seconds = 2 } end
    return script(text, context)
  end }
end

local function texts(world)
  local out <const> = {}
  for index, command in ipairs(world.commands) do out[index] = command.text end
  return table.concat(out, "|")
end

local function count(world, kind)
  local found = 0
  for _, event in ipairs(world.runs.run001.events) do
    if event.kind == kind then found = found + 1 end
  end
  return found
end

local function plateau(over) return { kind = "plateau", metric = "acc", over = over } end
local function not_finite() return { kind = "not_finite", metric = "loss" } end

local scenarios <const> = {}

scenarios["a stop by a plateau, with what comes after it"] = {
  world = function()
    return world_of(function()
      return { seconds = 1000, points = series("acc", { 0.1, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4 }) }
    end)
  end,
  program = one_task { stop = plateau(3), timeout = 500 },
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(texts(world), "train|after")
    t.equal(count(world, "condition_met"), 1)
    local met <const> = support.event(world, "condition_met")
    t.equal(met.message,
      "acc has had no better value than 0.5 (step 2) for 3 values; the last is 0.4 at step 5")
    t.equal({ met.action, met.signal, met.attempt }, { "stop", "TERM", 1 })
    t.equal(support.event(world, "task_done").condition, 'metric "acc":plateau { over = 3 }')
    t.equal(count(world, "crashed"), 0)
  end,
}

scenarios["an attempt that fails by its condition, and one that goes on and is stopped"] = {
  world = function()
    return world_of(function(text)
      local points <const> = text:find("resume") and series("acc", { 0.5, 0.5, 0.5, 0.5 }, 3)
        or series("acc", { 0.1, 0.5, 0.2, 0.2 })
      if not text:find("resume") then
        points[#points + 1] = { at = 12, name = "loss", step = 5, value = 0 / 0 }
      end
      return { seconds = 1000, points = points,
        writes = { { at = 4, path = "/work/ckpt", name = "e2", step = 2 } } }
    end)
  end,
  program = one_task({ stop = plateau(4), fail = not_finite(), resume = { from = "ckpt",
    run = "train --resume {checkpoint}" }, retry = { kind = "retry", max = 2, on = { "stalled" },
    wait = { 3 } } }, function()
      return { syncs = { support.sync("code", { from = ".", to = "gpu:/work" }),
        support.sync("ckpt", { from = "gpu:/work/ckpt", to = "ckpt", every = 5 }) } }
    end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(texts(world), "train|train --resume ckpt/e2|after")
    t.equal(count(world, "condition_met"), 2)
    t.equal(count(world, "stalled"), 1)
    t.equal(support.event(world, "stalled").message,
      'task "train" was ended, as its condition says: loss is NaN at step 5, which is no finite '
      .. "number")
    -- Of the first attempt what came before step 3 counts, so 0.5 at step 2 is the best.
    local last
    for _, event in ipairs(world.runs.run001.events) do
      if event.kind == "condition_met" then last = event.data end
    end
    t.equal(last.message,
      "acc has had no better value than 0.5 (step 2) for 4 values; the last is 0.5 at step 6")
  end,
}

scenarios["a command that ignores the signal is killed after its grace"] = {
  world = function()
    return world_of(function()
      return { seconds = 1000, deaf = true, points = series("acc", { 0.95 }) }
    end)
  end,
  program = one_task { stop = { kind = "reaches", metric = "acc", value = 0.9 }, grace = 20 },
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(world.commands[1].signalled, "KILL")
    t.is_true(world.commands[1].ended - world.commands[1].started >= 20, "too early")
  end,
}

local function check(t, scenario, world, result, what)
  if result.crashed then t.fail(what .. ": crashed again at " .. result.crashed) end
  if result.ok == false then t.fail(what .. ": " .. tostring(result.value)) end
  t.equal(world.violations, {}, what)
  t.equal(result.value, nil, what)
  t.equal(world:alive(), 0, what .. ": alive")
  scenario.expect(t, world)
end

local tests <const> = {}

for name, scenario in pairs(scenarios) do
  tests["after one crash at any point: " .. name] = function(t)
    local calm <const> = scenario.world()
    local whole <const> = execute(calm, scenario.program)
    check(t, scenario, calm, whole, "calm")
    t.is_true(whole.points > 20, "too few crash points: " .. whole.points)
    for at = 1, whole.points do
      local world <const> = scenario.world()
      local first <const> = execute(world, scenario.program, { crash_at = at })
      t.is_true(first.crashed, "did not crash at " .. at)
      check(t, scenario, world, execute(world, scenario.program), ("crash %d (%s)"):format(at,
        first.crashed))
    end
  end
  tests["after crashes one after the other: " .. name] = function(t)
    local numbers <const> = t.numbers(11)
    for round = 1, 30 do
      local world <const> = scenario.world()
      local result
      for _ = 1, 4 do
        result = execute(world, scenario.program, { crash_at = numbers(1, 60) })
        if not result.crashed then break end
      end
      if result.crashed then result = execute(world, scenario.program) end
      check(t, scenario, world, result, "round " .. round)
    end
  end
  tests["a finished run replays without doing anything: " .. name] = function(t)
    local world <const> = scenario.world()
    execute(world, scenario.program)
    local last <const>, events <const> = world.runs.run001.journal.last, #world.runs.run001.events
    check(t, scenario, world, execute(world, scenario.program), "replay")
    t.equal({ world.runs.run001.journal.last, #world.runs.run001.events }, { last, events })
  end
end

tests["a command that says nothing stalls, and one that speaks does not"] = function(t)
  local world <const> = world_of(function(_, context)
    local values <const> = {}
    for index = 1, 30 do values[index] = 0.5 end
    return { seconds = context.attempt == 1 and 1000 or 60,
      points = context.attempt == 1 and series("acc", { 1, 2 }) or series("acc", values) }
  end)
  local result <const> = execute(world, one_task { fail = { kind = "stalled", seconds = 20 },
    retry = { kind = "retry", max = 1, on = { "stalled" }, wait = { 1 } } })
  t.equal(result.value, nil)
  t.equal(texts(world), "train|train|after")
  t.equal(support.event(world, "condition_met").message, "no output has come for 20s")
end

tests["without a link nothing is silent"] = function(t)
  local world <const> = world_of(function()
    return { seconds = 100, points = series("acc", { 1, 2 }) }
  end)
  world:after(14, function() world.unlinked = true end)
  world:after(95, function() world.unlinked = false end)
  local result <const> = execute(world, one_task { fail = { kind = "stalled", seconds = 30 } })
  t.equal(result.value, nil)
  t.equal(count(world, "condition_met"), 0)
end

tests["time is that of commands, over all attempts"] = function(t)
  local world <const> = world_of(function(_, context)
    return { seconds = context.attempt == 1 and 50 or 1000, code = 1, points = {} }
  end)
  local result <const> = execute(world, one_task { stop = { kind = "lasts", seconds = 70 },
    retry = { kind = "retry", max = 1, on = { "crashed" }, wait = { 500 } } })
  t.equal(result.value, nil)
  t.equal(count(world, "condition_met"), 1)
  local second <const> = world.commands[2]
  t.is_true(second.ended - second.started >= 19 and second.ended - second.started < 30,
    second.ended - second.started)
end

tests["a store that cannot be read for a while is said once, and loses no end"] = function(t)
  local world <const> = world_of(function()
    return { seconds = 1000, points = series("acc", { 0.95, 0.1, 0.1 }) }
  end)
  local failures = 4
  local result <const> = execute(world,
    one_task { stop = { kind = "reaches", metric = "acc", value = 0.9 } },
    { prepare = function(native)
      local real <const> = native.store.metrics
      function native.store.metrics(...)
        failures = failures - 1
        if failures >= 0 then error("the disk has gone", 0) end
        return real(...)
      end
    end })
  t.equal(result.value, nil)
  t.equal(support.event(world, "condition_met").facts[1].value, 0.95)
  t.equal(count(world, "log"), 1)
  t.equal(support.event(world, "log").message,
    "conditions cannot be looked at: the disk has gone")
end

tests["a moment that is past ends the run before anything is rented"] = function(t)
  local time <const> = { moment = require("core.moment").parse("2020-01-01 08:00 UTC") }
  local world <const> = world_of(function() return { seconds = 3 } end)
  local result <const> = execute(world,
    one_task { stop = { kind = "eta_after", metric = "acc", step = 9, time = time } })
  t.equal(result.value.kind, "invalid")
  t.contains(result.value.message, 'eta_after: "2020-01-01 08:00 UTC" is past')
  t.equal(#world.instances, 0)
end

tests["money that the run has spent ends a task"] = function(t)
  local world <const> = world_of(function() return { seconds = 100000, points = {} } end)
  local result <const> = execute(world, one_task { stop = { kind = "spent", amount = 0.05 } })
  t.equal(result.value, nil)
  t.equal(support.event(world, "condition_met").message:match("^the run has spent %$0.05"),
    "the run has spent $0.05")
end

tests["a program without conditions takes the steps that it always took"] = function(t)
  local world <const> = world_of(function() return { seconds = 3 } end)
  support.execute(world, one_task {})
  for key in pairs(world.runs.run001.journal.steps) do
    t.is_true(not key:find("condition") and not key:find("command%-stop"), key)
  end
end

return tests
