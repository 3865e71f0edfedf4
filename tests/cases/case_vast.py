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

    def test_doctor_and_offers_ask_only_where_there_is_an_account(self):
        self.assert_says(self.choline("doctor").out, "provider vast", "not used: no account")
        self.assertNotIn("vast", self.choline("offers").out)
        self.auth()
        self.assert_says(self.choline("doctor").out, "provider vast", "account of me@lab.org")
        self.assert_says(self.choline("offers", "RTX 4090").out, "vast", "101", "102", "103")

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


class Renting(OnVast):
    def kill_at(self, fault):
        """Kills choline with -9 while its create is held by the fake."""
        self.fake.cause(fault)
        self.auth()
        self.write("train.sh", SCRIPT)
        self.cholfile(TRAINS % ("false", self.record))
        running = self.start("run")
        self.wait_until(self.fake.held.is_set, "the create")
        running.signal(signal.SIGKILL)
        running.wait()

    def goes_on_with_one(self):
        running = self.start("resume")
        running.wait_for_log("step=3")
        self.assertEqual(len(self.fake.alive()), 1)
        self.end(running)
        self.assertEqual((len(self.fake.costs()), self.begun()), (1, 1))

    def test_killed_before_it_is_told_what_it_rented_it_finds_that_again(self):
        self.kill_at("hold_reply")
        self.assertEqual(len(self.fake.alive()), 1)
        self.fake.let_go()
        self.goes_on_with_one()

    def test_killed_while_its_create_is_on_its_way_it_takes_what_came_of_it(self):
        self.kill_at("hold_create")
        self.assertEqual(self.fake.alive(), [])
        self.fake.let_go()
        self.wait_until(self.fake.alive, "the create that comes late")
        self.goes_on_with_one()

    def test_a_bid_that_is_too_low_meanwhile_leaves_nothing_that_costs(self):
        self.fake.cause("bid_rises")
        running = self.train(spot=True)
        # What was made in spite of the refusal is ended; the next offer is taken.
        [one] = self.instances()
        self.assertEqual((round(one["price"], 3), len(self.fake.alive())), (0.254, 1))
        self.assertEqual(len(self.fake.costs()), 2)
        self.end(running)

    def test_calls_that_were_too_many_wait_and_the_best_offer_is_still_taken(self):
        self.fake.cause("rate_limit", path="/bundles/", retry_after=0.1)
        self.fake.cause("rate_limit", path="/asks/", times=3, retry_after=0.1)
        running = self.train()
        [one] = self.instances()
        self.assertEqual(round(one["price"], 3), 0.404)
        creates = [path for method, path, _ in self.fake.asked() if "/asks/" in path]
        self.assertEqual(creates, ["/api/v0/asks/101/"] * 4)
        self.end(running)
        self.assertEqual(len(self.fake.costs()), 1)

    def test_a_machine_without_its_gpu_is_given_back_and_remembered(self):
        self.fake.cause("broken_gpu")
        running = self.train()
        [one] = self.instances()
        self.assertEqual((round(one["price"], 3), len(self.fake.alive())), (0.504, 1))
        self.assert_says(running.out + running.err, "nvidia-smi shows 0 of its 1 GPU")
        self.end(running)
        # Another run does not begin with it, though it is the cheapest.
        self.assert_says(self.choline("plan").out, "* $0.50/h vast", "$0.40/h vast", "failed")


class Ends(OnVast):
    def test_destroyed_by_hand_is_lost_and_done_elsewhere(self):
        running = self.train()
        with self.fake.lock:
            self.fake.forget(self.fake.instances[self.only()])
        self.wait_until(lambda: self.begun() == 2, "the training on another instance")
        self.end(running)
        self.assert_says(self.choline("why").out, "unknown to vast")

    def test_outbid_and_back_before_anybody_looked_it_trains_again_and_ends(self):
        running = self.train(spot=True)
        number = self.only()
        self.fake.outbid(number)
        self.fake.bid_wins_again(number)
        self.wait_until(lambda: self.begun() == 2, "the training to begin again")
        self.assertEqual(len(self.fake.alive()), 1)
        self.end(running)

    def test_without_the_account_what_lives_is_told_and_ended_once_it_is_back(self):
        running = self.train()
        self.fake.key = "another key"
        (self.sandbox / "record.stop").touch()
        running.wait()
        self.assert_says(running.out + running.err, "could not be released", "Invalid user key")
        self.assertEqual(len(self.fake.alive()), 1)
        told = self.choline("instances", code=1)
        self.assert_says(told.out + told.err, "orphan", "vast could not be asked", "choline gc")
        self.fake.key = ACCOUNT
        self.choline("gc", code=2)  # nobody has consented
        self.assertEqual(len(self.fake.alive()), 1)
        self.choline("gc", "--yes")
        self.assertEqual(self.fake.alive(), [])
        self.assert_nothing_lives()

    def test_all_that_lives_on_the_account_is_listed_and_gc_ends_what_is_ours(self):
        running = self.train()
        [own] = self.instances()
        body = {"image": "some/image", "disk": 20, "onstart": ":"}
        stray = own["id"][:-1] + "9"
        self.fake.create(102, {**body, "label": stray})
        self.fake.create(103, {**body, "label": "my-notebook"})
        rows = {row["id"]: (row["ours"], row["orphan"]) for row in self.instances()}
        self.assertEqual(rows, {own["id"]: (True, False), stray: (True, True),
                                "my-notebook": (False, False)})
        self.assert_says(self.choline("instances").out, "orphan", "not ours", "my-notebook")
        self.assertEqual(len(self.choline("instances", "--here", "--json").json), 1)
        self.assert_says(self.choline("gc", "--yes").out, f"ended {stray}")
        self.assertEqual(self.fake.labels(), sorted([own["id"], "my-notebook"]))
        (self.sandbox / "record.stop").touch()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.fake.labels(), ["my-notebook"])
