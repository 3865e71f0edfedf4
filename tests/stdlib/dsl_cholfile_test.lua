-- What a cholfile becomes, and the problems it may have: one sentence for each rule.

local cholfile <const> = require "dsl.cholfile"
local problem <const> = require "dsl.problem"

local function load(t, text, options)
  options = options or {}
  local files <const> = options.files or {}
  files["Cholfile.lua"] = text
  options.path = t.folder(files) .. "/Cholfile.lua"
  return cholfile.load(options)
end

local function given(values)
  local params <const> = {}
  for name, value in pairs(values) do
    params[name] = { value = value, text = true, from = "the command line" }
  end
  return params
end

--- The problems of a text, as "line:column: message".
local function problems(t, text, options)
  local found <const> = {}
  for index, each in ipairs(load(t, text, options).problems) do
    found[index] =
      ("%s%s: %s"):format(each.line or "-", each.column and ":" .. each.column or "", each.message)
  end
  return found
end

local box <const> = 'local box = instance "box" {}\n'
local train <const> = 'task "train" { on = box, run = "true" }\n'

return {
  ["a right cholfile becomes a program of typed values"] = function(t)
    local program <const> = load(t, box .. [[
sync "code" { from = ".", to = "box:/work" }
sync "out" { from = "box:/work/out", to = "./out", every = "2m" }
task "a" { on = box, run = { "python", "a.py", 3 }, timeout = "2h30m" }
task "b" { on = "box", after = "a", run = "python b.py",
  resume = { from = "out", run = "b {checkpoint}" },
  retry = retry { max = 2, on = "crashed", wait = { "30s", up_to = "10m" } },
  failover = { deadline "36h", failover { choose = fastest } } }
budget "$40"
]])
    t.equal(program.problems, {})
    local a <const>, b <const> = program.tasks[1].fields, program.tasks[2].fields
    t.equal(a.run, { list = { "python", "a.py", "3" } })
    t.equal(a.timeout, 9000.0)
    t.equal(a.dir, "/work")
    t.equal(b.after, { "a" })
    t.equal(b.on, "box")
    t.equal(b.retry, { kind = "retry", max = 2, on = { "crashed" },
      wait = { first = 30.0, up_to = 600.0, factor = 2, jitter = 0 } })
    t.equal(b.failover, { { kind = "deadline", seconds = 129600.0 },
      { kind = "failover", on = { "preempted", "lost" }, choose = "fastest", max = 10 } })
    t.equal(program.syncs[2].fields.every, 120.0)
    t.equal(program.syncs[2].fields.checkpoints, true)
    t.equal(program.syncs[1].fields.direction, "push")
    t.equal(program.instances[1].fields.from,
      { { provider = "local", settings = { price = 0.0 } } })
    t.equal(program.budget, 40.0)
    t.equal(program.tasks[1].where, { file = "Cholfile.lua", line = 4 })
  end,
  ["a problem is rendered with its line and a caret"] = function(t)
    local program <const> =
      load(t, 'local gpu = instance "gpu" {\n  gpuu = "RTX 4090",\n}\ntask "t" { on = gpu, run = "x" }\n')
    t.equal(problem.render_all(program),
      'Cholfile.lua:2:3: unknown field "gpuu" of instance "gpu"; did you mean "gpu"?\n'
      .. '    2 |   gpuu = "RTX 4090",\n      |   ^~~~')
  end,
  ["a caret stands under its text after a tab and after letters of more bytes"] = function(t)
    local program <const> = load(t, box .. '\ttask "t" { on = box, run = "ä", rnu = 1 }\n')
    local lines <const> = {}
    for line in problem.render_all(program):gmatch("[^\n]+") do lines[#lines + 1] = line end
    t.equal(lines[3]:find("^", 1, true) ~= nil, true)
    t.equal(utf8.len(lines[2]:sub(1, lines[2]:find("rnu", 1, true) - 1)),
      utf8.len(lines[3]:sub(1, lines[3]:find("^", 1, true) - 1)))
  end,
  ["colours are there only when they are asked for"] = function(t)
    local program <const> = load(t, "x()")
    t.not_contains(problem.render_all(program), "\27")
    t.contains(problem.render_all(program, { color = true }), "\27[")
  end,
  ["an unknown word is told once, and reading goes on"] = function(t)
    t.equal(problems(t, box .. 'taks "train" { on = box }\ntask "x" { on = box, rnu = 1 }\n'), {
      '2:1: unknown name "taks"; did you mean "task"?',
      '3:1: task "x" needs "run", such as run = "python train.py --epochs {epochs}"',
      '3:22: unknown field "rnu" of task "x"; did you mean "run"?',
    })
  end,
  ["a word of another world is answered with ours"] = function(t)
    t.equal(problems(t, box .. train .. 'print("x")'),
      { '3:1: unknown name "print"; did you mean "log.info"?' })
  end,
  ["an unknown unit has the value under its caret"] = function(t)
    t.equal(problems(t,
      'instance "box" { disk = "80 GBs" }\n' .. 'task "t" { on = "box", run = "x" }'), {
      '1:25: field "disk" of instance "box": unknown unit "GBs" in the size "80 GBs"; did you mean "GB"?' })
  end,
  ["a reference to nothing is answered with the nearest"] = function(t)
    t.equal(problems(t,
      box .. 'task "a" { on = "bxo", run = "x" }\ntask "b" { on = box, after = { "aa" }, run = "x" }'), {
      '2:17: field "on" of task "a": no instance is called "bxo"; did you mean "box"?',
      '3:32: field "after[1]" of task "b": no task is called "aa"; did you mean "a"?' })
  end,
  ["a wrong kind of reference says what it is"] = function(t)
    t.equal(problems(t,
      box .. 'local s = sync "s" { from = ".", to = "box:/w" }\ntask "a" { on = s, run = "x" }'), {
      '3:17: field "on" of task "a": expected an instance or its name, got the sync "s"' })
  end,
  ["a name that is declared twice points to the first"] = function(t)
    t.equal(problems(t, box .. train .. train), {
      '3:6: task "train" is declared twice; the first is at Cholfile.lua:2' })
  end,
  ["a cycle among tasks is shown as one"] = function(t)
    local found <const> = problems(t, box .. [[
task "a" { on = box, run = "x", after = "c" }
task "b" { on = box, run = "x", after = "a" }
task "c" { on = box, run = "x", after = "b" }]])
    t.equal(#found, 1)
    t.contains(found[1], "cycle: a -> c -> b -> a")
  end,
  ["a task after itself is a cycle, too"] = function(t)
    t.equal(problems(t, box .. 'task "a" { on = box, run = "x", after = "a" }'),
      { '2:41: task "a" cannot come after itself' })
  end,
  ["a sync needs a side on an instance, and two different places"] = function(t)
    local found <const> = problems(t, box .. 'instance "two" {}\n' .. train .. [[
sync "a" { from = ".", to = "./b" }
sync "b" { from = "box:/a", to = "two:/a" }
sync "c" { from = "box:/a", to = "box:/b" }]])
    t.equal(#found, 2)
    t.contains(found[1], "leads from here to here")
    t.contains(found[2], 'both sides on the instance "box"')
  end,
  ["a two-way sync deletes by itself, and holds no checkpoints"] = function(t)
    local found <const> = problems(t, box .. [[
sync "a" { from = ".", to = "box:/a", two_way = true, delete = true }
sync "b" { from = "box:/b", to = "./b", two_way = true, keep = 2 }
sync "c" { from = "box:/c", to = "./c", two_way = true }
task "t" { on = box, run = "x", resume = { from = "c", run = "y" } }]])
    t.equal(#found, 3)
    t.contains(found[1], 'two_way has no "delete"')
    t.contains(found[2], 'two_way has no "keep"')
    t.contains(found[3], "checkpoints go one way")
  end,
  ["a direct sync leads from one instance to another, and one way"] = function(t)
    local found <const> = problems(t, box .. 'instance "two" {}\n' .. [[
sync "a" { from = ".", to = "box:/a", direct = true }
sync "b" { from = "box:/b", to = "two:/b", two_way = true, direct = true }
sync "c" { from = "box:/c", to = "two:/c", direct = true }
task "t" { on = box, run = "x" }
task "u" { on = "two", run = "x" }]])
    t.equal(#found, 2)
    t.contains(found[1], '"direct" is for two instances')
    t.contains(found[2], 'two_way has no "direct"')
  end,
  ["a name in braces that nothing gives is refused"] = function(t)
    t.equal(problems(t, 'param "epochs" { default = 3 }\n' .. box
      .. 'task "a" { on = box, run = "train --epochs {epoch}" }'), {
      '3:28: field "run" of task "a": nothing gives {epoch}; did you mean "epochs"?' })
    t.equal(problems(t,
      box .. [[task "a" { on = box, run = "echo ${HOME} {{print}} {run} {attempt}" }]]), {})
    t.contains(problems(t, box .. 'task "a" { on = box, run = "x {checkpoint}" }')[1],
      "in resume.run only")
  end,
  ["a secret that is not declared is refused"] = function(t)
    t.equal(problems(t,
      'secret "API_KEY"\n' .. box
      .. 'task "a" { on = box, run = "x", env = { K = secret.API_KYE } }'), {
      '3:52: no secret is declared with the name "API_KYE"; did you mean "API_KEY"?' })
  end,
  ["a secret is a reference and cannot be put into a text"] = function(t)
    local program <const> =
      load(t, 'secret "K" { optional = true }\n' .. box
      .. 'task "a" { on = box, run = "x", env = { K = secret.K } }')
    t.equal(program.tasks[1].fields.env, { K = { secret = "K", optional = true } })
    t.contains(problems(t, 'secret "K"\n' .. box .. train .. 'local x = "a" .. secret.K')[1],
      "is a reference, not a text")
  end,
  ["waiting at the top level is refused, and reading goes on"] = function(t)
    local found <const> =
      problems(t,
      box .. train
      .. 'local taken = box:acquire()\ntaken:run "x"\nsleep "3s"\nparallel { a = { 1 } } (print)')
    t.equal(#found, 4)
    t.contains(found[1], "3:19: box:acquire waits, and the top level of a cholfile may not wait")
    t.contains(found[2], "sleep waits")
  end,
  ["a word of a later version is known and refused"] = function(t)
    t.equal(problems(t, 'local gpu = instance "gpu" { from = { runpod {} } }\n'
      .. 'task "train" { on = gpu, run = "true", stop = when(idle_gpu {}) }\n'
      .. 'alert "me" { on = { "failed" } }'), {
      '1:39: instances from the provider "runpod" are not in this version yet',
      '2:52: "idle_gpu" is not in this version yet',
      '3:1: "alert" is not in this version yet' })
  end,
  ["an unknown event is answered with the nearest"] = function(t)
    t.equal(problems(t, box .. train .. 'on("preemptd", function() end)'), {
      '3:4: unknown event "preemptd"; did you mean "preempted"?' })
  end,
  ["of a declaration whose table could not be made nothing more is said"] = function(t)
    t.equal(#problems(t, [[
secret "KEY" {}
local box = instance "box" {}
task "t" { on = box, run = "echo " .. secret.KEY }]]), 1)
  end,

  ["handlers, pipelines and messages are kept in order"] = function(t)
    local program <const> = load(t, [[
on("lost", function() end)
on "crashed" (function() end)
pipeline "one" (function() end)
pipeline("two", function() end)
log.info("epochs %d", 3)]])
    t.equal(program.problems, {})
    t.equal({ program.handlers[1].event, program.handlers[2].event }, { "lost", "crashed" })
    t.equal({ program.pipelines[1].name, program.pipelines[2].name }, { "one", "two" })
    t.equal(program.messages[1].text, "epochs 3")
  end,
  ["a metric without a capture is refused"] = function(t)
    t.contains(problems(t,
      box .. 'task "a" { on = box, run = "x", metrics = { loss = "loss=%S+" } }')[1],
      "captures nothing")
    t.contains(problems(t,
      box .. 'task "a" { on = box, run = "x", metrics = { loss = "loss=(%S+" } }')[1], "malformed")
  end,
  ["a syntax error has its place and a caret"] = function(t)
    local program <const> = load(t, "local x = = 3\n")
    t.equal(problem.render_all(program),
      "Cholfile.lua:1:9: syntax error: unexpected symbol near '='\n"
      .. "    1 | local x = = 3\n      |         ^")
  end,
  ["an error while reading is a problem beside the others"] = function(t)
    t.equal(problems(t,
      box .. 'task "a" { on = box, rnu = "x", run = "y" }\nlocal t = nil\nt.x = 1\n'), {
      '2:22: unknown field "rnu" of task "a"; did you mean "run"?',
      "4: attempt to index a nil value (local 't')" })
  end,
  ["assigning a global is refused"] = function(t)
    t.equal(problems(t, box .. train .. "epochs = 3\nlocal x = epochs\n"), {
      '3:1: "epochs" is not declared; write local epochs = …' })
  end,
  ["a file with nothing to do says so"] = function(t)
    t.contains(problems(t, box)[1], "nothing to do: declare a task or a pipeline")
  end,
  ["a missing file says what to do"] = function(t)
    local raised <const> = t.raises(function() cholfile.load { path = "/nowhere/Nothing.lua" } end)
    t.equal(raised.kind, "not_found")
    t.equal(raised.message, 'there is no file "/nowhere/Nothing.lua"')
  end,
  ["the fields of a name without a table are its defaults"] = function(t)
    local program <const> =
      load(t, 'secret "K"\ninstance "box"\ntask "t" { on = "box", run = "x" }')
    t.equal(program.problems, {})
    t.equal(program.instances[1].fields.spot, false)
  end,
  ["a table that is computed is checked, with the caret at its word"] = function(t)
    t.equal(problems(t,
      box .. 'local fields = { on = box, rnu = "x", run = "y" }\ntask "a" (fields)\n'), {
      '3:1: unknown field "rnu" of task "a"; did you mean "run"?' })
  end,
  ["a stored program needs no disk"] = function(t)
    local program <const> = cholfile.load { path = "/gone/Cholfile.lua", stored = {
      { path = "Cholfile.lua",
        text = 'local m = require "m"\n' .. box .. 'task "t" { on = box, run = m.run }' },
      { path = "m.lua", text = 'return { run = "echo " .. read_file("x.txt") }' },
        { path = "x.txt", text = "hello" } } }
    t.equal(program.problems, {})
    t.equal(program.tasks[1].fields.run, { shell = "echo hello" })
    t.equal(program.folder, "/gone")
  end,
  ["declaring after the top level has ended is refused"] = function(t)
    local program <const> = load(t, 'pipeline "p" (function() task "late" {} end)')
    t.contains(t.raises(program.pipelines[1].body).message, "at the top level")
  end,
  ["a name that a function gets wrong is told before it runs"] = function(t)
    t.equal(problems(t, 'pipeline "p" (function()\n  local x = lgo\n  y = x\nend)'), {
      '2:13: unknown name "lgo"; did you mean "log"?',
      '3:3: "y" is not declared; write local y = …' })
  end,
  ["a name that a function gets wrong is told when it runs, too"] = function(t)
    local program <const> =
      load(t, 'pipeline "p" (function() return load("return epoch", "x", "t", _ENV)() end)')
    t.contains(t.raises(program.pipelines[1].body).message, 'unknown name "epoch"')
  end,
  ["locals, parameters, fields, keys, labels and loops are no unknown names"] = function(t)
    t.equal(problems(t, [==[
local a <const>, b = 1, 2
local function f(p, ...) return p + a, ... end
local M = { key = 1, ["k"] = b, inner = function(self, q) local key = q; key = 2; return self end }
function M.other(x) return x.anything.at_all end
function M:method(x) self.count = x; return f(x) end
pipeline "p" (function(point)
  for i = 1, 3 do log.info("%d", i) end
  for key, value in pairs(M) do log.info(key, value) end
  repeat local done = true until done
  while a do break end
  if a then local u = 1; log.info(u) elseif b then goto out else local w = 2; log.info(w) end
  ::out::
  local late
  local g = function() return late, point, string.format, [[lgo]] end -- lgo
  return { lr = g, f { x = 1 }, M:method(3) }
end)]==]), {})
  end,
  ["words that act call the engine"] = function(t)
    local program <const> = load(t, box .. [[
pipeline "p" (function()
  log.warn("at %d", 3)
  sleep "2m"
  local got = box:acquire { disk = "1 GB" }
  return parallel { a = { 1, 2 } } (function() return got end)
end)]])
    local calls <const> = {}
    program.engine = {
      log = function(level, text) calls[#calls + 1] = { level, text } end,
      sleep = function(seconds) calls[#calls + 1] = seconds end,
      acquire = function(name, overrides) calls[#calls + 1] = { name, overrides } return "live" end,
      parallel = function(axes, fn) calls[#calls + 1] = axes return fn() end,
    }
    t.equal(program.pipelines[1].body(), "live")
    t.equal(calls,
      { { "warn", "at 3" }, 120.0, { "box", { disk = 1000000000 } }, { a = { 1, 2 } } })
  end,
  ["acquire refuses what an instance has not"] = function(t)
    local program <const> =
      load(t, box .. 'pipeline "p" (function() box:acquire { dsk = "1 GB" } end)')
    program.engine = { acquire = function() end }
    t.contains(t.raises(program.pipelines[1].body).message,
      'unknown field "dsk" of box:acquire; did you mean "disk"?')
  end,
  ["a policy may not wait"] = function(t)
    local call <const> = require "policy.call"
    local program <const> =
      load(t, box .. 'task "t" { on = box, run = "x", retry = function() box:acquire() end }')
    program.engine = { acquire = function() return "live" end }
    t.contains(t.raises(function() call.policy(program.tasks[1].fields.retry, {}, {}) end).message,
      "box:acquire")
  end,
  ["best gives the result with the highest or the lowest value"] = function(t)
    local program <const> =
      load(t, 'pipeline "p" (function(rs) return best(rs), tostring(best(rs, "min")) end)')
    local top <const>,
    lowest <const> = program.pipelines[1].body { { point = { lr = 1 }, value = 2 },
      { point = { lr = 3 }, value = 1 } }
    t.equal(top.value, 2)
    t.equal(lowest, "lr=3")
  end,
  ["params are typed, from defaults, the command line and files"] = function(t)
    local text <const> = [[
param "epochs" { default = 3 }
param "lr" { default = 0.1 }
param "limit" { default = "2h", type = "duration" }
param "deep" { default = false }
param "kind" { default = "adam", choices = { "adam", "sgd" } }
]] .. box .. 'task "t" { on = box, run = "x", timeout = param.limit }'
    local program <const> =
      load(t, text,
      { params = given { epochs = "7", lr = "1", limit = "90m", deep = "true", kind = "sgd" } })
    t.equal(program.problems, {})
    t.equal(program.values, { epochs = 7, lr = 1.0, limit = "90m", deep = true, kind = "sgd" })
    t.equal(program.tasks[1].fields.timeout, 5400.0)
  end,
  ["a param of a wrong type, an unknown one and a missing one are told at once"] = function(t)
    local text <const> =
      'param "epochs" { default = 3 }\nparam "data" { type = "string" }\n'
      .. 'param "k" { default = "a", choices = { "a", "b" } }\n'
      .. box .. train
    t.equal(problems(t, text, { params = given { epochs = "many", epoch = "3", k = "c" } }), {
      '-: unknown param "epoch" from the command line; did you mean "epochs"?',
      '1:7: param "epochs" from the command line: expected an integer, got "many"',
      '2:7: param "data" has no default and was not given; add data=VALUE',
      '3:7: param "k" from the command line: expected "a" or "b", got "c"' })
    t.equal(problems(t, text, { lenient = true }), {})
  end,
  ["a thousand lines are read without a problem"] = function(t)
    local lines <const> = { box }
    for index = 1, 200 do
      lines[#lines + 1] =
        ('sync "s%d" { from = "./in/%d", to = "box:/in/%d" }\n'
          .. 'task "t%d" {\n  on = box,\n  run = "python x.py --n %d {s%d}",\n}')
        :format(index, index, index, index, index, index)
    end
    local program <const> = load(t, table.concat(lines, "\n"))
    t.equal(program.problems, {})
    t.equal(#program.tasks, 200)
  end,
}
