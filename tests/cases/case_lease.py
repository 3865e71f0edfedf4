"""Leases: what a user who never comes back pays, and that nothing ends while choline speaks."""

import json
import pathlib
import signal

from harness import Case, processes

TRAIN = """
import json, os, sys, time
step = 0
if "--resume" in sys.argv:
    step = json.load(open(sys.argv[2]))["step"]
    print("resumed from", step, flush=True)
os.makedirs("ckpt", exist_ok=True)
while step < int(os.environ["LAST"]):
    step += 1
    name = "ckpt/step-%04d.json" % step
    json.dump({"step": step}, open(name + ".tmp", "w"))
    os.rename(name + ".tmp", name)
    print("step", step, flush=True)
    time.sleep(0.1)
print("finished", flush=True)
"""
FILE = """
local box = instance "box" { from = { here { price = "$0.50/h" } }, %(box)s }
sync "code" { from = ".", to = "box:/work", exclude = { "ckpt/" } }
sync "ckpt" { from = "box:/work/ckpt", to = "./ckpt", every = "200ms" }
task "train" { on = box, run = "exec python3 train.py", env = { LAST = "%(last)d" },
  resume = { from = "ckpt", run = "exec python3 train.py --resume {checkpoint}" },
  failover = failover { on = { "preempted", "lost" }, max = %(max)d } }
"""


