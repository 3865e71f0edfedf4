#!/usr/bin/env python3
"""Kills the real choline at its crash points, one by one and in pairs, and lets a later process
finish the run. Every trial has a home of its own, real files, real processes and the local
provider, whose own bill is the oracle. Ends with `N passed, N failed`.

usage: kill_sweep.py BUILD [--seconds S | --every | --full] [--seed N] [--workers N]
       kill_sweep.py BUILD --only N[,N...]

As many points as fit into --seconds are tried, in an order given by the seed that is printed; with
--every all of them. `--only 17` or `--only 17,4` does one trial again and says what it saw.
"""

import argparse
import json
import math
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "support"))
import processes

PATIENCE = 120 * float(os.environ.get("CHOLINE_TEST_SLOW", "1"))  # seconds until it counts as hung
PAIRS = 0.4     # the part of the trials of a sample that are killed twice
PRICE = 0.25    # USD a second: a wrong account is seen at once
INSTANCES = 5   # that the cholfile rents, exactly
COMMANDS = ["prep", "train", "eval", "first", "point-1", "point-2"]  # that it starts, each once

CHOLFILE = """
param "epochs" { default = 6 }

local box  = instance "box"  { from = { here { price = "$900/h" } } }
local side = instance "side" { from = { here { price = "$900/h" } } }

sync "code"        { from = "./code", to = "box:/work" }
sync "side-code"   { from = "./code", to = "side:/work" }
sync "checkpoints" { from = "box:/work/checkpoints", to = "./checkpoints", every = "1s" }
sync "results"     { from = "side:/work/out", to = "./results" }

task "prep" { on = box, run = "sh note.sh prep; echo prepared" }

task "train" {
  on      = box,
  after   = "prep",
  run     = "sh train.sh {epochs} 0",
  resume  = { from = "checkpoints", run = "sh train.sh {epochs} {checkpoint}" },
  metrics = { loss = { pattern = "loss=(%S+)", step = "epoch=(%d+)", goal = "min" } },
  retry   = retry { max = 2, on = { "crashed" }, wait = "1s" },
}

task "eval" { on = side, run = "sh note.sh eval; mkdir -p out; echo good > out/eval.txt" }

pipeline "sweep" (function()
  do
    local one <close> = side:acquire()
    one:push("code", "/work")
    one:run("sh note.sh first; mkdir -p out; echo one > out/first.txt")
    one:pull("/work/out", "pulled")
  end
  local scores = parallel { point = { 1, 2 } } (function(at)
    local one <close> = side:acquire()
    one:push("code", "/work")
    return one:run({ "sh", "point.sh", at.point },
      { metrics = { score = { pattern = "score=(%S+)", goal = "max" } } }).metrics.score.best
  end)
  log.info("best is point %s", best(scores).point.point)
end)
"""

SCRIPTS = {
    # One line, one write: a start that is done twice is two lines.
    "note.sh": 'echo "$1 $$" >> "%(outside)s/started"\n',
    "train.sh": """sh note.sh train
mkdir -p checkpoints
epoch=0
while [ $epoch -lt $1 ]; do
  epoch=$((epoch + 1))
  sleep 0.2
  echo "weights of epoch $epoch" > checkpoints/.aside
  mv checkpoints/.aside checkpoints/epoch-$epoch.txt
  echo "epoch=$epoch loss=$((100 - epoch))"
done
""",
    "point.sh": 'sh note.sh point-$1\nsleep 0.2\necho "score=$1.5"\n',
}


class Fault(Exception):
    """An oracle that was not satisfied."""


