-- Conditions as a cholfile says them, and what it is told when it says them wrongly.

local cholfile <const> = require "dsl.cholfile"
local condition <const> = require "policy.condition"

local function load(t, fields)
  local file <const> = t.folder { ["Cholfile.lua"] = 'local box = instance "box" {}\n'
    .. 'task "train" { on = box, run = "x", metrics = { loss = "l=(%S+)", acc = "a=(%S+)" },\n'
    .. fields .. " }" } .. "/Cholfile.lua"
  return cholfile.load { path = file }
end

local function problems(t, fields)
  local out <const> = {}
  for index, problem in ipairs(load(t, fields).problems) do
    out[index] = ("%d:%d: %s"):format(problem.line or 0, problem.column or 0, problem.message)
  end
  return out
end

local function said(t, text)
  local program <const> = load(t, "stop = when(" .. text .. ")")
  t.equal(#program.problems, 0, program.problems[1] and program.problems[1].message)
  return program.tasks[1].fields.stop
end

return {
  ["each condition is read, and said again as it was written"] = function(t)
    for _, text in ipairs { 'metric "acc":reaches(0.92)', 'metric "loss":rises_above(10)',
      'metric "loss":drops_below(0.1)', 'metric "acc":plateau { over = 50 }',
      'metric "acc":plateau { over = 50, by = 0.001, from = 1000 }',
      'metric "loss":diverges { over = 5, lost = 0.5 }', 'metric "loss":not_finite()',
      'metric "loss":stalled "20m"', 'stalled "20m"', 'spent "$20.00"', 'lasts "8h"',
      'metric "loss":eta_after { step = 90, time = "tomorrow 08:00" }',
      'all { metric "acc":reaches(0.9), lasts "1h" }',
      'any { metric "loss":not_finite(), stalled "20m" }',
      'for_("10m", metric "acc":drops_below(0.2))' } do
      t.equal(condition.text(said(t, text)), text)
    end
  end,
  ["defaults are filled in, and for_ may be written in two parts"] = function(t)
    t.equal(said(t, 'metric "acc":plateau()').over, 10)
    local fields <const> = said(t, 'metric "loss":diverges {}')
    t.equal({ fields.over, fields.lost }, { 5, 0.5 })
    t.equal(condition.text(said(t, 'for_ "5m" (stalled "1m")')), 'for_("5m", stalled "1m")')
  end,
  ["a metric that the task does not have is answered with the nearest"] = function(t)
    t.equal(problems(t, 'stop = when(metric "los":drops_below(1))'), {
      '3:8: field "stop" of task "train": the task has no metric "los"; did you mean "loss"?' })
    t.equal(problems(t, 'fail = when(any { stalled "1m", metric "zzz":not_finite() })'), {
      '3:8: field "fail" of task "train": the task has no metric "zzz"; known: acc and loss' })
  end,
  ["a loss does not reach: it would hold at once"] = function(t)
    t.equal(problems(t, 'stop = when(metric "loss":reaches(0.1))'), {
      '3:8: field "stop" of task "train": less is better for metric "loss", and reaches(0.1) holds '
      .. "from there upwards; write drops_below(0.1) for small enough, or rises_above(0.1) for too "
      .. "large" })
  end,
  ["what is no condition is refused in words"] = function(t)
    t.equal(problems(t, 'stop = metric "loss":drops_below(1)'), {
      '3:8: field "stop" of task "train": expected when(…) around the condition; write '
      .. 'when(metric "loss":drops_below(1))' })
    t.contains(problems(t, "stop = when(stalled)")[1],
      'got a function; call it, as in stalled "20m"')
    t.contains(problems(t, 'stop = when(metric "loss")')[1], "got a metric; ask it, as in")
    t.contains(problems(t, 'stop = when(any(stalled "1m"))')[1], "got one condition")
    t.contains(problems(t, 'stop = when(any {})')[1], "expected a list of conditions")
    t.contains(problems(t, "stop = 5")[1], "expected when(…) with a condition")
    t.contains(problems(t, 'stop = when(when(stalled "1m"))')[1], "when(…) goes around all of it")
  end,
  ["a method, a field or a value that is wrong is told where it is"] = function(t)
    t.equal(problems(t, 'stop = when(metric "acc":platau { over = 5 })'), {
      '3:26: metric "acc" has no "platau"; did you mean "plateau"?' })
    t.equal(problems(t, 'stop = when(metric "acc":plateau { ovr = 5 })'), {
      '3:26: plateau: unknown field "ovr" of plateau; did you mean "over"?' })
    t.equal(problems(t, 'stop = when(metric "acc":plateau { over = 0 })'), {
      "3:26: plateau: over: expected at least 1, got 0" })
    t.contains(problems(t, 'stop = when(stalled "20")')[1], "has no unit")
    t.contains(problems(t, 'stop = when(spent "20")')[1], "spent: expected")
    t.contains(problems(t, 'stop = when(metric "acc".reaches(1))')[1],
      "write a colon before reaches")
    t.contains(problems(t, 'stop = when(metric "acc":reaches())')[1], "reaches needs a value")
    t.contains(problems(t, 'stop = when(metric "loss":not_finite(3))')[1], "takes nothing")
    t.contains(problems(t, 'stop = when(metric "acc":eta_after { step = 1, '
      .. 'time = cron "@daily" })')[1], "expected one moment")
    t.contains(problems(t, 'stop = when(metric "acc":eta_after { time = in_ "1h" })')[1],
      'eta_after needs "step"')
  end,
  ["a task whose run is a function has no command to be ended"] = function(t)
    local file <const> = t.folder { ["Cholfile.lua"] = 'instance "box" {}\n'
      .. 'task "t" { on = "box", run = function() end, stop = when(lasts "1h") }' }
    local program <const> = cholfile.load { path = file .. "/Cholfile.lua" }
    t.equal(program.problems[1].message, 'field "stop" of task "t": a task whose run is a function '
      .. "has no command that a condition could end")
  end,
}
