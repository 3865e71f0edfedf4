"""What costs money is known, ends when it should, and only then."""

import json
import signal

from harness import CHOLINE, Case

KEPT = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "once" { on = box, run = "echo hello", finally = "keep" }
"""
STUBBORN = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "long" { on = box, run = "trap '' TERM; echo begun; while true; do sleep 0.1; done",
  grace = "60s" }
"""
SAVES = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
sync "out" { from = "box:/work/out", to = "./out" }
task "long" { on = box, dir = "/", run = [[
  mkdir -p work/out
  trap 'echo saved > work/out/checkpoint; exit 0' TERM
  echo begun
  while true; do sleep 0.1; done
]] }
"""
STATES = {"running", "waiting", "paused", "done", "failed", "stopped"}


class Kept(Case):
    def setUp(self):
        super().setUp()
        self.cholfile(KEPT)
        self.addCleanup(lambda: self.choline("gc", "--kept", "--yes", code=None))
        self.choline("run")

    def test_a_kept_instance_is_listed_with_its_price(self):
        [instance] = self.instances()
        self.assertEqual((instance["kept"], instance["price"], instance["state"]),
                         (True, 0.5, "live"))
        self.assert_says(self.choline("instances").out, "kept", "$0.50/h")

    def test_gc_leaves_it_alone_and_says_what_ends_it(self):
        result = self.choline("gc", "--yes")
        self.assert_says(result.err, "kept", "$0.50/h", "gc --kept")
        self.assertEqual(len(self.instances()), 1)
        self.assertEqual(len(self.choline("gc", "--dry-run", "--json").json["kept"]), 1)

    def test_gc_kept_ends_it(self):
        self.choline("gc", "--kept", "--yes")
        self.assert_nothing_lives()

    def test_stop_ends_it_and_the_run_is_still_done(self):
        self.choline("stop", "--yes")
        self.assert_nothing_lives()
        self.assertEqual(self.runs()[0]["state"], "done")


class Stopping(Case):
    def test_a_stop_lets_the_command_save_and_brings_it_here(self):
        self.cholfile(SAVES)
        run = self.start("run")
        run.wait_for_log("begun")
        run.signal(signal.SIGINT)
        self.assertEqual(run.wait().code, 130)
        self.assertEqual((self.work / "out/checkpoint").read_text(), "saved\n")
        self.assert_nothing_lives()

    def leave_at_once(self):
        self.cholfile(STUBBORN)
        run = self.start("run")
        run.wait_for_log("begun")
        run.signal(signal.SIGINT)
        run.wait_for("releasing box (local, $0.50/h)")
        run.signal(signal.SIGINT)
        ended = run.wait()
        self.assertEqual(ended.code, 130)
        self.assert_says(ended.err, "left running", "box", "$0.50/h", "choline gc")

    def test_a_second_ctrl_c_leaves_and_gc_finishes_the_stop(self):
        self.leave_at_once()
        [run] = self.runs()
        self.assertEqual((run["state"], run["interrupted"], run["stopping"]),
                         ("running", True, True))
        self.assertEqual(len(self.instances()), 1)
        self.choline("gc", "--yes")
        self.assert_nothing_lives()
        self.assertEqual(self.runs()[0]["state"], "stopped")

    def test_stop_finishes_it_too_and_the_end_is_in_the_events(self):
        self.leave_at_once()
        (self.work / "Cholfile.lua").unlink()
        self.choline("stop", "--yes")
        self.assert_nothing_lives()
        kinds = [each["event"] for each in self.choline("status", "--json").json["events"]]
        self.assertIn("instance_released", kinds)

    def test_stop_now_does_not_wait_for_the_command(self):
        self.cholfile(STUBBORN)
        run = self.start("run")
        run.wait_for_log("begun")
        self.choline("stop", "--yes", "--now")
        self.assertEqual(run.wait().code, 130)
        self.assert_nothing_lives()


class Programs(Case):
    def test_states_in_json_are_those_of_the_list(self):
        self.cholfile(STUBBORN)
        run = self.start("run")
        run.wait_for_log("begun")
        self.assertIn(self.runs()[0]["state"], STATES)
        run.signal(signal.SIGKILL)
        run.wait()
        [listed] = self.runs()
        self.assertEqual((listed["state"], listed["interrupted"], listed["owner"]),
                         ("running", True, None))
        self.assertIn("interrupted", self.choline("ls").out)
        self.choline("stop", "--yes")
        [listed] = self.runs()
        self.assertEqual((listed["state"], listed["interrupted"]), ("stopped", False))

    def test_a_detached_run_has_its_owner_when_its_id_is_there(self):
        self.cholfile(STUBBORN)
        self.choline("run", "--detach")
        self.assertIsNotNone(self.runs()[0]["owner"])
        self.choline("stop", "--yes", "--now")

    def test_nothing_is_rented_without_an_agent(self):
        self.cholfile(KEPT)
        alone = self.sandbox / "choline"
        alone.write_bytes(CHOLINE.read_bytes())
        alone.chmod(0o755)
        result = self.choline("run", program=alone, code=3)
        self.assert_says(result.err, "agent", "install")
        self.assertEqual(self.choline("instances", "--all", "--json").json, [])


class Capacity(Case):
    TEXT = """
local box = instance "box" { from = { here { capacity = 2 } } }
pipeline "points" (function()
  local results = parallel { x = { 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 } } (function(point)
    local mine <close> = box:acquire()
    return tonumber(mine:exec({ "echo", point.x }).out)
  end)
  local sum = 0
  for _, each in ipairs(results) do sum = sum + each.value end
  log.info("sum %d", sum)
end)
"""

    def test_points_beyond_the_capacity_wait_and_ask_once_for_each_free_place(self):
        self.cholfile(self.TEXT)
        events = [json.loads(line) for line in
                  self.choline("run", "--json").out.splitlines()[1:]]
        self.assertIn("sum 55", str(events))
        refused = [each for each in events if each["event"] == "offer_failed"]
        self.assertLessEqual(len(refused), 16)
        self.assert_nothing_lives()
