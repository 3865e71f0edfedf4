"""Pause, resume, stop and set, with trainings that behave in every way."""

import os
import signal
import time

from training import FILE, TRAIN, Training


class Pause(Training):
    def test_a_pause_brings_the_newest_checkpoint_verifies_it_and_stops_paying(self):
        run = self.train()
        self.wait_for_log("wrote", 3)
        result = self.choline("pause", run)
        self.assert_says(result.out, f"run {run} is paused", "checkpoint step-")
        self.assert_says(result.err, "told by TERM", "is here and verified", "released")
        self.assert_nothing_lives()
        secured = self.wait_for_event(run, "pause_secured")
        last = int(self.log().split("wrote ")[-1].split()[0])
        self.assertEqual(secured["step"], last)
        self.choline("resume", run, "--detach")
        self.wait_for_log(f"resumed from {last}")
        self.wait_for_log("step %d" % (last + 2))
        self.let_it_end(run)

    def test_the_signal_reaches_the_training_at_once(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        asked = time.time()
        self.choline("pause", run)
        told = float(self.log().split(" at ")[1].split()[0])
        self.assertLess(told - asked, 20)  # a poll of minutes would show; the numbers are in docs
        if os.environ.get("CHOLINE_TEST_MEASURE"):
            print(f"from the start of `choline pause` to the signal: {told - asked:.3f} s")

    def test_a_checkpoint_that_is_written_only_after_the_signal_is_waited_for(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        self.choline("pause", run)
        self.assertTrue(self.events(run, "pause_secured")[0][1]["step"] >= 3)
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.let_it_end(run)

    def test_a_training_that_writes_one_on_usr1_and_goes_on_is_ended_once_it_is_here(self):
        run = self.train("usr1", grace="10m", task=', stop_signal = "USR1"')
        self.wait_for_log("step 3")
        self.assert_says(self.choline("pause", run).err, "told by USR1", "verified")
        self.assert_nothing_lives()

    def test_one_that_ignores_the_signal_is_killed_after_the_grace_when_it_has_a_checkpoint(self):
        run = self.train("deaf", grace="300ms")
        self.wait_for_log("step 3")
        self.choline("exec", "box", "--", "sh", "-c",
                     "mkdir -p ckpt; echo '{\"step\": 2}' > .n; mv .n ckpt/step-2.json")
        result = self.choline("pause", run)
        self.assert_says(result.err, "step-2.json (step 2) is here and verified")
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from 2")
        self.let_it_end(run)

    def test_one_that_ignores_it_and_has_none_goes_on_and_nothing_is_lost(self):
        run = self.train("deaf", grace="300ms")
        self.wait_for_log("step 3")
        result = self.choline("pause", run, code=8)
        self.assert_says(result.err, "no complete checkpoint", "goes on", "--now")
        steps = self.log().count("step ")
        self.wait_until(lambda: self.log().count("step ") > steps + 3, "more steps")
        self.assertEqual(self.state(run)["state"], "running")
        result = self.choline("pause", run, "--now")
        self.assert_says(result.out + result.err, "begins anew", "is paused", "no checkpoint")
        self.assert_nothing_lives()

    def test_one_that_ends_without_a_checkpoint_keeps_its_instance(self):
        run = self.train("plain")
        self.wait_for_log("step 3")
        result = self.choline("pause", run, code=8)
        self.assert_says(result.err, "without a complete checkpoint", "kept", "--now",
                         "choline resume")
        self.assertEqual(len(self.instances()), 1)
        self.choline("resume", run)
        self.wait_until(lambda: self.log().count("step 1\n") == 2, "the second attempt")
        self.assertEqual(len(self.instances()), 1)
        self.choline("pause", run, code=8)
        self.choline("pause", run, "--now")
        self.assert_nothing_lives()
        self.assertEqual(self.state(run)["state"], "paused")

    def test_without_resume_it_is_refused_and_with_now_it_begins_anew(self):
        self.write("train.py", TRAIN)
        self.cholfile(FILE.replace("resume =", "-- resume =") % dict(
            mode="each", grace="5s", last=100000, sync="", task="", more=""))
        run = self.choline("run", "--detach").out.strip()
        self.wait_for_log("step 2")
        self.assert_says(self.choline("pause", run, code=8).err, "has no resume", "--now")
        self.choline("pause", run, "--now")
        self.assert_nothing_lives()

    def test_while_it_waits_for_a_retry_the_pause_is_at_once(self):
        self.write("train.py", TRAIN)
        text = FILE % dict(mode="each", grace="5s", last=100000, sync="", more="",
                           task=', retry = retry { wait = "2h" }')
        self.cholfile(text.replace('"exec python3 train.py"', '"exit 3"'))
        run = self.choline("run", "--detach").out.strip()
        self.wait_for_event(run, "retrying")
        self.choline("pause", run)
        self.assertEqual(self.state(run)["state"], "paused")
        self.assert_nothing_lives()

    def test_a_task_after_a_paused_one_is_not_paused_again(self):
        run = self.train(last=40, more="""
task "after" { on = box, after = "train", run = "echo the second is done",
  resume = { from = "ckpt", run = "echo again" } }""")
        self.wait_for_log("wrote", 3)
        self.choline("pause", run)
        self.assert_says(self.choline("resume", run).err + self.log(), "all done", "again")
        self.assertEqual(self.state(run)["state"], "done")


class Others(Training):
    """Several processes act on one run."""

    def test_two_pauses_at_once_are_one(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        both = [self.start("pause", run), self.start("pause", run)]
        self.assertEqual([each.wait().code for each in both], [0, 0])
        self.assertEqual(len(self.events(run, "pause_secured")), 1)
        self.assert_nothing_lives()

    def test_a_stop_during_a_pause_wins_and_what_is_saved_is_said(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        pausing = self.start("pause", run)
        self.wait_for_event(run, "pause_requested")
        stopped = self.choline("stop", run)
        self.assert_says(stopped.out, "is stopped", "checkpoint step-")
        self.assertEqual(pausing.wait().code, 8)
        self.assertEqual(self.state(run)["state"], "stopped")
        self.assert_nothing_lives()

    def test_stop_now_saves_nothing_more_and_says_what_is_here(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        stopped = self.choline("stop", run, "--now")
        self.assert_says(stopped.out, "is stopped", "no checkpoint of it is here")
        self.assertNotIn("told", self.log())
        self.assert_nothing_lives()

    def test_the_pausing_command_may_die(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        pausing = self.start("pause", run)
        self.wait_for_event(run, "pause_requested")
        pausing.signal(signal.SIGKILL)
        pausing.wait()
        self.wait_until(lambda: self.state(run)["state"] == "paused", "the pause")
        self.assert_nothing_lives()

    def test_the_owner_may_die_in_the_middle_and_resume_goes_on(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        pausing = self.start("pause", run)
        self.wait_for_event(run, "pause_requested")
        self.kill_owner(run)
        result = pausing.wait()
        self.assertEqual(result.code, 8)
        self.assertIn("interrupted", result.out)
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.let_it_end(run)

    def test_the_owner_may_die_in_the_middle_and_pause_finishes_it(self):
        run = self.train("late")
        self.wait_for_log("step 3")
        pausing = self.start("pause", run)
        self.wait_for_event(run, "pause_requested")
        self.kill_owner(run)
        pausing.wait()
        self.assertIn("is paused", self.choline("pause", run).out)
        self.assert_nothing_lives()
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.let_it_end(run)

    def test_of_two_resumes_one_has_the_run_and_the_other_is_told_who(self):
        run = self.train()
        self.wait_for_log("wrote", 2)
        self.choline("pause", run)
        both = [self.start("resume", run, "--plain"), self.start("resume", run, "--plain")]
        self.wait_until(lambda: any(each.process.poll() is not None for each in both), "the loser")
        loser = next(each for each in both if each.process.poll() is not None)
        winner = both[1 - both.index(loser)]
        self.assertEqual(loser.wait().code, 8)
        self.assert_says(loser.err, str(winner.process.pid), "since", "choline logs -f")
        self.wait_for_log("resumed from")
        third = self.choline("run", code=8)
        self.assert_says(third.err, f"pid {winner.process.pid} on ", "since", "--new")
        self.let_it_end(run)
        winner.wait()

    def test_resume_from_nothing_but_the_state_folder_and_the_checkpoints(self):
        """As after a reboot: every process is gone, and so is the old instance's folder."""
        run = self.train()
        self.wait_for_log("wrote", 3)
        self.choline("pause", run)
        last = self.events(run, "pause_secured")[0][1]["step"]
        self.choline("resume", run, "--detach")
        self.wait_for_log(f"resumed from {last}")
        self.let_it_end(run)

    def test_set_changes_what_starts_later_and_is_kept(self):
        run = self.train()
        self.wait_for_log("wrote", 2)
        self.assert_says(self.choline("set", run, "epoch=3", code=3).err, "epochs")
        self.assert_says(self.choline("set", run, "epochs=many", code=2).err, "integer")
        self.choline("set", run, "epochs=7")
        self.wait_for_event(run, "param_set")
        self.assertEqual(self.choline("status", run, "--json").json["params"]["epochs"], 7)
        self.assertIn("epochs was set to 7 by ", self.choline("why", run).out)
        self.choline("pause", run)
        self.choline("set", run, "budget=$60")
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.wait_until(lambda: len(self.events(run, "param_set")) == 2, "the second")
        self.assert_says(self.log(), "epochs 5", "epochs 7")
        self.let_it_end(run)

    def test_a_pipelines_command_gets_the_signal_when_the_run_is_stopped(self):
        self.write("train.py", TRAIN)
        self.cholfile("""
local box = instance "box" {}
pipeline "p" (function()
  local one <close> = box:acquire()
  one:push(".", "/work")
  one:run({ "python3", "train.py" }, { env = { MODE = "late" }, grace = "20s" })
end)""")
        run = self.choline("run", "--detach").out.strip()
        self.wait_for_log("step 3")
        self.assert_says(self.choline("pause", run, code=8).err, "pipeline", "choline stop")
        self.choline("stop", run)
        self.assert_says(self.log(), "told 15", "wrote")
        self.assert_nothing_lives()

    def test_a_task_that_is_a_function_is_paused_only_with_now_and_its_command_is_told(self):
        self.write("train.py", TRAIN)
        self.cholfile("""
local box = instance "box" {}
sync "code" { from = ".", to = "box:/work", exclude = { "ckpt/", "here/" } }
task "train" {
  on = box, grace = "20s",
  run = function(context)
    context.instance:run({ "python3", "train.py" }, { env = { MODE = "late" } })
  end,
}""")
        run = self.choline("run", "--detach").out.strip()
        self.wait_for_log("step 3")
        self.assert_says(self.choline("pause", run, code=8).err, "has no resume", "--now")
        self.choline("pause", run, "--now")
        self.assert_says(self.log(), "told 15", "wrote")
        self.assert_nothing_lives()
        self.choline("resume", run, "--detach")
        self.wait_until(lambda: self.log().count("step 1\n") == 2, "the second attempt")
        self.let_it_end(run)

    def test_an_instance_that_is_declared_so_is_kept_in_pipelines_too(self):
        self.cholfile("""
local box = instance "box" { keep = true }
pipeline "p" (function()
  local one <close> = box:acquire()
  one:exec "echo hello"
end)""")
        run = self.choline("run").out.split()[0]
        self.assertEqual([each["kept"] for each in self.instances()], [True])
        self.choline("stop", run)
        self.assert_nothing_lives()
