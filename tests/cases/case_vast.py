"""Runs on Vast.ai, as tests/fakes/vast.py plays it: its containers are real, and so is its bill."""

import os
import pathlib
import signal
import sys

from harness import ROOT, Case

sys.path.insert(0, str(ROOT / "tests" / "fakes"))
from vast import Vast, offer

TRAINS = """
secret "TOKEN" {}
local gpu = instance "gpu" { gpu = "RTX 4090", disk = "20 GB", spot = %s, max_price = "$1/h",
  from = { vast { reliability = 0.9 } } }
sync "code" { from = ".", to = "gpu:work", exclude = { "record*" } }
task "train" { on = gpu, run = "sh train.sh %s", env = { TOKEN = secret.TOKEN },
  retry = retry { wait = "0s" }, failover = failover { on = { "preempted", "lost" } } }
"""
SCRIPT = """
echo begun >> "$1"; number=0
while [ ! -e "$1.stop" ]; do number=$((number + 1)); echo "step=$number"; sleep 0.05; done
"""
ACCOUNT = "account-key-that-must-not-travel"


class OnVast(Case):
    def setUp(self):
        super().setUp()
        self.fake = Vast(self.sandbox / "vast", key=ACCOUNT, offers=[
            offer(101), offer(102, dph_base=0.5, min_bid=0.25),
            offer(103, dph_base=3.0, min_bid=2.0)])
        self.addCleanup(self.fake.close)
        self.record = self.sandbox / "record"

    def environment(self, **more):
        return super().environment(VAST_URL=self.fake.url, CHOLINE_PACE="0.02",
                                   TOKEN="s3cret-of-run", **more)

    def auth(self, value=ACCOUNT, code=0):
        typed = self.sandbox / "typed"
        typed.write_text(value + "\n")
        with open(typed, "rb") as text:
            return self.choline("auth", "vast", code=code, stdin=text)

    def train(self, spot=False):
        self.auth()
        self.write("train.sh", SCRIPT)
        self.cholfile(TRAINS % ("true" if spot else "false", self.record))
        running = self.start("run")
        running.wait_for_log("step=3")
        return running

    def end(self, running):
        (self.sandbox / "record.stop").touch()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.fake.alive(), [])
        self.assert_nothing_lives()

    def begun(self):
        return self.record.read_text().count("begun") if self.record.exists() else 0

    def only(self):
        [number] = self.fake.alive()
        return number


class Account(OnVast):
    def test_the_key_is_stored_tried_listed_and_forgotten(self):
        self.assert_says(self.choline("auth").out, "vast", "no", "choline auth vast")
        self.assert_says(self.auth().out, "vast", "works", "me@lab.org")
        [row] = self.choline("auth", "--json").json
        self.assertEqual((row["name"], row["works"], row["account"]),
                         ("vast", True, "me@lab.org (77)"))
        self.choline("auth", "vast", "--forget")
        self.choline("auth", "vast", "--forget", code=3)
        self.assert_says(self.auth("wrong", code=4).out, "vast", "no", "Invalid user key")

    def test_offers_are_priced_with_their_disk_and_nothing_is_rented(self):
        self.auth()
        self.cholfile(TRAINS % ("false", self.record))
        # 0.144 a month for each of 20 GB.
        self.assert_says(self.choline("plan").out, "from vast", "$0.40/h")
        [gpu] = self.choline("plan", "--json").json["instances"]
        self.assertEqual((gpu["best"]["id"], round(gpu["best"]["price"], 4)), ("101", 0.404))
        self.assertEqual(self.fake.alive(), [])

    def test_without_a_key_the_plan_says_what_to_do(self):
        self.cholfile(TRAINS % ("false", self.record))
        said = self.choline("plan", code=None)
        self.assert_says(said.out + said.err, "VAST_API_KEY", "choline auth")


class Training(OnVast):
    def test_a_run_trains_there_and_leaves_nothing_and_no_key(self):
        running = self.train()
        [instance] = self.instances()
        self.assertEqual((instance["provider"], round(instance["price"], 3)), ("vast", 0.404))
        number = self.only()
        home = self.fake.instances[number]["_"]["container"].home
        leaks = [path for path in pathlib.Path(home).rglob("*") if path.is_file()
                 and ACCOUNT.encode() in path.read_bytes()]
        self.assertEqual(leaks, [])
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                held = (process / "environ").read_bytes()
            except OSError:
                continue
            if f"CONTAINER_ID={number}\0".encode() in held or str(home).encode() in held:
                self.assertNotIn(ACCOUNT.encode(), held)
        self.end(running)
        everything = self.choline("logs").out + running.out + running.err
        self.assertNotIn(ACCOUNT, everything)
        self.assertNotIn("s3cret-of-run", everything)
        self.assertEqual(self.begun(), 1)

    def test_who_is_outbid_goes_on_elsewhere_and_pays_for_no_idle_disk(self):
        running = self.train(spot=True)
        first = self.only()
        self.assertTrue(self.fake.instances[first]["is_bid"])
        self.fake.outbid(first)
        self.wait_until(lambda: self.begun() == 2, "the training on another instance")
        self.wait_until(lambda: first not in self.fake.alive(), "the end of the outbid one")
        self.end(running)
        why = self.choline("why").out
        self.assert_says(why, "outbid")

    def test_killed_it_finds_its_instance_again(self):
        running = self.train()
        number = self.only()
        running.signal(signal.SIGKILL)
        running.wait()
        running = self.start("resume")
        running.wait_for_log("step=20")
        self.assertEqual(self.only(), number)
        self.end(running)
        self.assertEqual(self.begun(), 1)

    def test_a_reply_that_is_lost_costs_one_instance(self):
        self.fake.cause("hide", seconds=0.3)
        self.fake.cause("lose_reply")
        running = self.train()
        self.assertEqual(len(self.fake.alive()), 1)
        self.end(running)
        self.assertEqual(len(self.fake.costs()), 1)

    def test_an_instance_that_never_boots_is_ended_and_another_taken(self):
        self.fake.cause("boot_error")
        running = self.train()
        self.wait_until(lambda: len(self.fake.alive()) == 1, "the end of the broken one")
        self.end(running)
        self.assertEqual(len(self.fake.costs()), 2)
