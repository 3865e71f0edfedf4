"""Conditions: tasks that end by what their training prints or does not say, whatever dies."""

from training import Training

# Prints what a script says: accuracies, one a step, from the step that it goes on from; then it
# waits. Told to end, it writes a checkpoint and goes.
TRAIN = r"""
import json, os, signal, sys, time

step = 0
if "--resume" in sys.argv:
    step = json.load(open(sys.argv[sys.argv.index("--resume") + 1]))["step"]
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))

def save():
    os.makedirs("ckpt", exist_ok=True)
    name = "ckpt/step-%04d.json" % step
    with open(name + ".part", "w") as file: json.dump({"step": step}, file)
    os.replace(name + ".part", name)

def wait(seconds):
    end = time.time() + seconds
    while time.time() < end:
        time.sleep(0.02)
        if told:
            time.sleep(float(os.environ.get("SLOW", "0")))
            save()
            print("saved", step, flush=True)
            sys.exit(3)

plan = os.environ["PLAN"].split()
while step < len(plan):
    step += 1
    word = plan[step - 1]
    if word == "hang": wait(1000)
    if word == "nan" and "--resume" in sys.argv: word = "0.5"
    print("step", step, "acc=" + word, flush=True)
    if word == "save" or step % 5 == 0: save()
    wait(0.05)
    while word == "hold" and not os.path.exists(os.environ["GO"]): wait(0.05)
wait(1000)
"""

FILE = """
local box = instance "box" { from = { here { price = "$0.10/h" } } }
sync "code" { from = ".", to = "box:/work", exclude = { "ckpt/", "here/" } }
sync "ckpt" { from = "box:/work/ckpt", to = "./here", every = "200ms" }
task "train" {
  on = box, run = "exec python3 train.py", env = { PLAN = "%(plan)s", SLOW = "%(slow)s",
    GO = "%(go)s" },
  resume = { from = "ckpt", run = "exec python3 train.py --resume {checkpoint}" },
  metrics = { acc = "acc=(%%S+)" }, grace = "20s",
  %(task)s,
}
task "after" { on = box, after = "train", run = "echo afterwards" }
"""

FLAT = "0.1 0.5 0.9 " + "0.8 " * 40


class Conditions(Training):
    def file(self, task, plan=FLAT, slow="0"):
        self.write("train.py", TRAIN)
        self.go = self.sandbox / "go"
        self.cholfile(FILE % dict(task=task, plan=plan, slow=slow, go=self.go))

    def begin(self, *args, **more):
        self.file(*args, **more)
        return self.choline("run", "--detach").out.split()[0]

    def wait_for_end(self, run, state="done"):
        ends = ("done", "failed", "stopped")
        self.wait_until(lambda: self.state(run)["state"] in ends, "the end")
        self.assertEqual(self.state(run)["state"], state)
        self.assert_nothing_lives()

    def saved(self):
        return sorted(path.name for path in (self.work / "here").glob("step-*.json"))


class Stops(Conditions):
    def test_a_plateau_ends_the_task_well_with_its_last_checkpoint_and_what_comes_after(self):
        self.file('stop = when(metric "acc":plateau { over = 9 })')
        self.assert_says(self.choline("plan").out, 'stop when metric "acc":plateau { over = 9 }')
        ended = self.choline("run")
        run = ended.out.split()[0]
        self.assert_says(ended.out, "acc has had no better value than 0.9 (step 3) for 9 values; "
                         "the last is 0.8 at step 12; told by TERM to end, within 20s",
                         "train: done after ", ", ended by its condition", "after: done")
        [(_, met)] = self.events(run, "condition_met")
        self.assertEqual(met["facts"][0]["best"], 0.9)
        self.assertEqual(met["facts"][0]["step"], 12)
        self.assertGreaterEqual(self.saved()[-1], "step-0012.json")
        self.assertEqual(self.choline("logs", run).out.count("saved"), 1)
        self.assert_says(self.choline("why", run).out, 'Task "train" was ended early at',
                         "as its stop says: acc has had no better value than 0.9")
        self.assertEqual(self.events(run, "crashed"), [])
        self.assert_nothing_lives()

    def test_status_and_why_say_how_far_a_condition_is(self):
        run = self.begin('stop = when(metric "acc":plateau { over = 9 })', plan="0.1 0.5 0.4 hold")
        words = "acc has had no better value than 0.5 (step 2) for "
        self.wait_until(lambda: words in self.choline("status", run).out, "the condition")
        self.wait_until(lambda: "of 9 values" in self.choline("why", run).out, "why")
        self.assert_says(self.choline("why", run).out,
                         "It is ended early, and well, when this holds:",
                         'metric "acc":plateau { over = 9 }; now ' + words)
        [row] = self.choline("status", run, "--json").json["conditions"]
        self.assertEqual((row["task"], row["action"]), ("train", "stop"))
        self.let_it_end(run)

    def test_what_came_true_while_nobody_listened_ends_the_task_when_somebody_does(self):
        run = self.begin('stop = when(metric "acc":reaches(0.95))', plan="0.1 0.2 hold 0.97 0.3")
        self.wait_for_log("step 3")
        self.kill_owner(run)
        self.go.write_text("")
        self.choline("resume", run, "--detach")
        self.wait_for_end(run)
        [(_, met)] = self.events(run, "condition_met")
        self.assertEqual((met["facts"][0]["value"], met["facts"][0]["step"]), (0.97, 4))

    def test_a_process_that_dies_in_the_grace_is_followed_by_one_that_ends_it_once(self):
        run = self.begin('stop = when(metric "acc":plateau { over = 5 })', slow="3")
        self.wait_for_event(run, "condition_met")
        self.kill_owner(run)
        self.assert_says(self.choline("why", run).out, 'Task "train" had been told to end, as its '
                         "stop says: acc has had no better value")
        self.choline("resume", run, "--detach")
        self.wait_for_end(run)
        self.assertEqual(len(self.events(run, "condition_met")), 1)
        self.assertEqual(len(self.events(run, "attempt_started")), 2)  # train and after, once each
        self.assertEqual(self.log().count("saved"), 1)

    def test_a_crash_at_any_point_around_the_stop_neither_loses_it_nor_does_it_twice(self):
        self.file('stop = when(metric "acc":plateau { over = 5 })', slow="0.2")
        counted = self.sandbox / "points"
        self.choline("run", env={"CHOLINE_CRASH_COUNT": str(counted)})
        points = int(counted.read_text().split()[0])
        # The stop and its end are among the last third; a point that was not passed ends it well.
        for at in range(points - 32, points, 7):
            run = self.start("run", env={"CHOLINE_CRASH_AT": str(at)}).wait().out.split()[0]
            self.choline("resume", run, code=None)
            self.wait_for_end(run)
            self.assertEqual(len(self.events(run, "condition_met")), 1, f"point {at}")
            self.assertEqual(self.choline("logs", run).out.count("saved"), 1, f"point {at}")
            for path in (self.work / "here").glob("*"):
                path.unlink()

    def test_an_update_gives_a_command_that_runs_another_condition(self):
        run = self.begin('timeout = "1h"', plan="0.1 0.2 0.97 hold")
        self.wait_for_log("step 4")
        self.kill_owner(run)
        self.file('timeout = "1h", stop = when(metric "acc":reaches(0.95))',
                  plan="0.1 0.2 0.97 hold")
        self.choline("resume", run, "--update", "--yes", "--detach")
        self.wait_for_end(run)
        [(_, met)] = self.events(run, "condition_met")
        self.assertEqual(met["facts"][0]["step"], 3)
        self.assertEqual(len(self.events(run, "attempt_started")), 2)


