"""A training for cases, which behaves in every way that trainings do."""

import json
import os
import signal
import sqlite3

from harness import Case

# Counts steps. How it writes checkpoints is in MODE; a step takes a moment, so that whoever waits
# for one can act before the next.
TRAIN = r"""
import json, os, signal, sys, time

mode = os.environ.get("MODE", "each")
step = 0
if "--resume" in sys.argv:
    step = json.load(open(sys.argv[sys.argv.index("--resume") + 1]))["step"]
    print("resumed from", step, flush=True)
told = []

def on_signal(number, frame):
    told.append(number)
    print("told %d at %.6f" % (number, time.time()), flush=True)

if mode == "deaf":
    for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
elif mode != "plain":
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1): signal.signal(number, on_signal)

def save():
    os.makedirs("ckpt", exist_ok=True)
    name = "ckpt/step-%04d.json" % step
    with open(name + ".part", "w") as file:
        json.dump({"step": step, "fill": "x" * 5000}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(name + ".part", name)
    print("wrote", step, flush=True)

print("epochs", os.environ.get("EPOCHS"), flush=True)
last = int(os.environ.get("LAST", "100000"))
while step < last:
    step += 1
    time.sleep(0.05)
    print("step", step, flush=True)
    if mode in ("each", "deaf-each"): save()
    if told and mode == "each": sys.exit(0)
    if told and mode == "late":
        time.sleep(0.5)
        save()
        sys.exit(0)
    if told and mode == "usr1":
        told.clear()
        save()
if mode == "each": save()
print("all done", flush=True)
"""

FILE = """
param "epochs" { default = 5 }
local box = instance "box" { from = { here { price = "$0.10/h" } } }
sync "code" { from = ".", to = "box:/work", exclude = { "ckpt/", "here/" } }
sync "ckpt" { from = "box:/work/ckpt", to = "./here", every = "200ms"%(sync)s }
task "train" {
  on = box, run = "exec python3 train.py", env = { MODE = "%(mode)s", LAST = "%(last)s",
    EPOCHS = "{epochs}" },
  resume = { from = "ckpt", run = "exec python3 train.py --resume {checkpoint}" },
  grace = "%(grace)s"%(task)s,
}
%(more)s
"""


class Training(Case):
    def train(self, mode="each", grace="20s", last=100000, sync="", task="", more="", run=True):
        self.write("train.py", TRAIN)
        self.cholfile(FILE % dict(mode=mode, grace=grace, last=last, sync=sync, task=task,
                                  more=more))
        return self.choline("run", "--detach").out.strip() if run else None

    def log(self):
        return self.choline("logs", code=None).out

    def wait_for_log(self, text, count=1):
        self.wait_until(lambda: self.log().count(text) >= count, f"{count} times \"{text}\"")

    def database(self):
        path = self.home / ".local/state/choline/store.db"
        return sqlite3.connect(f"file:{path}?mode=ro", uri=True)

    def events(self, run, *kinds):
        with self.database() as database:
            rows = database.execute("select kind, data from event where run = ? order by id",
                                    (run,)).fetchall()
        return [(kind, json.loads(data)) for kind, data in rows if not kinds or kind in kinds]

    def wait_for_event(self, run, kind):
        self.wait_until(lambda: self.events(run, kind), kind)
        return self.events(run, kind)[-1][1]

    def state(self, run):
        return next(each for each in self.runs() if each["id"] == run)

    def kill_owner(self, run):
        pid = self.state(run)["owner"]["pid"]
        os.kill(pid, signal.SIGKILL)
        self.wait_until(lambda: self.state(run)["owner"] is None, "the owner's end")

    def let_it_end(self, run):
        """The run goes on in the background, is seen to work, and is stopped."""
        self.choline("stop", run)
        self.assert_nothing_lives()
