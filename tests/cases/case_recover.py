"""What can be brought back when the state folder is lost, and what is left alone."""

import os
import signal

from harness import Case

TEXT = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "done" { on = box, run = "echo it is done; exit 0" }
task "long" { on = box, after = "done", grace = "1s",
  run = "echo half; echo data > result.txt; until test -e enough; do sleep 0.05; done; echo whole" }
"""


class Recover(Case):
    replays = False

    def setUp(self):
        super().setUp()
        self.cholfile(TEXT)
        run = self.start("run")
        run.wait_for_log("half")
        run.signal(signal.SIGKILL)
        run.wait()
        self.id = self.runs()[0]["id"]
        self.addCleanup(lambda: self.choline("stop", self.id, "--yes", "--now", code=None))
        self.state = self.home / ".local/state/choline"

    def lose(self, config=False):
        """The record is lost; the local provider's cloud, which lies beside it, is not."""
        for name in ("store.db", "store.db-wal", "store.db-shm"):
            (self.state / name).unlink(missing_ok=True)
        if config:
            (self.home / ".config/choline/installs").unlink()
        self.assertEqual(self.runs(), [])

    def test_what_was_lost_is_found_brought_home_and_ended(self):
        self.lose()
        shown = self.choline("recover", "--dry-run")
        self.assert_says(shown.out, "lost by this computer", self.id, "$0.50/h")
        self.assertEqual(self.runs(), [])  # shown, and nothing else
        told = self.choline("recover", "--yes")
        self.assert_says(told.err, '"done", attempt 1: ended with exit 0',
                         '"long", attempt 1: running', f"choline stop {self.id}")
        self.assert_says(self.choline("logs", self.id).out, "it is done", "half")
        self.choline("pull", "recovered-1:result.txt", "back.txt", "--run", self.id)
        self.assertEqual((self.work / "back.txt").read_text(), "data\n")
        self.assert_says(self.choline("why", self.id).out, "recovered", f"choline stop {self.id}")
        self.assert_says(self.choline("resume", self.id, code=8).err, "its record is lost")
        self.choline("gc", "--yes")  # ends nothing that was recovered
        self.assertEqual([each["state"] for each in self.instances()], ["live"])
        again = self.choline("recover", "--yes")
        self.assert_says(again.out, "is in the store")
        self.choline("stop", self.id, "--yes")
        self.assert_nothing_lives()

    def test_another_installation_is_left_alone_without_its_name(self):
        self.lose(config=True)
        told = self.choline("recover", "--yes")
        self.assert_says(told.out, "of other installations", self.id)
        self.assertEqual(self.runs(), [])
        self.choline("gc", "--yes")
        [each] = self.choline("recover", "--dry-run", "--json").json["instances"]
        self.assertEqual(each["whose"], "foreign")
        self.choline("recover", "--yes", "--install", each["install"])
        self.assertEqual([each["id"] for each in self.runs()], [self.id])
        self.choline("stop", self.id, "--yes")
        self.assert_nothing_lives()

    def test_nothing_is_taken_over_without_consent(self):
        self.lose()
        self.choline("recover", code=2)  # nobody to ask
        self.assertEqual(self.runs(), [])
        self.choline("recover", "--yes")

    def test_what_the_store_knows_is_no_loss(self):
        told = self.choline("recover", "--yes")
        self.assert_says(told.out, "is in the store")
        self.assertTrue(self.runs()[0]["interrupted"])
