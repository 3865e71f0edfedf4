"""Runs the fuzzers of a build made with -DCHOLINE_FUZZ=ON, each for its share of the time: first
all inputs that are kept in corpus/, then new ones. A crash, a leak, a hang or more memory than the
bound is a failure, and the input is kept.

    python3 tests/fuzz/run.py build/fuzz [--seconds 24] [-k NAME] [--keep]
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

HERE = pathlib.Path(__file__).resolve().parent
JOBS = os.cpu_count() or 2
MEMORY = 768  # MiB, the sanitizer's shadow included


def words_for(name):
    own = HERE / f"{name}.dict"
    return own if own.exists() else HERE / "protocol.dict"


class Fuzzer:
    def __init__(self, program, build):
        self.program = program
        self.name = program.name.removeprefix("fuzz_")
        self.kept = HERE / "corpus" / self.name
        self.found = build / "found" / self.name  # what earlier runs here have met
        self.crashes = build / "crashes"
        for folder in (self.found, self.crashes):
            folder.mkdir(parents=True, exist_ok=True)

    def command(self, *more):
        folders = [self.found, *([self.kept] if self.kept.exists() else [])]
        return [self.program, f"-artifact_prefix={self.crashes}/{self.name}-",
                f"-rss_limit_mb={MEMORY}", "-malloc_limit_mb=256", "-timeout=20", *more, *folders]

    def run(self, seconds):
        """Problem or None, how many inputs were tried, and what it printed."""
        limits = (f"-max_total_time={max(1, int(seconds))}", "-max_len=4096",
                  f"-dict={words_for(self.name)}", "-print_final_stats=1", "-verbosity=1")
        try:
            done = subprocess.run(self.command(*limits), stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, errors="replace",
                                  timeout=seconds + 240)
        except subprocess.TimeoutExpired:
            return "has not ended", 0, ""
        tried = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
        count = int(tried.group(1)) if tried else 0
        if done.returncode != 0:
            return f"exit {done.returncode}", count, done.stderr
        if count < 100:
            return f"only {count} inputs were tried", count, done.stderr
        return None, count, done.stderr

    def keep(self):
        """A small set of inputs that reaches all code that is known to be reachable."""
        fresh = self.kept.with_name(self.name + ".fresh")
        fresh.mkdir(parents=True)
        sources = [self.found, *([self.kept] if self.kept.exists() else [])]
        merge = [self.program, "-merge=1", "-use_counters=0", fresh, *sources]
        subprocess.run(merge, check=True, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.kept, ignore_errors=True)
        fresh.rename(self.kept)


def run_one(fuzzer, seconds):
    began = time.monotonic()
    problem, count, output = fuzzer.run(seconds)
    took = time.monotonic() - began
    print(f"{fuzzer.name}: {count} inputs in {took:.1f} s" + (f", {problem}" if problem else ""),
          flush=True)
    if problem:
        print("\n".join(output.splitlines()[-60:]))
        for crash in sorted(fuzzer.crashes.glob(f"{fuzzer.name}-*")):
            print(f"to see it again: {fuzzer.program} {crash}")
            print(f"{crash.name}: {crash.read_bytes()!r}")
    return problem is None


def main():
    parser = argparse.ArgumentParser(prog="tests/fuzz/run.py", description=__doc__)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--seconds", type=float, default=24, help="of all fuzzers together")
    parser.add_argument("-k", metavar="NAME", default="", help="only those whose name has this")
    parser.add_argument("--keep", action="store_true", help="update corpus/ afterwards")
    options = parser.parse_args()
    build = options.build.resolve()
    expected = sorted(path.stem for path in HERE.glob("fuzz_*.cc") if options.k in path.stem)
    missing = [name for name in expected if not (build / "fuzzers" / name).exists()]
    for name in missing:
        print(f"{name} was not built")
    fuzzers = [Fuzzer(build / "fuzzers" / name, build) for name in expected if name not in missing]
    share = options.seconds / max(1, len(fuzzers))
    with ThreadPoolExecutor(JOBS) as pool:
        good = sum(pool.map(lambda fuzzer: run_one(fuzzer, share), fuzzers))
    if options.keep and good == len(fuzzers):
        for fuzzer in fuzzers:
            fuzzer.keep()
    print(f"{good} passed, {len(expected) - good} failed")
    return 0 if expected and good == len(expected) else 1


if __name__ == "__main__":
    sys.exit(main())