class Lease(Case):
    def train(self, box='lease = "3s"', last=100000, moves=3):
        self.write("train.py", TRAIN)
        self.cholfile(FILE % dict(box=box, last=last, max=moves))
        return self.start("run", "--plain")

    def provider(self, name="instances"):
        state = pathlib.Path(self.environment()["XDG_STATE_HOME"])
        return state / "choline" / "local" / name

    def ends(self):
        """What instances left behind when they ended themselves."""
        return [json.loads(path.read_text()) for path in self.provider().glob("*/ended")]

    def wait_until_ended(self):
        self.wait_until(lambda: self.ends() and not processes.below(self.sandbox),
                        "the instance to end itself")
        [end] = self.ends()
        self.assertEqual(list(self.provider().glob("*/home")), [])
        return end

    def rows(self):
        return self.choline("instances", "--all", "--json").json

    def events(self):
        return self.choline("status", "--json").json["events"]

    def kill(self, run):
        run.signal(signal.SIGKILL)
        run.wait()

    def test_an_instance_that_nobody_asks_for_ends_itself_and_the_run_goes_on_elsewhere(self):
        run = self.train()
        run.wait_for_log("step 3")
        self.wait_until(lambda: len(list((self.work / "ckpt").glob("*.json"))) > 2, "checkpoints")
        self.kill(run)
        self.assert_says(self.choline("why").out, "ends itself by")
        end = self.wait_until_ended()
        self.assertEqual(end["why"], "lease")
        self.wait_until(lambda: "over" in self.choline("instances").out, "a lease that is over")
        self.write("Cholfile.lua", "")  # the run has its own text
        resumed = self.start("resume", "--plain")
        self.wait_until(lambda: "resumed from" in self.choline("logs", code=None).out, "a resume")
        [first, second] = self.rows()
        self.assertEqual((first["state"], second["state"]), ("gone", "live"))
        # The ledger ends when the instance did: its bill is what was paid for.
        entries = {json.loads(line)["id"]: json.loads(line) for line in
                   self.provider("bill.jsonl").read_text().splitlines()}
        billed = entries[first["provider_id"]]
        self.assertAlmostEqual(billed["ended"], end["at"], places=2)
        self.assertAlmostEqual(first["cost"], billed["usd"], delta=0.5 / 3600 * 0.5)
        self.assert_says(self.choline("why").out, "heard nothing", "ended itself",
                         "the policy said: another offer")
        self.choline("stop", "--yes", "--now")
        resumed.wait()

    def test_nothing_ends_while_choline_speaks(self):
        run = self.train(last=80)  # more than two leases long
        self.assertEqual(run.wait().code, 0)
        self.assertEqual(len(self.rows()), 1)
        self.assertEqual(self.ends(), [])

    def test_an_instance_that_only_waits_is_held_too(self):
        self.cholfile("""
local box = instance "box" { from = { here { price = "$0.50/h" } }, lease = "2s" }
task "twice" { on = box, run = "test -e again || { touch again; exit 1; }",
  retry = retry { max = 1, on = { "crashed" }, wait = "5s" } }
""")
        self.choline("run")
        self.assertEqual(len(self.rows()), 1)

    def test_a_resume_in_time_finds_the_instance_and_holds_it_again(self):
        run = self.train('lease = "6s"', last=120)
        run.wait_for_log("step 3")
        self.kill(run)
        self.assertEqual(self.start("resume", "--plain").wait().code, 0)
        self.assertEqual(len(self.rows()), 1)
        self.assertIn("finished", self.choline("logs").out)

    def test_a_choline_that_slept_for_longer_than_the_lease_goes_on_elsewhere(self):
        run = self.train(last=60)
        run.wait_for_log("step 3")
        run.signal(signal.SIGSTOP)
        self.wait_until(self.ends, "the instance to end itself")
        run.signal(signal.SIGCONT)
        self.assertEqual(run.wait().code, 0)
        self.assertEqual([row["state"] for row in self.rows()], ["gone", "gone"])
        self.assertIn("heard nothing", self.choline("why").out)

    def test_a_lifetime_ends_it_whatever_runs_and_is_no_crash_of_the_command(self):
        run = self.train('lifetime = "3s"', moves=0)
        self.assertEqual(run.wait().code, 1)
        [row] = self.rows()
        self.assertEqual((row["state"], row["lifetime"]), ("gone", 3.0))
        failed = [each["data"] for each in self.events() if each["event"] == "run_failed"]
        self.assertEqual(failed[0]["reason"], "lost")
        self.assertIn("lifetime", self.choline("why").out)
        self.assertEqual(list(self.provider().iterdir()), [])

    def test_what_is_kept_ends_by_its_lease_and_gc_learns_when(self):
        self.cholfile("""
local box = instance "box" { from = { here { price = "$0.50/h" } }, lease = "1s" }
task "once" { on = box, run = "true", finally = "keep" }
""")
        self.choline("run")
        end = self.wait_until_ended()
        self.choline("gc", "--yes")
        [row] = self.rows()
        self.assertEqual(row["state"], "gone")
        self.assertLess(row["cost"], 0.5 / 3600 * 30)
        self.assertGreater(end["at"], 1.7e9)

    def test_no_lease_is_a_choice_with_a_warning(self):
        self.cholfile("""
local box = instance "box" { from = { here { price = "$0.50/h" } }, lease = false }
task "once" { on = box, run = "true" }
""")
        self.assert_says(self.choline("check").err, "box", "lease")
        self.assert_says(self.choline("run").err, "box", "lease")
        self.assertIsNone(self.rows()[0]["lease"])

    def test_a_lease_is_a_time_or_false(self):
        for value in ("true", '"0s"', "30", '"soon"'):
            self.cholfile('local box = instance "box" { lease = %s }\n'
                          'task "once" { on = box, run = "true" }' % value)
            self.assert_says(self.choline("check", code=2).err, "lease", "duration")

    def test_the_plan_says_what_it_costs_when_nobody_comes_back(self):
        self.cholfile("""
local box = instance "box" { from = { here { price = "$0.50/h" } }, lifetime = "2h" }
task "once" { on = box, run = "true" }
""")
        plan = self.choline("plan", "--json").json
        self.assertEqual((plan["instances"][0]["lease"], plan["instances"][0]["lifetime"]),
                         (86400.0, 7200.0))
        self.assertEqual(plan["at_most"], 1.0)
        self.assert_says(self.choline("plan").out, "at most 2h", "$1.00")