class Fails(Conditions):
    def test_a_value_that_is_not_finite_fails_the_attempt_and_the_next_goes_on_before_it(self):
        run = self.begin('fail = when(metric "acc":not_finite()), stop = when(metric "acc":'
                         'plateau { over = 12 }), retry = retry { max = 1, wait = "100ms" }',
                         plan="0.1 0.2 0.9 0.3 0.3 0.3 nan " + "0.5 " * 40)
        self.wait_for_end(run)
        met = [data for _, data in self.events(run, "condition_met")]
        self.assertEqual([each["action"] for each in met], ["fail", "stop"])
        self.assert_says(met[0]["message"], "acc is NaN at step 7, which is no finite number")
        [(_, failed)] = self.events(run, "stalled")
        self.assert_says(failed["message"],
                         'task "train" was ended, as its condition says: acc is NaN')
        # The second attempt goes on from the checkpoint of the first's end, step 7 or later; what
        # was best before it still counts.
        self.assert_says(met[1]["message"], "no better value than 0.9 (step 3) for 12 values")
        self.assert_says(self.choline("why", run).out, "attempt 1 of \"train\" ended as stalled")
        self.check_curve(run)

    def check_curve(self, run):
        """Each step is on the curve once, by the last attempt that came there."""
        lines = self.choline("metrics", run, "acc", "--csv").out.splitlines()
        self.assertEqual(lines[0], "task,metric,attempt,step,value,time")
        rows = [line.split(",") for line in lines[1:]]
        first = [row for row in rows if row[2] == "1"]
        self.assertEqual([row[3] for row in rows], [str(step + 1) for step in range(len(rows))])
        self.assertEqual(first[6][3:5], ["7", "nan"])
        self.assertEqual({row[2] for row in rows[len(first):]}, {"2"})
        [curve] = self.choline("metrics", run, "--json").json
        self.assertEqual((curve["name"], curve["points"][6]["value"]), ("acc", "nan"))
        text = self.choline("metrics", run, "--prometheus").out
        labels = f'{{run="{run}",name="work",task="train",metric="acc"}}'
        self.assert_says(text, "# TYPE choline_run_metric gauge", labels + " 0.5",
                         f"choline_run_metric_step{labels} {len(rows)}")
        self.assert_says(self.choline("metrics", run).out, "train acc  0.5 at step ", "0.9 ┤")
        self.assert_says(self.choline("metrics", run, "ac", code=3).err, 'did you mean "acc"?')
        self.choline("metrics", run, "--csv", "--json", code=2)

    def test_silence_fails_the_attempt(self):
        run = self.begin('fail = when(stalled "2s"), retry = retry { max = 0 }',
                         plan="0.1 0.2 hang")
        self.wait_for_log("step 2")
        self.wait_for_end(run, "failed")
        [(_, met)] = self.events(run, "condition_met")
        self.assert_says(met["message"], "no output has come for 2")
        self.assertEqual(self.events(run, "failed")[0][1]["reason"], "stalled")
        self.assert_says(self.choline("why", run).out, "no output has come for")
