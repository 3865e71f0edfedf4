"""Two processes on one run: whoever has lost it ends, and touches nothing."""

import json
import signal
import sqlite3

from harness import Case

TEXT = """
local box = instance "box" { from = { here { price = "$0.10/h" } } }
task "train" { on = box, run = [[echo started >> %(outside)s; echo began
  until test -e %(over)s; do sleep 0.1; done; echo ended]] }
task "after" { on = box, after = "train", run = "echo after >> %(outside)s" }
"""


class Owner(Case):
    def begin(self):
        self.outside, self.over = self.sandbox / "outside", self.sandbox / "over"
        self.cholfile(TEXT % {"outside": self.outside, "over": self.over})
        owner = self.start("run", "--plain")
        owner.wait_for_log("began")
        (run,) = self.runs()
        return owner, run["id"]

    def state(self):
        return self.home / ".local/state/choline"

    def epoch(self, run):
        with sqlite3.connect(f"file:{self.state() / 'store.db'}?mode=ro", uri=True) as db:
            return db.execute("SELECT epoch FROM run WHERE id = ?", (run,)).fetchone()[0]

    def check_end(self, heir):
        self.over.touch()
        self.assertEqual(heir.wait().code, 0, heir.err)
        self.assertEqual(self.outside.read_text().split(), ["started", "after"])
        self.assert_nothing_lives()
        lines = (self.state() / "local/bill.jsonl").read_text().splitlines()
        self.assertEqual(len({json.loads(line)["id"] for line in lines}), 1)

    def test_a_process_that_wakes_after_another_took_its_run_ends_at_once(self):
        zombie, run = self.begin()
        zombie.signal(signal.SIGSTOP)
        # What a server of locks does that restarts: the zombie still holds the old lock.
        (self.state() / "runs" / run / "lock").unlink()
        heir = self.start("resume", run, "--plain")
        self.wait_until(lambda: self.epoch(run) == 2, "the heir to take the run")
        zombie.signal(signal.SIGCONT)
        ended = zombie.wait()
        self.assertEqual(ended.code, 8, f"\n{ended}")
        self.assertIn("was taken over by another process", ended.err)
        self.assertIsNone(heir.process.poll(), heir.err)
        self.assertEqual(self.epoch(run), 2)
        self.check_end(heir)

    def test_a_zombie_that_wakes_when_all_is_over_changes_nothing(self):
        zombie, run = self.begin()
        zombie.signal(signal.SIGSTOP)
        (self.state() / "runs" / run / "lock").unlink()
        heir = self.start("resume", run, "--plain")
        self.wait_until(lambda: self.epoch(run) == 2, "the heir to take the run")
        self.check_end(heir)
        before = self.choline("status", run, "--json").out
        zombie.signal(signal.SIGCONT)
        self.assertEqual(zombie.wait().code, 8, zombie.err)
        self.assertEqual(self.choline("status", run, "--json").out, before)
