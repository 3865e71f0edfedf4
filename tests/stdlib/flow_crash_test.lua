-- A process that dies at any point, and another that goes on: nothing is done twice, nothing is
-- left alive, and the run ends as it would have.

local support <const> = require "flow_support"

local function training(program)
  return function()
    return support.program(program())
  end
end

local scenarios <const> = {}

scenarios["retries, checkpoints and a repeated sync"] = {
  world = function()
    return support.world { program = function(text, context)
      return { seconds = 12, code = context.attempt < 3 and text:find("train") and 1 or 0,
        writes = {
        { at = 2, path = "/work/ckpt", name = "e" .. context.attempt, step = context.attempt } } }
    end }
  end,
  program = training(function()
    return { budget = 5.0,
      syncs = { support.sync("code", { from = ".", to = "gpu:/work" }),
        support.sync("checkpoints", { from = "gpu:/work/ckpt", to = "ckpt", every = 5 }) },
      tasks = { support.task("train", { setup = "pip", run = "train", timeout = 100,
        resume = { from = "checkpoints", run = "train --resume {checkpoint}" },
        retry = { kind = "retry", max = 5, on = { "crashed", "lost" },
          wait = { 3, up_to = 30 } } }),
        support.task("after", { run = "after", after = { "train" } }) },
      handlers = { { event = "crashed", call = function() end } },
    }
  end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.instances, 1)
    local texts <const> = {}
    for index, command in ipairs(world.commands) do texts[index] = command.text end
    t.equal(table.concat(texts, "|"),
      "pip|train|train --resume ckpt/e1|train --resume ckpt/e2|after")
  end,
}

scenarios["two tasks at once on two instances, one refused offer"] = {
  world = function()
    return support.world { refuse = { cheap = 1 }, offers = { { id = "cheap", price = 0.1 },
      { id = "dear", price = 0.2 } } }
  end,
  program = training(function()
    return { instances = { support.instance "gpu", support.instance "cpu" },
      tasks = { support.task("one", { run = "one" }),
        support.task("two", { run = "two", on = "cpu" }),
        support.task("three", { run = "three", after = { "one", "two" } }) } }
  end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.instances, 2)
    t.equal(#world.commands, 3)
  end,
}

scenarios["a task that fails, with one that is skipped"] = {
  world = function() return support.world { program = function(text)
    return { code = text == "a" and 1 or 0, seconds = 3 } end }
  end,
  program = training(function()
    return { tasks = { support.task("a", { run = "a" }),
      support.task("b", { run = "b", after = { "a" } }) } }
  end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "failed")
    t.equal(#world.instances, 1)
  end,
}

scenarios["a pipeline with parallel points"] = {
  world = function() return support.world { capacity = 2, program = function()
    return { seconds = 4, metrics = {} } end }
  end,
  program = function()
    local program <const> = support.program {}
    program.pipelines = { { name = "grid", body = function()
      program.engine.parallel({ x = { 1, 2, 3 } }, function(point)
        local box <close> = program.engine.acquire("gpu")
        box:push(".", "/work")
        box:run("work " .. point.x)
        program.engine.log("info", "done " .. point.x)
        return point.x
      end)
    end } }
    return program
  end,
  expect = function(t, world)
    t.equal(world.runs.run001.state, "done")
    t.equal(#world.instances, 3)
    t.equal(#world.commands, 3)
  end,
}

scenarios["the budget ends a run"] = {
  world = function()
    return support.world { program = function() return { seconds = 100000 } end,
      offers = { { id = "dear", price = 36.0 } } }
  end,
  program = training(function()
    return { budget = 2.0, tasks = { support.task("train", { run = "x" }) } }
  end),
  expect = function(t, world)
    t.equal(world.runs.run001.state, "failed")
    t.equal(world.runs.run001.failure.kind, "budget")
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

local function event_keys(world)
  local out <const> = {}
  for index, event in ipairs(world.runs.run001.events) do
    out[index] = event.key .. " " .. event.kind
  end
  table.sort(out)
  return table.concat(out, "\n")
end

local tests <const> = {}

for name, scenario in pairs(scenarios) do
  tests["after one crash at any point: " .. name] = function(t)
    local calm <const> = scenario.world()
    local points <const> = support.execute(calm, scenario.program).points
    scenario.expect(t, calm)
    t.is_true(points > 20, "too few crash points: " .. points)
    for at = 1, points do
      local world <const> = scenario.world()
      local first <const> = support.execute(world, scenario.program, { crash_at = at })
      t.is_true(first.crashed, "did not crash at " .. at)
      check(t, scenario, world, support.execute(world, scenario.program),
        ("crash %d (%s)"):format(at, first.crashed))
    end
  end

  tests["after crashes one after the other: " .. name] = function(t)
    local numbers <const> = t.numbers(7)
    for round = 1, 40 do
      local world <const> = scenario.world()
      local result
      local what = "round " .. round
      for _ = 1, 4 do
        result = support.execute(world, scenario.program, { crash_at = numbers(1, 60) })
        what = what .. ", " .. tostring(result.crashed)
        if not result.crashed then break end
      end
      if result.crashed then result = support.execute(world, scenario.program) end
      check(t, scenario, world, result, what)
    end
  end

  tests["a finished run replays without doing anything: " .. name] = function(t)
    local world <const> = scenario.world()
    support.execute(world, scenario.program)
    local events <const>, effects <const>, last <const> =
      event_keys(world), #world.effects, world.runs.run001.journal.last
    local result <const> = support.execute(world, scenario.program)
    check(t, scenario, world, result, "replay")
    t.equal(event_keys(world), events)
    t.equal(#world.effects, effects)
    t.equal(world.runs.run001.journal.last, last)
  end
end

return tests
