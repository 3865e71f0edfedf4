"""Runs the end-to-end cases: every `case_*.py` here, or the groups named.

    tests/cases/run.py [-j N] [GROUP ...] [-k PATTERN]

A group is a file without `case_`; the groups `examples` and `docs` run only when named, because
they have phases of their own. Ends with `N passed, N failed`.
"""

import argparse
import io
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest
from concurrent.futures import ThreadPoolExecutor

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
NAMED_ONLY = {"examples", "docs"}


def list_groups():
    return sorted(path.stem.removeprefix("case_") for path in FOLDER.glob("case_*.py"))


def flatten(suite):
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from flatten(each)
        else:
            yield each


def list_tests(group, pattern):
    loader = unittest.TestLoader()
    if pattern:
        loader.testNamePatterns = [f"*{pattern}*"]
    tests = list(flatten(loader.loadTestsFromName(f"case_{group}")))
    return [test.id() for test in tests]


def run_here(name):
    """Runs one test in this process; prints what failed."""
    report = io.StringIO()
    suite = unittest.TestLoader().loadTestsFromName(name)
    result = unittest.TextTestRunner(stream=report, verbosity=0).run(suite)
    good = result.wasSuccessful() and result.testsRun == 1 and not result.skipped
    if not good:
        print(report.getvalue())
    return 0 if good else 1


def run_apart(name):
    """Runs one test in a process of its own, so that no test waits for or touches another."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, __file__, "--one", name], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          errors="replace", cwd=FOLDER)
    return name, done.returncode, done.stdout, time.monotonic() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-j", type=int, default=max(2, os.cpu_count() or 2))
    parser.add_argument("-k", metavar="PATTERN", help="only tests whose name has this in it")
    parser.add_argument("--one", metavar="TEST", help=argparse.SUPPRESS)
    parser.add_argument("-v", action="store_true", help="say each test and its time")
    parser.add_argument("groups", nargs="*")
    options = parser.parse_args()
    # Whoever started this in the background may have had them ignored, which children inherit.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if options.one:
        return run_here(options.one)
    there = list_groups()
    unknown = [group for group in options.groups if group not in there]
    if unknown:
        parser.error(f"no group \"{unknown[0]}\"; there are {', '.join(there)}")
    groups = options.groups or [group for group in there if group not in NAMED_ONLY]
    names = [name for group in groups for name in list_tests(group, options.k)]
    passed = failed = 0
    with ThreadPoolExecutor(options.j) as pool:
        for name, code, output, seconds in pool.map(run_apart, names):
            passed, failed = passed + (code == 0), failed + (code != 0)
            if code != 0:
                print(f"-- failed: {name} ({seconds:.1f} s)\n{output.rstrip()}", flush=True)
            elif options.v:
                print(f"   {name} ({seconds:.1f} s)", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
