-- The engine on a world that a test scripts: what a run does, in which order, and how it ends.

local support <const> = require "flow_support"

local function ends_well(t, world, result)
  if not result.ok then t.fail("the process failed: " .. tostring(result.value)) end
  t.equal(result.stuck, nil, "stuck")
  t.equal(world.violations, {}, "violations")
  t.equal(world:alive(), 0, "instances alive at the end")
end

local function one_task(fields)
  return function() return support.program { tasks = { support.task("train", fields) } } end
end

local function texts(world)
  local out <const> = {}
  for index, command in ipairs(world.commands) do out[index] = command.text end
  return out
end

return {
  ["a task runs on a rented instance, which is released at the end"] = function(t)
    local world <const> = support.world()
    local result <const> = support.execute(world, one_task { run = "python train.py" })
    ends_well(t, world, result)
    t.equal(result.value, nil)
    t.equal(texts(world), { "python train.py" })
    t.equal(support.kinds(world),
      "run_started task_started instance_rented instance_ready attempt_started "
      .. "task_done instance_released run_done")
    t.equal(world.runs.run001.state, "done")
  end,

  ["a command that fails without a policy fails the task and the run"] = function(t)
    local world <const> = support.world { program = function() return { seconds = 4,
      code = 3 } end }
    local result <const> = support.execute(world, one_task { run = "false" })
    ends_well(t, world, result)
    t.equal(result.value.kind, "crashed")
    t.equal(result.value.fields.code, 3)
    t.equal(result.value.message, 'task "train" ended with exit 3 after 4s')
    t.equal(support.event(world, "failed").why, "no retry or failover is declared")
    t.equal(world.runs.run001.state, "failed")
  end,

  ["a retry waits and tries again on the same instance"] = function(t)
    local world <const> = support.world { program = function(_, context)
      return { seconds = 1, code = context.attempt < 3 and 1 or 0 }
    end }
    local result <const> = support.execute(world, one_task { run = "x {attempt}",
      retry = { kind = "retry", max = 3, on = { "crashed" }, wait = { 10, up_to = 60 } } })
    ends_well(t, world, result)
    t.equal(texts(world), { "x 1", "x 2", "x 3" })
    t.equal(#world.instances, 1)
    local waits <const> = {}
    for _, event in ipairs(world.runs.run001.events) do
      if event.kind == "retrying" then waits[#waits + 1] = event.data.wait end
    end
    t.equal(waits, { 10.0, 20.0 })
  end,

  ["a preempted task goes on elsewhere from its newest checkpoint"] = function(t)
    local world <const> = support.world { program = function()
      return { seconds = 60, writes = {
        { at = 5, path = "/work/ckpt", name = "e1", step = 1 }, { at = 15, path = "/work/ckpt",
          name = "e2", step = 2 },
      } }
    end }
    world:after(45, function() world:take_away("gpu", "preempted") end)
    local result <const> = support.execute(world, function()
      return support.program {
        syncs = { support.sync("code", { from = ".", to = "gpu:/work" }),
          support.sync("checkpoints", { from = "gpu:/work/ckpt", to = "ckpt", every = 5 }) },
        tasks = { support.task("train",
          { run = "train", resume = { from = "checkpoints", run = "train --resume {checkpoint}" },
          failover = { kind = "failover", on = { "preempted" } } }) },
      }
    end)
    ends_well(t, world, result)
    t.equal(result.value, nil)
    t.equal(texts(world), { "train", "train --resume ckpt/e2" })
    t.equal(#world.instances, 2)
    t.equal(support.event(world, "checkpoint_pushed").checkpoint, "e2")
    t.equal(world.instances[2].folders["/work/ckpt"].e1 ~= nil, true)
  end,

  ["checkpoints of an earlier run are left alone"] = function(t)
    local world <const> = support.world { program = function(_, context) return { seconds = 5,
      code = context.attempt == 1 and 1 or 0 } end }
    world.folders["/p/ckpt"] = { old = { step = 9, mtime = 1, bytes = 100 } }
    local result <const> = support.execute(world, function()
      return support.program {
        syncs = { support.sync("checkpoints", { from = "gpu:/work/ckpt", to = "ckpt",
          every = 50 }) },
        tasks = { support.task("train",
          { run = "train", resume = { from = "checkpoints", run = "train --resume {checkpoint}" },
          retry = { kind = "retry", max = 1, on = { "crashed" } } }) },
      }
    end)
    ends_well(t, world, result)
    t.equal(texts(world), { "train", "train" })
  end,

  ["tasks run after those they name, and are skipped when one failed"] = function(t)
    local world <const> = support.world { program = function(text) return { seconds = 5,
      code = text == "b" and 1 or 0 } end }
    local result <const> = support.execute(world, function()
      return support.program { tasks = {
        support.task("c", { run = "c", after = { "a", "b" } }), support.task("a", { run = "a" }),
        support.task("b", { run = "b", after = { "a" } }),
          support.task("d", { run = "d", after = { "a" } }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "crashed")
    t.equal(texts(world), { "a", "b", "d" })
    t.equal(support.event(world, "skipped"), { task = "c", after = "b" })
    t.equal(#world.instances, 1)
  end,

  ["setup runs once for each instance and its failure has a kind of its own"] = function(t)
    local world <const> = support.world { program = function(text) return { seconds = 1,
      code = text == "pip" and 2 or 0 } end }
    local result <const> = support.execute(world, one_task { setup = "pip", run = "train" })
    ends_well(t, world, result)
    t.equal(result.value.kind, "setup_failed")
    t.equal(result.value.fields.code, 2)
    t.equal(texts(world), { "pip" })
  end,

  ["a task that takes too long is stopped, at first kindly"] = function(t)
    local world <const> = support.world { program = function() return { seconds = 1000,
      deaf = true } end }
    local result <const> = support.execute(world, one_task { run = "train", timeout = 30,
      grace = 7 })
    ends_well(t, world, result)
    t.equal(result.value.kind, "timeout")
    t.equal(result.value.message, 'task "train" took longer than 30s')
    t.equal(world.commands[1].signalled, "KILL")
  end,

  ["an offer that is gone is passed over for the next"] = function(t)
    local world <const> = support.world { refuse = { cheap = 1 }, offers = {
      { id = "cheap", price = 0.1 }, { id = "dear", price = 0.3 } } }
    local result <const> = support.execute(world, one_task { run = "x" })
    ends_well(t, world, result)
    t.equal(support.event(world, "offer_failed").reason, "no_capacity")
    t.equal(support.event(world, "instance_rented").price, 0.3)
  end,

  ["no offer within the price says what the cheapest costs"] = function(t)
    local world <const> = support.world()
    local result <const> = support.execute(world, function()
      return support.program { instances = { support.instance("gpu", { max_price = 0.05 }) },
        tasks = { support.task("train", { run = "x" }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "price")
    t.equal(result.value.message,
      'no offer for instance "gpu" within max_price $0.05/h: the cheapest is $0.10/h at local')
  end,

  ["the budget stops a run before it is reached, teardown counted"] = function(t)
    local world <const> = support.world { program = function() return { seconds = 360000 } end,
      offers = { { id = "dear", price = 6.0 } } }
    local result <const> = support.execute(world, function()
      return support.program { budget = 1.0, tasks = { support.task("train", { run = "x" }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "budget")
    local spent = 0
    for _, instance in ipairs(world.instances) do
      spent = spent + (instance.ended - instance.created) / 3600 * instance.price
    end
    t.is_true(spent < 1.0 and spent > 0.8, "spent " .. spent)
  end,

  ["an instance that nothing can pay for is not rented"] = function(t)
    local world <const> = support.world { offers = { { id = "dear", price = 100.0 } } }
    local result <const> = support.execute(world, function()
      return support.program { budget = 1.0, tasks = { support.task("train", { run = "x" }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "budget")
    t.equal(#world.instances, 0)
  end,

  ["finally keep leaves the instance and says its price"] = function(t)
    local world <const> = support.world()
    local result <const> = support.execute(world, one_task { run = "x", finally = "keep" })
    t.equal(result.value, nil)
    t.equal(world:alive(), 1)
    t.equal(support.event(world, "instance_kept").price, 0.1)
  end,

  ["handlers see events once and may take steps; an error in one is an event"] = function(t)
    local seen <const> = {}
    local world <const> = support.world { program = function() return { code = 1 } end }
    local result <const> = support.execute(world, function(native)
      local program <const> = support.program { tasks = { support.task("train", { run = "x" }) } }
      program.handlers = {
        { event = "crashed", call = function(event)
          native.wait.sleep(3)
          seen[#seen + 1] = event.kind .. " " .. event.task .. " " .. event.code
        end },
        { event = "failed", call = function() error("oops") end },
      }
      return program
    end)
    ends_well(t, world, result)
    t.equal(seen, { "crashed train 1" })
    t.contains(support.event(world, "handler_failed").message, "oops")
  end,

  ["a policy that waits is told so"] = function(t)
    local world <const> = support.world { program = function() return { code = 1 } end }
    local result <const> = support.execute(world, function(native)
      return support.program { tasks = { support.task("train", { run = "x", retry = function()
        native.wait.sleep(1)
      end }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "invalid")
    t.contains(tostring(result.value), "a policy may not wait")
  end,

  ["a cancelled run brings files back and releases everything"] = function(t)
    local world <const> = support.world { program = function() return { seconds = 1000,
      writes = { { at = 5, path = "/work/out", name = "a" } } } end }
    local result <const> = world:boot(function(native, boot)
      local id <const> = native.run.create { name = "p", params = {}, env = {}, sources = {} }
      native.run.own(id)
      local main <const> = native.task.spawn("run", function()
        return require("flow.run").execute(support.program {
          syncs = { support.sync("out", { from = "gpu:/work/out", to = "out" }) },
          tasks = { support.task("train", { run = "x" }) } }, { run = id })
      end)
      world:after(40, function() native.task.cancel(main, "stopped by a person") end)
      local ok <const>, why <const> = native.task.try(main)
      t.equal(ok, false)
      t.equal(why.kind, "cancelled")
      return boot.points
    end)
    ends_well(t, world, result)
    t.is_true(world.folders["/p/out"], "files were brought back")
  end,

  ["a pipeline pushes, runs, tries points side by side and releases"] = function(t)
    local world <const> = support.world { capacity = 2, program = function(text)
      return { seconds = 5, metrics = { acc = { last = tonumber(text:match("%-%-lr (%S+)")) or 0,
        best = 0, min = 0.1,
        max = tonumber(text:match("%-%-lr (%S+)")) or 0, count = 1, step = 1 } } }
    end }
    local found
    local result <const> = support.execute(world, function()
      local program <const> = support.program {}
      program.pipelines = { { name = "two", body = function()
        do
          local box <close> = program.engine.acquire("gpu")
          box:push(".", "/work")
          t.equal(box:exec("hostname").out, "hostname\n")
          t.equal(box:run({ "train", "--lr", 0.5 }).metrics.acc.best, 0.5)
        end
        local results <const> = program.engine.parallel({ lr = { 0.1, 0.9, 0.4 } }, function(point)
          local box <close> = program.engine.acquire("gpu")
          return box:run({ "train", "--lr", point.lr }).metrics.acc.best
        end)
        found = { results[1].value, results[2].value, results[3].value, tostring(results[2]) }
      end } }
      return program
    end)
    ends_well(t, world, result)
    t.equal(found, { 0.1, 0.9, 0.4, "lr=0.9 (0.9)" })
    t.equal(#world.instances, 4)
  end,

  ["an unknown metric of a command is named with those it gave"] = function(t)
    local world <const> = support.world { program = function()
      return { metrics = { loss = { min = 1, max = 2 } } } end }
    local result <const> = support.execute(world, function()
      local program <const> = support.program {}
      program.pipelines = { { name = "p", body = function()
        local box <close> = program.engine.acquire("gpu")
        return box:run("x").metrics.acc.best
      end } }
      return program
    end)
    ends_well(t, world, result)
    t.equal(result.value.message, 'the command gave no metric "acc"; it gave loss')
  end,

  ["a point that fails ends the others"] = function(t)
    local world <const> = support.world { program = function(text)
      return { seconds = text:find("bad") and 3 or 500, code = text:find("bad") and 1 or 0 }
    end }
    local result <const> = support.execute(world, function()
      local program <const> = support.program {}
      program.pipelines = { { name = "p", body = function()
        program.engine.parallel({ way = { "good", "bad" } }, function(point)
          local box <close> = program.engine.acquire("gpu")
          box:run("train " .. point.way)
        end)
      end } }
      return program
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "crashed")
    t.contains(tostring(result.value), "the point way=bad failed")
  end,

  ["a sync that fails at the end fails the task; on the way it is only told"] = function(t)
    local world <const> = support.world { program = function() return { seconds = 30, writes = {
      { at = 1, path = "/work/out", name = "a" } } } end }
    world.on_sync = function() return "io" end
    local result <const> = support.execute(world, function()
      return support.program { syncs = { support.sync("out", { from = "gpu:/work/out", to = "out",
        every = 10 }) },
        tasks = { support.task("train", { run = "x" }) } }
    end)
    ends_well(t, world, result)
    t.equal(result.value.kind, "io")
    t.contains(support.kinds(world), "sync_failed")
  end,
}
