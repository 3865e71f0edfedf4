"""`choline why` in each situation of a run: what it says is true, enough, and what to do."""

import os
import sqlite3

from training import Training

BOX = 'local box = instance "box" { from = { here { price = "$0.50/h"%s } }%s }\n'
LONG = 'task "long" { on = box, grace = "1s", run = "echo begun; exec sleep 600" }\n'


class Why(Training):
    def begin(self, text, settings="", more=""):
        """In the background; gives the run's id."""
        self.cholfile(BOX % (settings, more) + text)
        return self.choline("run", "--detach").out.strip()

    def why(self, *parts, absent=()):
        result = self.choline("why")
        self.assert_clean(result.out + result.err)
        self.assertNotRegex(result.out, r"\bnil\b|table: |  +\S+\.\.|\.\. ")
        self.assert_says(result.out, *parts)
        for each in absent:
            self.assertNotIn(each, result.out)
        if os.environ.get("CHOLINE_TEST_MEASURE"):
            print(f"\n-- {self.id()}\n{result.out}")
        return result.out

    def wait_for_task(self, state, name=None):
        def is_so():
            return any(each["state"] == state and name in (None, each["name"])
                       for each in self.choline("status", "--json").json["tasks"])
        self.wait_until(is_so, f"a task that is {state}")

    def end(self, run):
        self.choline("stop", run, "--now")
        self.assert_nothing_lives()

    # Waiting

    def test_for_a_retry(self):
        run = self.begin("""task "train" { on = box, run = "echo step 1; echo no data >&2; exit 3",
          retry = retry { max = 4, wait = "2h" } }""")
        self.wait_for_task("waiting")
        self.why(f"Run {run} is waiting", 'Task "train" waits since ',
                 "for attempt 2, which starts",
                 "(in ", "Attempt 1 ended as crashed: task \"train\" ended with exit 3",
                 'Its last words were "no data".',
                 "The policy said: attempt 2 after 2h00m (retry 1 of 4).",
                 "1 live instance (box) at $0.50/h")
        self.kill_owner(run)
        self.why(f"Run {run} was interrupted", "was to begin attempt 2 at",
                 "a resume keeps to that", "no data", "1 live instance (box) at $0.50/h")
        self.end(run)

    def test_for_an_instance_that_nobody_has(self):
        run = self.begin("""task "train" { on = box, run = "true",
          retry = retry { on = { "no_capacity" }, wait = "10m" } }""", settings=", capacity = 0")
        self.wait_for_task("waiting")
        self.why('Task "train" waits since ', "for attempt 2", "ended as no_capacity",
                 "The policy said: attempt 2 after 10m00s (retry 1 of 3)",
                 absent=("live instance", "last words"))
        self.end(run)

    def test_for_an_instance_that_does_not_come_up(self):
        run = self.begin(LONG, settings=', delay = "10m"')
        self.wait_for_task("renting")
        self.wait_until(self.instances, "the instance")
        self.why('Task "long" waits for an instance for attempt 1, since ')
        self.kill_owner(run)
        self.why("was interrupted", 'Task "long" was waiting for an instance')
        self.end(run)

    def test_for_a_sync_that_fails(self):
        self.write("here", "a file where a folder is to be")
        run = self.begin("""sync "out" { from = "box:/work/out", to = "./here", every = "100ms" }
          task "long" { on = box, dir = "/", grace = "1s",
            run = "mkdir -p work/out; echo 1 > work/out/one; echo begun; exec sleep 600" }""")
        self.wait_for_event(run, "sync_failed")
        self.why(f"Run {run} is running", 'Task "long" runs attempt 1 on box', 'Sync "out" fails',
                 "tried again and again while the command runs")
        (self.work / "here").unlink()
        self.wait_for_event(run, "sync_recovered")
        self.why('sync "out" worked again', absent=('Sync "out" fails',))
        self.end(run)

    # At work

    def test_it_simply_runs(self):
        run = self.begin(LONG)
        self.wait_for_log("begun")
        self.why(f"Run {run} is running; it began ", "and is in process",
                 'Task "long" runs attempt 1', 'Its last words are "begun"',
                 "1 live instance (box) at $0.50/h; it cost $0.0",
                 absent=("What happened",))
        self.end(run)

    def test_it_goes_on_elsewhere_after_a_failover(self):
        run = self.begin("""task "long" { on = box, grace = "1s",
          run = "echo begun; exec sleep 600",
          failover = failover { on = { "lost", "preempted" } } }""", settings=", spot = true")
        self.wait_for_log("begun")
        self.choline("drill", "kill", "box")
        self.wait_for_log("begun", 2)
        self.why('Task "long" runs attempt 2 on box', "Attempt 1 ended as preempted",
                 "The policy said: another offer (failover 1 of 10)")
        self.end(run)

    def test_another_process_has_taken_it_over(self):
        run = self.begin(LONG)
        self.wait_for_log("begun")
        self.kill_owner(run)
        self.choline("resume", run, "--detach")
        self.wait_for_event(run, "run_resumed")
        user = self.events(run, "run_resumed")[0][1]["by"]
        self.why("is in process", f"which took it up by {user} on ", 'Task "long" runs attempt 1',
                 "another process went on with the run, by")
        self.end(run)

    # Not at work

    def test_it_is_paused(self):
        run = self.train()
        self.wait_for_log("wrote", 3)
        self.choline("pause", run)
        step = self.events(run, "pause_secured")[0][1]["step"]
        by = self.events(run, "paused")[0][1]["by"]
        self.assertIn(" on ", by)
        self.why(f"Run {run} is paused since ", f"by {by}; it costs nothing now, and cost $0.0",
                 f"`choline resume {run}` rents again and goes on: task \"train\" from checkpoint",
                 f"(step {step:g})", f"was paused by {by}", absent=("live instance", "Attempt 1"))

    def test_its_policy_has_paused_it(self):
        run = self.begin("""task "train" { on = box, run = "echo out of luck; exit 3",
          retry = function(failure, history) return pause() end }""")
        self.wait_until(lambda: self.state(run)["state"] == "paused", "the pause")
        self.why("is paused since", 'as the policy of task "train" said', "it costs nothing now",
                 "Attempt 1 ended as crashed", "out of luck", "pause, and stop paying",
                 'task "train" with a new attempt')
        self.choline("stop", run)

    def test_it_is_stopped(self):
        run = self.begin(LONG)
        self.wait_for_log("begun")
        self.choline("stop", run)
        by = self.events(run, "run_stopped")[0][1]["by"]
        self.assertIn(" on ", by)
        self.why(f"Run {run} was stopped by {by} at ", "it cost $0.0",
                 "no checkpoint of it is here", absent=("live instance", "Task"))

    def test_it_is_stopped_when_nobody_owns_it(self):
        run = self.begin(LONG)
        self.wait_for_log("begun")
        self.kill_owner(run)
        self.choline("stop", run)
        self.why(f"Run {run} was stopped by ", " on ", absent=("live instance",))

    def test_it_has_failed(self):
        self.cholfile(BOX % ("", "") + """
task "train" { on = box, run = "echo step 1; echo 'no data in /data' >&2; exit 3",
  retry = retry { max = 1 } }
task "after" { on = box, after = "train", run = "true" }""")
        self.choline("run", code=1)
        [run] = [each["id"] for each in self.runs()]
        self.why(f"Run {run} failed at ", "\"train\" failed after 2 attempts (crashed, exit 3): ",
                 'Its last words were "no data in /data".',
                 "The policy said: give up, as crashed 2 times; retry allows 1 more attempt",
                 f"`choline logs {run} train` shows all of it",
                 '"after" was skipped, because "train" failed', absent=("live instance",))

    def test_its_pipeline_has_failed(self):
        self.cholfile(BOX % ("", "") + """
pipeline "sweep" (function()
  local one <close> = box:acquire()
  one:run "echo 'no data in /data' >&2; exit 4"
end)""")
        self.choline("run", code=1)
        self.why("failed at ", 'Pipeline "sweep" failed (crashed): the command ended with exit 4',
                 'Its last words were "no data in /data".', '"sweep" failed for good: the command')

    def test_it_was_interrupted(self):
        run = self.begin(LONG, more=', lease = "1h"')
        self.wait_for_log("begun")
        pid = self.state(run)["owner"]["pid"]
        self.kill_owner(run)
        self.why(f"Run {run} was interrupted: process {pid} on ", "is gone, and no process owns it",
                 "The last thing it recorded is of", f"`choline resume {run}` goes on",
                 f"`choline stop {run}` ends it", 'Task "long" was at attempt 1 on box',
                 "its command was not touched", 'Its last words were "begun"',
                 "1 live instance (box) at $0.50/h", "Instance box ends itself by")
        self.end(run)

    def test_its_budget_has_ended_it(self):
        self.cholfile('budget "$0.0086"\n' + BOX % ("", "") + LONG)
        self.choline("run", code=None)
        [run] = [each["id"] for each in self.runs()]
        self.why(f"Run {run} was ended by its budget at ", "of the budget of $0.0086 are spent",
                 "--budget", absent=("live instance",))

    def test_its_instance_has_ended_itself(self):
        run = self.begin(LONG, more=', lease = "1s"')
        self.wait_for_log("begun")
        self.kill_owner(run)
        self.wait_until(lambda: "over" in self.choline("instances").out, "the end of the lease")
        self.why("was interrupted", "Instance box has heard nothing for its lease",
                 "has ended itself", "its command has ended with its instance",
                 absent=("goes on there", "live instance"))
        self.choline("stop", run)

    def test_its_record_does_not_fit(self):
        self.replays = False
        run = self.begin(LONG)
        self.wait_for_log("begun")
        self.kill_owner(run)
        path = self.home / ".local/state/choline/store.db"
        with sqlite3.connect(path) as db:
            db.execute("UPDATE step SET verb = 'transfer.sync' WHERE verb = 'instance.start'")
        db.close()
        self.choline("resume", run, "--plain", code=8)
        self.why(f"Run {run} is paused because it cannot go on as before (divergence): ",
                 "Its instances were not touched", f"`choline resume {run} --update --dry-run`",
                 f"`choline stop {run}` ends it", 'Task "long" was at attempt 1 on box',
                 "1 live instance (box) at $0.50/h")
        self.end(run)

    def test_for_a_program(self):
        self.cholfile(BOX % ("", "") + 'task "train" { on = box, run = "exit 3" }\n')
        self.choline("run", code=1)
        told = self.choline("why", "--json").json
        self.assertEqual(sorted(told), ["history", "id", "state", "why"])
        self.assertEqual(told["state"], "failed")
        for each in told["why"] + told["history"]:
            self.assertIsInstance(each, str)
        self.assertEqual(told["why"] + [""] + ["What happened:"],
                         self.choline("why").out.splitlines()[:len(told["why"]) + 2])
