-- Commands from their words to their exit codes, in a world that a test scripts.

local fake <const> = require "fake_native"

local root <const> = package.path:match("^(.-)/stdlib/%?%.lua")

local function module_names()
  local names <const> = {}
  local pipe <const> =
    assert(io.popen(("cd '%s/stdlib' && find . -name '*.lua' -not -path './meta/*'"):format(root)))
  for file in pipe:lines() do
    names[#names + 1] = file:gsub("^%./", ""):gsub("%.lua$", ""):gsub("/", ".")
  end
  pipe:close()
  table.sort(names)
  return names
end

local modules <const> = module_names()

--- Runs `choline ARGV…` as a process of its own; gives its exit code, standard output and standard
--- error.
local function choline(world, argv, options)
  world.out = {}
  local result <const> = world:boot(function(native)
    return assert(loadfile(root .. "/stdlib/main.lua"))(native, argv, modules)
  end, options)
  if result.ok == false then error(tostring(result.value), 0) end
  local code = result.code
  if code == nil then code = result.value end
  return code, world.out[1] or "", world.out[2] or "", result
end

local simple <const> = [[
param "epochs" { default = 3 }
local gpu = instance "gpu" { from = { here { price = "$0.10/h" } } }
task "train" {
  on = gpu, run = "train {epochs}", retry = retry { max = 2, on = { "crashed" }, wait = "3s" },
}
]]

local function world_in(t, text, options)
  local world <const> = fake.world(options)
  world.cwd = t.folder { ["Cholfile.lua"] = text }
  return world
end

local function json(text) return require("fake_basic").fill({}).json.decode(text) end

return {
  ["run prints the id first, then what happens, and ends with 0"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, out <const>, err <const> = choline(world, { "run", "epochs=7" })
    t.equal(code, 0)
    t.equal(out:match("^[^\n]*"), "run001")
    t.contains(out, "train: attempt 1 on gpu")
    t.contains(out, "gpu-1: released after")
    t.contains(out, "run done")
    t.equal(err, "")
    t.equal(world.commands[1].text, "train 7")
    t.equal(world:alive(), 0)
    t.equal(world.violations, {})
  end,

  ["a param has its value also when a pipeline reads it"] = function(t)
    local world <const> = world_in(t, [[
param "epochs" { default = 3 }
local gpu = instance "gpu" {}
pipeline "p" (function()
  local box <close> = gpu:acquire()
  box:run { "train", param.epochs }
end)
]])
    t.equal((choline(world, { "run", "epochs=5" })), 0)
    t.equal(world.commands[1].text, "train 5")
  end,

  ["run --json prints each event as a line of JSON"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, out <const> = choline(world, { "run", "--json" })
    t.equal(code, 0)
    local kinds <const> = {}
    for line in out:gmatch("[^\n]+") do
      local row <const> = json(line)
      kinds[#kinds + 1] = row.event or row.run
    end
    t.equal(kinds[1], "run001")
    t.equal(kinds[2], "run_started")
    t.equal(kinds[#kinds], "run_done")
  end,

  ["a run that fails ends with 1 and says why"] = function(t)
    local world <const> = world_in(t, simple,
      { program = function() return { code = 9, seconds = 1 } end })
    local code <const>, out <const>, err <const> = choline(world, { "run" })
    t.equal(code, 1)
    t.contains(out, "train: attempt 2 in 3s (retry 1 of 2)")
    t.contains(err, 'task "train" ended with exit 9 after 1s')
    t.equal(world:alive(), 0)
    local _ <const>, why <const> = choline(world, { "why" })
    t.contains(why, "Run run001 failed at ")
    t.contains(why, "the policy said: attempt 2 after 3s (retry 1 of 2)")
    t.contains(why,
      '"train" failed for good: crashed 3 times; retry allows 2 more attempts than the first')
  end,

  ["an invalid cholfile ends with 2 before anything is rented"] = function(t)
    local world <const> = world_in(t, 'tusk "x" {}')
    local code <const>, _, err <const> = choline(world, { "run" })
    t.equal(code, 2)
    t.contains(err, "task")
    t.equal(#world.run_order, 0)
  end,

  ["a secret that is not set ends with 4 and names the variable"] = function(t)
    local world <const> = world_in(t, 'secret "TOKEN" {}\n' .. simple)
    local code <const>, _, err <const> = choline(world, { "run" })
    t.equal(code, 4)
    t.contains(err, "secret TOKEN is not set; store it with `choline auth TOKEN`, set the "
      .. "environment variable TOKEN")
  end,

  ["no capacity ends with 5, over budget with 6"] = function(t)
    local world <const> = world_in(t, simple, { capacity = 0 })
    t.equal((choline(world, { "run" })), 5)
    local poor <const> = world_in(t, simple, { offers = { { id = "dear", price = 100.0 } } })
    t.equal((choline(poor, { "run", "--budget", "$0.50" })), 6)
    t.equal(#poor.instances, 0)
  end,

  ["Ctrl-C stops cleanly and says what is released at which price; twice leaves at once"] =
    function(t)
    local function stopped(second)
      local world <const> = world_in(t, simple,
        { program = function() return { seconds = 1000 } end })
      world:after(60, function(boot) boot:signal "INT" end)
      if second then world:after(60.1, function(boot) boot:signal "INT" end) end
      local code <const>, _, err <const> = choline(world, { "run" })
      return code, err, world
    end
    local code <const>, err <const>, world <const> = stopped(false)
    t.equal(code, 130)
    t.contains(err,
      "stopping: ending commands, bringing files back and releasing gpu (local, $0.10/h)")
    t.equal(world:alive(), 0)
    t.equal(world.runs.run001.state, "stopped")
    t.equal(world.violations, {})
    local hard <const>, said <const>, left <const> = stopped(true)
    t.equal(hard, 130)
    t.contains(said,
      "left running: gpu (local, $0.10/h); `choline stop run001` or `choline gc` ends them")
    t.equal(left:alive(), 1)
    t.equal((choline(left, { "stop" })), 0)
    t.equal(left:alive(), 0)
    t.equal(left.runs.run001.state, "stopped")
  end,

  ["a run whose process died goes on with `run`, and starts anew with --new"] = function(t)
    local world <const> = world_in(t, simple, { program = function() return { seconds = 30 } end })
    choline(world, { "run" }, { crash_at = 30 })
    t.equal(world.runs.run001.state, "running")
    local code <const>, out <const>, err <const> = choline(world, { "run" })
    t.equal(code, 0)
    t.equal(out:match("^[^\n]*"), "run001")
    t.contains(err, "run run001 was interrupted; it goes on where it was")
    t.equal(#world.run_order, 1)
    t.equal(#world.instances, 1)
    t.equal(world.violations, {})
    t.equal((choline(world, { "run" })), 0)
    t.equal(#world.run_order, 2)
  end,

  ["run with other params does not go on with an interrupted run"] = function(t)
    local world <const> = world_in(t, simple)
    choline(world, { "run" }, { crash_at = 30 })
    local code <const>, _, err <const> = choline(world, { "run", "epochs=9" })
    t.equal(code, 8)
    t.contains(err, "was interrupted and has other params")
    t.equal((choline(world, { "run", "--new", "epochs=9" })), 0)
  end,

  ["resume goes on with the stored text and says that the file changed"] = function(t)
    local world <const> = world_in(t, simple)
    choline(world, { "run" }, { crash_at = 30 })
    local file <const> = assert(io.open(world.cwd .. "/Cholfile.lua", "w"))
    file:write("this is no Lua")
    file:close()
    local code <const>, _, err <const> = choline(world, { "resume", "run001" })
    t.equal(code, 0)
    t.contains(err, "Cholfile.lua changed since the run began; it goes on with what it began with")
  end,

  ["run --detach hands the run to another process"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, out <const> = choline(world, { "run", "--detach" })
    t.equal(code, 0)
    t.equal(out, "run001\n")
    t.equal(world.detached[1][2], "resume")
    t.equal(world.detached[1][3], "run001")
    world.runs.run001.owner = nil -- the other process is killed
    t.equal((choline(world, { "resume", "run001", "--plain" })), 0)
    t.equal(world.runs.run001.state, "done")
  end,

  ["pause lets the command end, stops paying, and resume goes on from the checkpoint"] = function(t)
    local world <const> = world_in(t, [[
local gpu = instance "gpu" {}
sync "checkpoints" { from = "gpu:/work/ckpt", to = "./ckpt", every = "5s" }
task "train" {
  on = gpu, run = "train", resume = { from = "checkpoints", run = "train {checkpoint}" },
}
]], { program = function(text) return { seconds = text == "train" and 1000 or 5, writes = {
      { at = 3, path = "/work/ckpt", name = "e1", step = 1 } } } end })
    world:after(40, function(boot) boot:request(1, "pause") end)
    local code <const>, _, err <const> = choline(world, { "run" })
    t.equal(code, 0)
    t.contains(err, "run run001 is paused and costs nothing; `choline resume run001` goes on")
    t.equal(world.replies[1].accepted, true)
    t.equal(world.runs.run001.state, "paused")
    t.equal(world:alive(), 0)
    t.equal((choline(world, { "resume" })), 0)
    t.equal(world.commands[2].text, "train /work/ckpt/e1")
    t.equal(world.runs.run001.state, "done")
    t.equal(world.violations, {})
  end,

  ["a task without resume is not paused, and the reason is said"] = function(t)
    local world <const> = world_in(t, simple, { program = function() return { seconds = 60 } end })
    world:after(40, function(boot) boot:request(1, "pause") end)
    t.equal((choline(world, { "run" })), 0)
    t.equal(world.replies[1].accepted, false)
    t.contains(world.replies[1].why, 'task "train" has no resume, so a pause would lose its work')
  end,

  ["a request to stop is answered with what is released"] = function(t)
    local world <const> = world_in(t, simple, { program = function() return { seconds = 600 } end })
    world:after(40, function(boot) boot:request(1, "stop") end)
    t.equal((choline(world, { "run" })), 130)
    t.equal(world.replies[1].releasing[1].name, "gpu")
    t.equal(world.runs.run001.state, "stopped")
    t.equal(world:alive(), 0)
  end,

  ["ls --json and instances --json have the promised fields"] = function(t)
    local world <const> = world_in(t, simple)
    choline(world, { "run" })
    local _ <const>, runs <const> = choline(world, { "ls", "--json" })
    local row <const> = json(runs)[1]
    t.equal({ row.id, row.state }, { "run001", "done" })
    t.equal(row.started, "2026-01-01T00:00:00Z")
    t.equal(type(row.ended), "string")
    t.equal(type(row.cost), "number")
    local _ <const>, instances <const> = choline(world, { "instances", "--all", "--json" })
    local instance <const> = json(instances)[1]
    t.equal({ instance.name, instance.run, instance.provider, instance.state, instance.price },
      { "gpu", "run001", "local", "gone", 0.1 })
    local _ <const>, none <const> = choline(world, { "instances", "--json" })
    t.equal(none, "[]\n")
  end,

  ["ls, status and instances are tables for people"] = function(t)
    local world <const> = world_in(t, simple)
    choline(world, { "run" })
    local _ <const>, out <const> = choline(world, { "ls" })
    t.contains(out, "ID      NAME")
    t.contains(out, "run001")
    local _ <const>, shown <const> = choline(world, { "status" })
    t.contains(shown, "run001  done")
    t.contains(shown, "train  done")
  end,

  ["status of a run that is not there ends with 3"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, _, err <const> = choline(world, { "status", "nope" })
    t.equal(code, 3)
    t.contains(err, "there is no run")
  end,

  ["plan says what would be rented and what it costs at most; --exit-code gives 10"] = function(t)
    local world <const> = world_in(t, simple .. 'budget "$2"\n')
    local code <const>, out <const> = choline(world, { "plan", "--exit-code" })
    t.equal(code, 10)
    t.contains(out, "instance gpu: $0.10/h from local")
    t.contains(out, "task train on gpu: train {epochs} (2 retries)")
    t.contains(out, "at most $2.00")
    t.equal(#world.instances, 0)
    local _ <const>, data <const> = choline(world, { "plan", "--json" })
    t.equal(json(data).instances[1].best.price, 0.1)
  end,

  ["the live view on a terminal ends with the last picture and a word"] = function(t)
    local world <const> = world_in(t, simple)
    world.terminal = { columns = 80, rows = 30 }
    local code <const>, out <const>, err <const> = choline(world, { "run" })
    t.equal(code, 0)
    t.contains(out, "\27[J")
    t.contains(out, "done")
    t.contains(err, "run run001 done after")
  end,

  ["offers are listed with prices, and none ends with 5"] = function(t)
    local world <const> = world_in(t, simple)
    local _ <const>, out <const> = choline(world, { "offers" })
    t.contains(out, "$0.10/h")
    t.equal((choline(world, { "offers", "--max-price", "$0.01/h" })), 5)
  end,

  ["exec on an instance that is not there says which are"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, _, err <const> = choline(world, { "exec", "gpu", "--", "ls" })
    t.equal(code, 3)
    t.contains(err, 'there is no live instance "gpu"')
  end,

  ["doctor says each thing with its state and ends with 1 when one fails"] = function(t)
    local world <const> = world_in(t, simple)
    local code <const>, out <const> = choline(world, { "doctor" })
    t.equal(code, 1)
    t.contains(out, "fail  agent")
    t.contains(out, "install choline again")
  end,
}
