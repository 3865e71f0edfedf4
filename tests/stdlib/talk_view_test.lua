-- What views say, word for word.

local lines <const> = require "talk.lines"
local plot <const> = require "talk.plot"
local progress <const> = require "talk.progress"
local style <const> = require("talk.style").new(false)
local columns <const> = require "talk.table"
local view <const> = require "talk.view"

local now <const> = 1767225600.0

local function scene()
  local points <const> = {}
  for index = 1, 20 do
    points[index] = { step = index, value = 1 / index, at = now, attempt = 1 }
  end
  return {
    now = now + 95,
    row = { id = "4k2f9a", name = "quickstart", state = "running", created = now, cost = 0.0026,
      budget = 1.0 },
    shown = {
      ["task/train"] = { state = "running", attempt = 2, instance = "trainer", since = now + 50,
        checkpoint = "epoch-3" },
      ["task/report"] = { state = "waiting", attempt = 3, since = now + 90, next_at = now + 105,
        failure = "exit 1 after 3s" },
      ["instance/trainer-1"] = { name = "trainer", tag = "t1", state = "ready", price = 0.1,
        provider = "local" },
      ["sync/code"] = { state = "done", files = 12, bytes = 63000 },
      ["sync/checkpoints"] = { state = "running", files = 3, files_total = 10, bytes = 1200000,
        bytes_total = 4000000, seconds = 4 },
    },
    instances = { { tag = "t1", name = "trainer", provider = "local", state = "live", price = 0.1,
      created = now + 1, cost = 0.0026 } },
    metrics = { { task = "train", name = "loss", points = points } },
    events = { { kind = "retrying", at = now + 90, data = { task = "report", attempt = 3, wait = 15,
      why = "retry 2 of 3" } } },
    log = { task = "train", attempt = 2, lines = { "epoch=20 loss=0.05" } },
  }
end

local wide <const> = [[
quickstart  4k2f9a  running  1m35s  $0.0026 of $1.00

tasks
  report  waiting  try 3       attempt 3 in 10s: exit 1 after 3s
  train   running  try 2  45s  on trainer, from epoch-3

instances
  trainer-1  ready  local  $0.10/h  1m34s  $0.0026

syncs
  checkpoints  ██████                3/10 files, 1.20 MB of 4.00 MB, 300 kB/s, 9.3s left
  code         done                  12 files, 63.0 kB

metrics
  train loss  0.05  █▄▃▂▂▂▂▂▁▁▁▁▁▁▁▁▁▁▁▁  0.05 … 1

log of train, attempt 2
  epoch=20 loss=0.05

events
  00:01:30  report: attempt 3 in 15s (retry 2 of 3)]]