class Trial:
    """One run of the cholfile in a sandbox of its own, killed at `points` one after the other."""

    def __init__(self, choline, points=(), count=False, again="resume"):
        self.choline, self.points, self.again = choline, list(points), again
        self.sandbox = pathlib.Path(tempfile.mkdtemp(prefix="choline-sweep-")).resolve()
        self.home, self.work = self.sandbox / "home", self.sandbox / "work"
        self.outside, self.counter = self.sandbox / "outside", self.sandbox / "passed"
        self.counts, self.killed, self.story = count, 0, []
        for folder in (self.home, self.work / "code", self.outside):
            folder.mkdir(parents=True)
        (self.work / "Cholfile.lua").write_text(CHOLFILE)
        for name, text in SCRIPTS.items():
            (self.work / "code" / name).write_text(
                text % {"outside": self.outside} if name == "note.sh" else text)

    def environment(self, **more):
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"), "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CACHE_HOME": str(self.home / "cache"), "LC_ALL": "C.UTF-8", "TZ": "UTC",
            **{name: value for name, value in os.environ.items()
               if name.startswith(("CHOLINE_LUA_", "CHOLINE_STDLIB", "CHOLINE_TEST_MARK",
                                   "ASAN_"))},
            **more}

    def do(self, *words, expect=(0,), **environment):
        began = time.monotonic()
        try:
            done = subprocess.run(
                [str(self.choline), *words], cwd=self.work, env=self.environment(**environment),
                stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=PATIENCE)
            code, out, err = done.returncode, done.stdout, done.stderr
        except subprocess.TimeoutExpired as late:
            code, out, err = "hung", str(late.stdout or ""), str(late.stderr or "")
        took = time.monotonic() - began
        told = f"$ choline {' '.join(words)}  # exit {code} after {took:.1f} s"
        self.story.append(f"{told}\n{out}{err}")
        if code not in expect:
            raise Fault(f"choline {' '.join(words)}: exit {code}")
        return code, out

    def row(self):
        listed = json.loads(self.do("ls", "--json")[1])
        if len(listed) > 1:
            raise Fault(f"{len(listed)} runs instead of one")
        return listed[0] if listed else {}

    def run_id(self):
        return self.row().get("id")

    def execute(self):
        """Until it ends well, being killed at each of the points on the way."""
        for place, point in enumerate([*self.points, None]):
            row = self.row() if place else {}
            run = row.get("id")
            if row.get("state") == "done":
                return  # it was killed after the end: nothing is left to go on with
            resumes = run and self.again == "resume"
            words = ["resume", run, "--plain"] if resumes else ["run", "--plain"]
            more = {"CHOLINE_CRASH_AT": str(point)} if point else {}
            if self.counts:
                more["CHOLINE_CRASH_COUNT"] = str(self.counter)
            code, _ = self.do(*words, expect=(0, -signal.SIGKILL) if point else (0,), **more)
            if code == 0:
                return
            self.killed += 1

    def passed_points(self):
        return int(self.counter.read_text().split()[0])

    def check(self):
        """Everything that must hold after the end; gives what is to be the same in all trials."""
        self.do("gc")
        run = self.run_id()
        row = json.loads(self.do("status", run, "--json")[1])
        self.check_commands()
        self.check_account()
        self.check_processes()
        logs = {name: self.do("logs", run, name)[1] for name in ("prep", "train", "eval")}
        files = {str(path.relative_to(self.work)): path.read_text()
                 for name in ("checkpoints", "results", "pulled")
                 for path in sorted((self.work / name).rglob("*")) if path.is_file()}
        if find(row, "state") != "done":
            raise Fault(f"the run is {find(row, 'state')}")
        return {"logs": logs, "files": files}

    def check_commands(self):
        started = [line.split()[0] for line in (self.outside / "started").read_text().splitlines()]
        if sorted(started) != sorted(COMMANDS):
            raise Fault(f"commands started: {sorted(started)}, expected {sorted(COMMANDS)}")

    def check_account(self):
        lines = (self.home / "state/choline/local/bill.jsonl").read_text().splitlines()
        bill = {}
        for each in map(json.loads, lines):  # the first that tells its end counts
            if "ended" not in bill.get(each["id"], {}):
                bill[each["id"]] = each
        ledger = json.loads(self.do("instances", "--all", "--json")[1])
        alive = [each for each in ledger if each["state"] not in ("gone", "void")]
        if alive:
            raise Fault(f"the ledger has instances that live: {alive}")
        if len(bill) != INSTANCES or not all(each.get("ended") for each in bill.values()):
            raise Fault(f"the bill has {len(bill)} instances, expected {INSTANCES}, ended: {bill}")
        left = list((self.home / "state/choline/local/instances").glob("*"))
        if left:
            raise Fault(f"the provider still has {len(left)} instances")
        owed = sum(each["usd"] for each in bill.values())
        spent = sum(each["cost"] for each in ledger)
        self.story.append(f"bill ${owed:.4f}, ledger ${spent:.4f}")
        # The ledger closes when the end is proved: later than the provider's book, never earlier.
        self.difference = (spent - owed) / PRICE
        if not -0.5 < self.difference < INSTANCES * (0.5 + self.killed):
            raise Fault(f"ledger and bill differ by {self.difference:.2f} s")

    def check_processes(self):
        left = processes.wait_until_gone(lambda: processes.below(self.sandbox), 10)
        if left:
            raise Fault(f"processes are left: {', '.join(map(str, left))}")

    def close(self, keep=False):
        for each in processes.below(self.sandbox):
            each.kill()
        if not keep:
            shutil.rmtree(self.sandbox, ignore_errors=True)


