"""Measures transfers against every tool found here: `bench_transfer.py BUILD [OPTION ...]`.

Both ends are on this computer, with a real sshd between them, once by loopback and once through a
line with 50 ms of round trip (tests/proxy). The tools take turns; each result is compared with what
was to move, and a tool that did not do its work has failed.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import page
import transfer_data
import transfer_peers
from transfer_peers import Choline, Failed, Line, far_place

from proxy import Proxy  # tests/cases, which transfer_peers has put into the path
from sshd import Sshd

SPACE = 12 << 30  # bytes that the trees and their copies take
SLOW = 1.6  # times the best tool: one that takes longer is measured once
# A workload, a line, and goals: over the best tool, over it by a link that is open, over rsync.
ROWS = (
    ("bulk", "near", {"best": 1.0}),
    ("small", "near", {"best": 1.4, "rsync": 2.0}),
    ("mixed", "near", {"best": 1.0}),
    ("changed", "near", {"best": 1.8}),
    ("in-place", "near", {"best": 1.8}),
    ("inserted", "near", {"best": 1.4}),
    ("nothing", "near", {"best": 2.0}),
    ("far-bulk", "far", {"best": 1.0}),
    ("small", "far", {"best": 1.25}),
    ("changed", "far", {"best": 2.0, "warm": 2.4}),
    ("in-place", "far", {"best": 1.4}),
    ("inserted", "far", {"best": 1.6}),
    ("nothing", "far", {"best": 3.0, "warm": 4.5}),
)
TITLE = "Transfers"
OPENING = """Written by `scripts/bench transfer{words}`, {rounds} {s}, in {minutes:.0f} minutes.

Seconds, medians; a ratio is the best other tool's time over choline's, so more than 1 is faster.
*Warm* is a transfer over a link that is open already, next to the best of all tools; the others are
not measured against `rsync shared`, which has an open connection too. `cp` is here as the floor,
and does not count as a tool; one that took more than {slow} times as long as the best was measured
once. Each tool's result was compared with what was to move.

