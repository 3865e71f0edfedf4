"""A run goes on with another text of its cholfile, or says precisely why it does not."""

import json
import os
import signal
import sqlite3

from harness import Case

FIRST = """
param "lr" { default = 0.1 }
local box = instance "box" { from = { here { price = "$0.50/h" } } }
sync "code" { from = ".", to = "box:/work", exclude = { "*.out" } }
task "train" {
  on = box, grace = "1s",
  run = "echo begun {lr}; until test -e enough -o -e ../enough; do sleep 0.05; done; "
    .. "echo ended {lr}",
}
"""
ATTEMPTS = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "train" {
  on = box, run = "echo try; exit 3", retry = retry { max = 3, on = { "crashed" }, wait = "2h" },
}
"""


class Update(Case):
    def interrupted(self, text, log="begun"):
        """A run of `text` whose process was killed while its command goes on. Gives its id."""
        self.cholfile(text)
        run = self.start("run")
        run.wait_for_log(log)
        run.signal(signal.SIGKILL)
        run.wait()
        [row] = self.runs()
        self.addCleanup(lambda: self.choline("stop", row["id"], "--yes", "--now", code=None))
        return row["id"]

    def enough(self, id):
        self.wait_until(lambda: self.choline("exec", "box", "--run", id, "--", "touch", "enough",
                                             code=None).code == 0, "a live instance")

    def change(self, old, new):
        path = self.work / "Cholfile.lua"
        text = path.read_text()
        self.assertIn(old, text)
        path.write_text(text.replace(old, new))

    def plan(self, *words):
        plan = self.choline("resume", "--update", "--dry-run", "--json", *words).json
        what = {}
        for step in plan["steps"]:
            what.setdefault(step["what"], []).append(step)
        return what

    def store(self):
        path = self.home / ".local/state/choline/store.db"
        return sqlite3.connect(path)

    def test_resume_goes_on_with_the_stored_text_and_says_so(self):
        id = self.interrupted(FIRST)
        self.change("echo ended", "echo done")
        resumed = self.start("resume", id)
        resumed.wait_for("began with")
        self.enough(id)
        ended = resumed.wait()
        self.assertEqual(ended.code, 0, str(ended))
        self.assert_says(ended.err, "Cholfile.lua changed", f"choline resume {id} --update")
        self.assertIn("ended 0.1", self.choline("logs", id).out)

    def test_a_plan_touches_nothing(self):
        id = self.interrupted(FIRST)
        self.change("echo begun", "echo BEGUN")
        with self.store() as db:
            before = [list(db.execute(f"SELECT * FROM {table} ORDER BY 1,2"))
                      for table in ("run", "step", "res", "event", "proc", "source")]
        self.choline("resume", id, "--update", "--dry-run")
        with self.store() as db:
            after = [list(db.execute(f"SELECT * FROM {table} ORDER BY 1,2"))
                     for table in ("run", "step", "res", "event", "proc", "source")]
        self.assertEqual(before, after)
        refused = self.choline("resume", id, "--update", code=2)  # nobody to ask
        self.assert_says(refused.err, "--yes")
        [row] = self.runs()
        self.assertEqual((row["state"], row["interrupted"]), ("running", True))

    def test_a_comment_changes_nothing_and_is_not_asked_about(self):
        id = self.interrupted(FIRST)
        self.change("param", "-- a word\nparam")
        what = self.plan(id)
        self.assertEqual(set(what), {"reused"}, what)
        resumed = self.start("resume", id, "--update")
        resumed.wait_for("reused")
        self.enough(id)
        self.assertEqual(resumed.wait().code, 0)
        self.assertEqual(self.choline("logs", id).out.count("begun"), 1)

    def test_another_command_is_begun_anew_on_the_same_instance(self):
        id = self.interrupted(FIRST)
        [box] = self.instances()
        self.change("echo begun {lr}", "echo BEGUN {lr}")
        self.change("default = 0.1", "default = 0.2")
        what = self.plan(id)
        self.assertEqual([each["verb"] for each in what["replaced"]], ["instance.start"])
        self.assertIn("Cholfile.lua:5", what["replaced"][0]["where"])
        resumed = self.start("resume", id, "--update", "--yes")
        resumed.wait_for_log("BEGUN 0.2")
        self.assertEqual([each["id"] for each in self.instances()], [box["id"]])
        self.enough(id)
        self.assertEqual(resumed.wait().code, 0, resumed.err)
        out = self.choline("logs", id).out
        self.assert_says(out, "begun 0.1", "ended 0.2")
        self.assertNotIn("ended 0.1", out)  # it was ended, not left to run beside the new one
        self.assert_nothing_lives()

    def test_another_instance_replaces_the_old_one_which_is_released(self):
        id = self.interrupted(FIRST)
        [old] = self.instances()
        self.change("$0.50/h", "$0.25/h")
        shown = self.choline("resume", id, "--update", "--dry-run")
        self.assert_says(shown.out, 'instance "box" (local, $0.50/h', "is released")
        resumed = self.start("resume", id, "--update", "--yes")
        self.wait_until(lambda: [each["price"] for each in self.instances()] == [0.25]
                        or resumed.process.poll() is not None, "the other instance")
        self.assertNotEqual(self.instances()[0]["id"], old["id"])
        resumed.wait_for_log("begun")
        self.enough(id)
        self.assertEqual(resumed.wait().code, 0, resumed.err)
        self.assert_nothing_lives()
        with self.store() as db:
            released = list(db.execute("SELECT * FROM event WHERE kind = 'instance_released'"))
        self.assertEqual(len(released), 2)

    def test_a_crash_after_the_consent_leaves_nothing_behind(self):
        """Killed at each commit of the update in turn: one instance at most, and it goes on."""
        id = self.interrupted(FIRST)
        self.change("$0.50/h", "$0.25/h")
        for at in range(1, 9):
            ended = self.start("resume", id, "--update", "--yes", "--plain",
                               env={"CHOLINE_CRASH_AT": str(at)}).wait()
            self.assertEqual(ended.code, -signal.SIGKILL, f"{at}: {ended}")
            self.assertLessEqual(len([each for each in self.instances()
                                      if each["price"] == 0.25]), 1)
        resumed = self.start("resume", id, "--update", "--yes")
        self.wait_until(lambda: [each["price"] for each in self.instances()] == [0.25]
                        or resumed.process.poll() is not None, "the other instance")
        self.wait_until(lambda: self.choline("logs", id, code=None).out.count("begun") == 2
                        or resumed.process.poll() is not None, "the other command")
        self.enough(id)
        self.assertEqual(resumed.wait().code, 0, resumed.err)
        self.assert_nothing_lives()

    def test_a_shorter_wait_counts_from_when_it_began(self):
        self.cholfile(ATTEMPTS)
        run = self.start("run")
        self.wait_until(lambda: "for attempt 2" in self.choline("why", code=None).out, "the retry")
        run.signal(signal.SIGKILL)
        run.wait()
        [row] = self.runs()
        why = self.choline("why", row["id"]).out
        self.assert_says(why, "interrupted", 'Task "train" was to begin attempt 2 at',
                         "a resume keeps to that", "ended as crashed", "the policy said: attempt 2")
        self.change('"2h"', '"1s"')
        what = self.plan(row["id"])
        self.assertEqual([each["verb"] for each in what["changed"]], ["wait.sleep"])
        ended = self.choline("resume", row["id"], "--update", "--yes", code=None)
        self.assertEqual(ended.code, 1, str(ended))  # tried again at once, until max is used up
        self.assertEqual(self.choline("logs", row["id"]).out.count("try"), 4)
        self.assert_nothing_lives()

    def test_a_sync_with_other_patterns_is_done_again_and_the_command_goes_on(self):
        (self.work / "data.txt").write_text("data")
        id = self.interrupted(FIRST.replace('"*.out"', '"*.txt"'))
        self.change('"*.txt"', '"*.out"')
        what = self.plan(id)
        self.assertEqual([each["verb"] for each in what["redone"]], ["transfer.sync"])
        resumed = self.start("resume", id, "--update", "--yes")
        resumed.wait_for("reused")
        self.wait_until(lambda: "data.txt" in self.choline(
            "exec", "box", "--run", id, "--", "ls", code=None).out, "the file")
        self.enough(id)
        self.assertEqual(resumed.wait().code, 0, resumed.err)
        self.assertEqual(self.choline("logs", id).out.count("begun"), 1)

    def test_a_cholfile_with_problems_changes_nothing(self):
        id = self.interrupted(FIRST)
        self.change("on = box", "onn = box")
        self.assert_says(self.choline("resume", id, "--update", "--yes", code=2).err, "onn")
        [row] = self.runs()
        self.assertTrue(row["interrupted"])

    def test_a_record_that_does_not_fit_pauses_the_run_and_touches_nothing(self):
        id = self.interrupted(FIRST)
        with self.store() as db:  # as if another choline had asked for something else
            db.execute("UPDATE step SET args='[\"other\"]', args_hash='00' "
                       "WHERE verb='instance.start'")
        told = self.choline("resume", id, code=8)
        self.assert_says(told.err, "instance.start", '["other"]', "begun", "Cholfile.lua:5")
        [row] = self.runs()
        self.assertEqual(row["state"], "paused")
        self.assertEqual([each["state"] for each in self.instances()], ["live"])
        self.assert_says(self.choline("why", id).out, "Cholfile.lua:5", "not touched", "--update")

    def test_a_run_by_other_rules_is_refused_and_can_be_stopped(self):
        id = self.interrupted(FIRST)
        with self.store() as db:
            db.execute("UPDATE run SET replay_abi=99")
        for words in (["resume", id], ["resume", id, "--update", "--dry-run"]):
            told = self.choline(*words, code=None)
            self.assertNotEqual(told.code, 0)
            self.assert_says(told.err, "rules 99", "Upgrade choline", f"choline stop {id}")
        self.assertEqual(len(self.instances()), 1)
        self.choline("stop", id, "--yes")
        self.assert_nothing_lives()