return {
  ["the live view of a run"] = function(t)
    t.equal(table.concat(view.render(scene(), { columns = 100, rows = 50 }, style), "\n"), wide)
  end,

  ["no line of a view is wider than the terminal, however narrow"] = function(t)
    local native <const> = require "native"
    for _, count in ipairs { 20, 31, 40, 57, 80 } do
      for _, line in ipairs(view.render(scene(), { columns = count, rows = 50 }, style)) do
        t.is_true(native.text.width(line) <= count, ("%d columns: %s"):format(count, line))
      end
    end
  end,

  ["a picture leaves a line for the cursor, however low the terminal"] = function(t)
    for rows = 3, 30 do
      local low <const> = scene()
      low.notes = rows > 4 and { "stopping" } or nil
      local shown <const> = view.render(low, { columns = 40, rows = rows }, style)
      t.is_true(#shown < rows, ("%d rows: %d lines"):format(rows, #shown))
      t.contains(shown[1], "quickstart")
      if low.notes then t.equal(shown[#shown], "stopping") end
    end
  end,

  ["a low terminal keeps what costs and what needs attention"] = function(t)
    local many <const> = scene()
    for index = 1, 50 do
      many.shown[("task/t%02d"):format(index)] = { state = index == 30 and "failed" or "done" }
    end
    local text <const> = table.concat(view.render(many, { columns = 40, rows = 12 }, style), "\n")
    t.contains(text, "trainer-1  ready")
    t.contains(text, "t30     failed")
    t.contains(text, "train   running")
    t.contains(text, "48 done")
    local whole <const> = view.render(many, { columns = 40, rows = math.maxinteger }, style)
    t.contains(table.concat(whole, "\n"), "t50")
  end,

  ["a picture whose lines broke on a narrower terminal is drawn over whole"] = function(t)
    local native <const> = require "native"
    local written, write <const> = "", native.sys.write
    native.sys.write = function(_, text) written = text end
    local screen <const> = view.screen(1)
    screen:draw({ ("x"):rep(50), "y" }, 80)
    screen:draw({ "z" }, 20)
    native.sys.write = write
    t.contains(written, "\27[4A")
  end,

  ["colours do not change the width of a view"] = function(t)
    local plain <const> = view.render(scene(), { columns = 90, rows = 50 }, style)
    local painted <const> = view.render(scene(), { columns = 90, rows = 50 },
      require("talk.style").new(true))
    for index, line in ipairs(painted) do t.equal((line:gsub("\27%[[%d;]*m", "")), plain[index]) end
  end,

  ["a sparkline keeps the shape of many values"] = function(t)
    t.equal(plot.sparkline({ 1, 2, 3, 4, 5, 6, 7, 8 }, 8), "▁▂▃▄▅▆▇█")
    t.equal(plot.sparkline({ 1, 1, 3, 3 }, 2), "▁█")
    t.equal(plot.sparkline({}, 5), "")
    t.equal(plot.sparkline({ 5, 5 }, 5), "▄▄")
    t.equal(plot.sparkline({ 0 / 0, 1, 2 }, 5), "▁█")
  end,

  ["a plot has its scale at the left"] = function(t)
    t.equal(plot.plot({ 0, 1, 2, 3 }, 20, 2), { "3 ┤  ▃█", "0 ┤▁▆██" })
  end,

  ["a bar is as wide as it is told"] = function(t)
    t.equal(progress.bar(0, 4), "    ")
    t.equal(progress.bar(0.5, 4), "██  ")
    t.equal(progress.bar(1, 4), "████")
    t.equal(progress.bar(0.3, 4), "█▏  ")
  end,

  ["a table is cut to the terminal and keeps its columns"] = function(t)
    t.equal(columns.lines({ { title = "NAME" }, { title = "N", right = true }, { title = "WHAT" } },
      { { "a", "5", "x" }, { "long", "10", "some more words" } }, { columns = 20 }),
      { "NAME   N  WHAT", "a      5  x", "long  10  some more…" })
  end,

  ["events read as sentences"] = function(t)
    local function text(kind, data) return lines.text { kind = kind, data = data, at = now } end
    t.equal(text("instance_released", { label = "gpu-1", lived = 125, cost = 0.0035 }),
      "gpu-1: released after 2m05s, cost $0.0035")
    t.equal(text("retrying", { task = "train", attempt = 2, wait = 30, why = "retry 1 of 3" }),
      "train: attempt 2 in 30s (retry 1 of 3)")
    t.equal(text("crashed", { task = "train", attempt = 1,
      message = 'task "train" ended with exit 1 after 4s' }),
      'train: crashed (attempt 1): task "train" ended with exit 1 after 4s')
    t.equal(text("run_started", { seed = 7, params = { lr = 0.1, epochs = 3 },
      git = { commit = "0123456789abcdef", dirty = true } }),
      "run started: seed 7, epochs=3 lr=0.1, git 0123456789 with changes")
    t.equal(text("log", { level = "warn", message = "hm" }), "warn: hm")
  end,

  ["what schedules did reads as sentences, in absolute time with its zone"] = function(t)
    local function text(kind, data)
      data.schedule, data.at, data.zone = "nights", now, "Europe/Berlin"
      return lines.text { kind = kind, data = data, at = now }
    end
    local when <const> = "Thu 2026-01-01 01:00:00 CET (Europe/Berlin)"
    t.equal(text("schedule_set", { action = "resume", tasks = { "train", "eval" } }),
      "schedule nights: train, eval goes on " .. when)
    t.equal(text("schedule_fired", { action = "start", late = 7200, missed = 3 }),
      "schedule nights: the run starts now, 2h00m late for " .. when
        .. ", and 3 before it are left out")
    t.equal(text("schedule_missed", { action = "pause", why = "resume", late = 60, missed = 0 }),
      "schedule nights: the pause of " .. when
        .. " is left out, because a resume came after it")
    t.equal(text("schedule_missed", { action = "start", why = "late", late = 3600, missed = 1 }),
      "schedule nights: the start of " .. when .. " is left out, because it is 1h00m late, and 1 "
      .. "before it is left out")
  end,

  ["every event of the catalogue that has no message has a sentence"] = function(t)
    local data <const> = { task = "t", attempt = 1, instance = "i", label = "i-1", message = "m",
      why = "w", seconds = 1, lived = 1, cost = 1, price = 1, files = 1, bytes = 1, sync = "s",
      checkpoint = "c", wait = 1, code = 0,
      event = "e", level = "info", after = "a", provider = "p", offer = "o", reason = "r",
      schedule = "s", action = "start", at = now, zone = "UTC", run = "r", state = "done" }
    for _, kind in ipairs(require("flow.events").catalogue) do
      local said <const> = lines.text { kind = kind.name, data = data, at = now }
      t.is_true(said ~= kind.name, kind.name)
    end
  end,
}