def find(value, name):
    """The field `name` of the row, or of the row's `run`."""
    return value.get(name) or value.get("run", {}).get(name)


class Sweep:
    def __init__(self, options):
        self.options = options
        self.choline = pathlib.Path(options.build).resolve() / "choline"
        self.lock = threading.Lock()
        self.passed, self.failed, self.killed, self.differences = 0, [], 0, []
        is_sample = not (options.every or options.full or options.only)
        self.ends = time.monotonic() + options.seconds if is_sample else math.inf

    def baseline(self):
        trial = Trial(self.choline, count=True)
        try:
            trial.execute()
            self.expected = trial.check()
            return trial.passed_points()
        except Fault as fault:
            sys.exit(f"the uninterrupted run is not right: {fault}\n" + "\n".join(trial.story)
                     + "\n0 passed, 1 failed")
        finally:
            trial.close()

    def chosen(self, count):
        """The trials, each a tuple of points."""
        options = self.options
        if options.only:
            return [tuple(int(point) for point in options.only.split(","))]
        singles = [(point,) for point in range(1, count + 1)]
        dice = random.Random(options.seed)
        if options.full:
            pairs = [(dice.randint(1, count), dice.randint(1, count)) for _ in range(3 * count)]
            return singles + pairs
        dice.shuffle(singles)
        mixed = []
        for single in singles:
            mixed.append(single)
            if dice.random() < PAIRS:
                mixed.append((dice.randint(1, count), dice.randint(1, count)))
        return mixed

    def one(self, number, points):
        if time.monotonic() > self.ends:
            return
        trial = Trial(self.choline, points, again="run" if number % 3 == 0 else "resume")
        why = None
        try:
            trial.execute()
            seen = trial.check()
            if seen != self.expected:
                why = f"the results differ:\n{seen}\n{self.expected}"
        except Fault as fault:
            why = str(fault)
        except Exception as fault:  # a file that is not there is a fault as well
            why = f"{type(fault).__name__}: {fault}"
        trial.close(keep=why is not None and self.options.keep)
        with self.lock:
            self.killed += trial.killed
            self.differences.append(getattr(trial, "difference", 0.0))
            if why is None:
                self.passed += 1
            else:
                name = ",".join(map(str, points))
                self.failed.append(name)
                print(f"-- failed: --only {name}: {why}\n" + "\n".join(trial.story), flush=True)
            if self.options.only:
                print("\n".join(trial.story), flush=True)

    def go(self):
        count = self.baseline()
        trials = self.chosen(count)
        print(f"seed {self.options.seed}: {count} crash points, {len(trials)} trials chosen",
              flush=True)
        with ThreadPoolExecutor(self.options.workers) as pool:
            for each in [pool.submit(self.one, *entry) for entry in enumerate(trials)]:
                each.result()
        worst = max(self.differences, default=0.0, key=abs)
        print(f"{self.passed + len(self.failed)} trials, {self.killed} kills; "
              f"ledger and bill differ by {worst:.2f} s of one instance at most")
        print(f"{self.passed} passed, {len(self.failed)} failed")
        return 1 if self.failed or not self.passed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("build", help="the folder with choline and its agent")
    parser.add_argument("--seconds", type=float, default=200, help="when no new trial is begun")
    parser.add_argument("--every", action="store_true",
                        help="every point, and pairs for some, however long it takes")
    parser.add_argument("--full", action="store_true",
                        help="every point, and three times as many pairs")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randint(1, 999999))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", help="one trial: the points of its processes, by commas")
    parser.add_argument("--keep", action="store_true", help="leave the folders of failed trials")
    return Sweep(parser.parse_args()).go()


if __name__ == "__main__":
    sys.exit(main())
