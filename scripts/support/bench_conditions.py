"""Measures what conditions cost the process that owns a run: `bench_conditions.py BUILD [--dry]`.

The looks of flow/conditions.lua, in choline itself: 1,000 tasks, each with a sample and a look a
second and ten conditions. What was heard comes as JSON, as from the followers of commands; only the
store is left out. Time is virtual, and the figure is processor time.
"""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import page

TASKS, SECONDS = 1000, 120
# In the place of the stdlib's main program.
LOOKS = """
local native, argv = ...
local tasks <const>, seconds <const> = tonumber(argv[1]), tonumber(argv[2])
local conditions <const> = require "flow.conditions"

local function on(kind, fields)
  fields.kind, fields.metric = kind, "loss"
  return fields
end
-- Ten that never hold: each is looked at whenever a value comes, and once a second.
local function ten()
  return { kind = "any", of = { on("drops_below", { value = 0 }),
    on("rises_above", { value = 100 }), on("not_finite", {}), on("plateau", { over = 1000000 }),
    on("diverges", { over = 5, lost = 0.5 }), on("stalled", { seconds = 3600 }),
    { kind = "stalled", seconds = 3600 }, { kind = "spent", amount = 9 },
    { kind = "lasts", seconds = 90000 },
    { kind = "for_", seconds = 3600, what = on("drops_below", { value = 0 }) } } }
end

local wall, step, passed, shown = 1e9, 0, 0, 0
native.clock.wall = function() return wall end
native.clock.now = native.clock.wall
native.run.cost = function() return 1.5 end
native.run.show = function(_, value) shown = shown + #native.json.encode(value) end
native.wait.pass = function() passed = passed + 1 end
native.store.metrics = function() return {} end
native.task.spawn = function() end
native.run.heard = function()
  local parts <const> = {}
  for number = 1, tasks do
    parts[number] = ('{"key":"t%d","linked":true,"bytes":%d,"points":[["loss",%d,%.6f,%.3f]]}')
      :format(number, step * 30, step, 1 + 1 / step, wall)
  end
  local text <const> = "[" .. table.concat(parts, ",") .. "]"
  local before <const> = native.bench_clock()
  local told <const> = native.json.decode(text)
  return told, before
end

local function processor()
  local fields <const> = native.fs.read("/proc/self/schedstat")
  return tonumber(fields:match("^%d+")) / 1e9
end
local making = 0
local heard <const> = native.run.heard
native.bench_clock = processor
native.run.heard = function()
  local began <const> = processor()
  local told <const>, made <const> = heard()
  making = making + made - began -- of the text, which is this benchmark's own
  return told
end

local watched <const> = conditions.new { run = "r" }
for number = 1, tasks do
  watched:follow({ number = 1, began = wall, declaration = { name = "t" .. number,
    fields = { stop = ten(), metrics = { loss = { pattern = "x" } } } } }, "t" .. number)
end
local began = 0
for second = 1, seconds do
  if second == 11 then began, making = processor(), 0 end
  wall, step = wall + 1, step + 1
  watched:look(1)
  native.wait.sleep(0)
end
native.sys.write(1, native.json.encode { seconds = processor() - began - making,
  looks = seconds - 10, passed = passed, shown = shown } .. "\\n")
return 0
"""


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="choline-conditions-") as folder:
        stdlib = pathlib.Path(folder) / "stdlib"
        shutil.copytree(ROOT / "stdlib", stdlib)
        (stdlib / "main.lua").write_text(LOOKS)
        done = subprocess.run(
            [build / "choline", str(TASKS), str(SECONDS)], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, text=True,
            env={"PATH": os.environ["PATH"], "HOME": folder, "CHOLINE_STDLIB": str(stdlib)})
    found = json.loads(done.stdout)
    if found["passed"] or not found["shown"]:
        raise RuntimeError(f"the conditions did not do what they should: {found}")
    each = found["seconds"] / found["looks"]
    row = (f"| {TASKS:,} tasks, a sample a second and ten conditions each | {each * 100:.1f} % of "
           f"a core | 5 % | {each / TASKS / 10 * 1e9:.0f} ns for a condition and a sample |")
    print(row)
    if "--dry" not in sys.argv:
        page.write_section("Conditions", "\n".join([
            "`scripts/bench conditions`, on " + page.computer() + ".", "",
            "| what | measured | at most | |", "|---|---|---|---|", row]))


if __name__ == "__main__":
    main()