"""


def say(text):
    print(text, flush=True)


class Bench:
    def __init__(self, options, folder):
        self.options = options
        self.folder = folder
        self.root = folder / "root"
        self.root.mkdir()
        self.data = transfer_data.Data(self.root, options.quick)
        self.times = {}  # (row, line, way) -> {tool: [seconds]}
        self.failed = []
        self.closers = []

    def start(self, program):
        host = Sshd(self.folder / "host", "Subsystem sftp internal-sftp")
        self.closers.append(host.stop)
        far = Proxy(host.port, delay=25)
        self.closers.append(far.stop)
        keys = transfer_peers.Keys(host, self.folder)
        self.closers.append(keys.stop)
        self.lines = {"near": Line("near", "loopback", host, host.port, self.folder),
                      "far": Line("far", "50 ms", host, far.port, self.folder)}
        self.cholines = {}
        for name in {line for _, line, _ in self.chosen()}:
            line = self.lines[name]
            line.share(True)
            self.closers.append(lambda line=line: line.share(False))
            choline = self.cholines[name] = Choline(program, line, self.folder, keys)
            choline.meet()
            if any("warm" in goals for _, where, goals in self.chosen() if where == name):
                self.closers.append(choline.stop)
                self.hold_link(choline)

    def hold_link(self, choline):
        try:
            choline.start(self.root)
        except Failed as error:
            self.failed.append(str(error))
            choline.stop()
            choline.process = None

    def stop(self):
        for close in reversed(self.closers):
            close()

    def chosen(self):
        return [row for row in ROWS if self.options.rows is None or row[0] in self.options.rows
                if self.options.line in (None, row[1])]

    def tools(self, row, line, goals, way):
        """By name: a function that moves the tree and gives the seconds it took."""
        work = transfer_data.WORKLOADS[row]
        source, target = self.data.tree(work.tree), self.root / "target"
        choline, place = self.cholines[line], self.lines[line]
        found = {"choline": lambda: choline.cold(way, source, target)}
        if "warm" in goals:
            ends = (source, far_place(target, self.root)) if way == "up" else (
                far_place(source, self.root), target)
            found["choline warm"] = lambda: choline.warm(way, *ends)
        for peer in transfer_peers.PEERS:
            if peer.fits(row, line):
                found[peer.name] = (lambda each=peer: each.measure(place, way, source, target))
        return found

    def measure(self, row, line, goals, way):
        work = transfer_data.WORKLOADS[row]
        target = self.root / "target"
        tools = self.tools(row, line, goals, way)
        times = self.times[row, line, way] = {}
        began = time.monotonic()
        for number in range(self.options.rounds):
            names = list(tools)
            for name in names[number % len(names):] + names[:number % len(names)]:
                if number and self.too_slow(name, times):
                    continue
                self.measure_one(work, name, tools[name], times)
        shutil.rmtree(target, ignore_errors=True)
        medians = ", ".join(f"{name} {self.median(times, name):.2f}" for name in times)
        say(f"{work.title}, {self.lines[line].title}, {way}: {medians} "
            f"({time.monotonic() - began:.0f} s)")

    def measure_one(self, work, name, move, times):
        target = self.root / "target"
        work.reset(self.data, target)
        try:
            took = move()
            wrong = work.check(self.data, target)
            if wrong:
                raise Failed(f"{name} left a difference: {wrong}")
            times.setdefault(name, []).append(took)
        except (Failed, subprocess.TimeoutExpired) as error:
            self.failed.append(f"{work.name}: {error}")
            say(f"   {self.failed[-1]}")
            shutil.rmtree(target, ignore_errors=True)

    def too_slow(self, name, times):
        if name not in times:
            return True
        best = self.best(times)
        return not name.startswith("choline") and best and times[name][0] > SLOW * best[1]

    def median(self, times, name):
        return statistics.median(times[name]) if name in times else float("nan")

    def best(self, times, warm=False):
        """The best other tool; one with an open connection only counts against one."""
        found = [(peer.name, self.median(times, peer.name)) for peer in transfer_peers.PEERS
                 if peer.name in times and not peer.floor and (warm or not peer.warm)]
        return min(found, key=lambda each: each[1]) if found else None

    def run(self):
        end = time.monotonic() + self.options.minutes * 60
        for row, line, goals in self.chosen():
            for way in ("up", "down"):
                if self.options.way not in (None, way):
                    continue
                if time.monotonic() > end:
                    self.failed.append(f"{row}, {line}, {way}: no time was left for it")
                    continue
                self.measure(row, line, goals, way)

    def judge(self, row, line, way, times):
        """(who, seconds, against, ratio, goal) for each goal of a row."""
        goals = next(goals for name, where, goals in ROWS if (name, where) == (row, line))
        for goal, wanted in goals.items():
            own = "choline warm" if goal == "warm" else "choline"
            against = self.best(times, warm=goal == "warm")
            if goal == "rsync":
                against = ("rsync", self.median(times, "rsync")) if "rsync" in times else None
            if own in times and against:
                took = self.median(times, own)
                yield own, took, against, against[1] / took, wanted

    def table(self, minutes):
        words = "".join(f" {word}" for word in self.options.said)
        rounds = self.options.rounds
        out = OPENING.format(words=words, rounds=rounds, s="round" if rounds == 1 else "rounds",
                             minutes=minutes, slow=SLOW)
        out += f"Measured on {page.computer()}.\n\n"
        out += "| what | line | way | choline | best other | ratio | goal | all others |\n"
        out += "|---|---|---|---|---|---|---|---|\n"
        for (row, line, way), times in self.times.items():
            others = ", ".join(f"{name} {self.median(times, name):.2f}" for name in times
                               if not name.startswith("choline"))
            for own, took, (name, theirs), ratio, wanted in self.judge(row, line, way, times):
                title = transfer_data.WORKLOADS[row].title + own.removeprefix("choline").replace(
                    " warm", ", *warm*")
                sign = "✓" if ratio >= wanted else "✗"
                out += (f"| {title} | {self.lines[line].title} | {way} | {took:.2f} | {name} "
                        f"{theirs:.2f} | {ratio:.2f} | ≥ {wanted:g} {sign} | {others} |\n")
                others = ""
        if self.failed:
            out += "\nFailed or left out: " + "; ".join(
                failure.splitlines()[0].replace(str(self.folder), "…") for failure in self.failed)
            out += ".\n"
        return out

    def json(self):
        return json.dumps([
            {"row": row, "line": line, "way": way, "seconds": times, "goals": [
                {"of": own, "over": name, "ratio": round(ratio, 3), "at_least": wanted}
                for own, _, (name, _), ratio, wanted in self.judge(row, line, way, times)]}
            for (row, line, way), times in self.times.items()], indent=1) + "\n"


def read_arguments():
    parser = argparse.ArgumentParser(
        prog="scripts/bench transfer",
        epilog="example: scripts/bench transfer --rows small,nothing",
        description="Measures transfers against every tool found here, and writes the section "
                    f"\"{TITLE}\" of docs/benchmarks.md. Takes about 25 minutes, and 12 GB of "
                    "TMPDIR.")
    parser.add_argument("build", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--rows", type=lambda text: text.split(","), metavar="A,B",
                        help="only these: " + ", ".join(dict.fromkeys(row[0] for row in ROWS)))
    parser.add_argument("--line", choices=("near", "far"), help="only by loopback, or with 50 ms")
    parser.add_argument("--way", choices=("up", "down"), help="only there, or back")
    parser.add_argument("--rounds", type=int, default=3, help="how often each tool is measured (3)")
    parser.add_argument("--minutes", type=float, default=33,
                        help="begin no row after so many (33)")
    parser.add_argument("--quick", action="store_true",
                        help="small trees: a trial that everything works; no page")
    parser.add_argument("--dry", action="store_true", help="only print")
    parser.add_argument("--json", type=pathlib.Path, metavar="FILE", help="also write all times")
    options = parser.parse_args()
    options.said = sys.argv[2:]
    unknown = set(options.rows or ()) - {row[0] for row in ROWS}
    if unknown:
        parser.error(f"no row \"{unknown.pop()}\"")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def main():
    options = read_arguments()
    build = options.build.resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="choline-transfer-")).resolve()
    free = shutil.disk_usage(folder).free
    if not options.quick and free < SPACE:
        folder.rmdir()
        say(f"{folder.parent} has {free >> 30} GiB free; the trees take {SPACE >> 30}: set TMPDIR")
        return 2
    began = time.monotonic()
    bench = Bench(options, folder)
    try:
        bench.start(build / "choline")
        bench.run()
    except Failed as error:
        bench.failed.append(str(error))
    except KeyboardInterrupt:
        bench.failed.append("interrupted")
    finally:
        bench.stop()
        shutil.rmtree(folder, ignore_errors=True)
    table = bench.table((time.monotonic() - began) / 60)
    say("\n" + table)
    if options.json:
        options.json.write_text(bench.json())
    if not options.dry and not options.quick and bench.times:
        page.write_section(TITLE, table)
    for failure in bench.failed:
        say(f"failed: {failure}")
    return 1 if bench.failed else 0


if __name__ == "__main__":
    os.environ["CHOLINE_BUILD"] = os.environ.get("CHOLINE_BUILD", sys.argv[1])
    sys.exit(main())
