"""Runs the phases of scripts/test one after the other and adds up what they counted.

A phase is a function that gets the Session and reports passes and failures to it. A phase that
cannot run is a failure, never a silent skip; a failure does not stop the phases after it.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import processes

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"  # or what --build says; the other builds lie below it
CORES = os.cpu_count() or 2
# Several sources of a folder compiled as one: a third of the time, for builds made to be checked.
TOGETHER = ("-DCMAKE_UNITY_BUILD=ON", "-DCMAKE_UNITY_BUILD_BATCH_SIZE=8")
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$", re.MULTILINE)
DOCTEST = re.compile(r"test cases:\s*(\d+)\s*\|\s*(\d+) passed\s*\|\s*(\d+) failed")
PHASES = {}  # name -> (function, whether --quick runs it), in the order they run


def phase(name, quick=False):
    def declare(function):
        PHASES[name] = (function, quick)
        return function

    return declare


def say(text):
    print(text, flush=True)


class Session:
    """Totals, the failures by name, and a folder and an environment of the tests' own."""

    def __init__(self, scratch, quick):
        self.scratch = scratch
        self.quick = quick
        self.passed = 0
        self.failures = []
        self.mark = uuid.uuid4().hex
        self.phase = ""

    def environment(self, **more):
        """What tests run with: nothing of the person's own configuration, state or cache."""
        home = self.scratch / "home"
        home.mkdir(exist_ok=True)
        there = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "XDG_DATA_HOME": str(home / "data"),
            "TMPDIR": str(self.scratch),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            processes.MARK: self.mark,
        }
        there.update(more)
        return there

    def add(self, passed, failed, what):
        self.passed += passed
        self.failures += [f"{self.phase}: {what}"] * failed

    def check(self, good, what):
        self.add(1 if good else 0, 0 if good else 1, what)
        return good

    def run(self, command, name, timeout=900, show=False, **options):
        """Returns (exit, output). The output goes to build/logs, and is shown when it failed."""
        logs = BUILD / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        options.setdefault("cwd", ROOT)
        options.setdefault("env", self.environment())
        try:
            done = subprocess.run(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=timeout, errors="replace", text=True, **options)
            code, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as expired:
            partial = expired.stdout or b""
            output = partial.decode(errors="replace") if isinstance(partial, bytes) else partial
            code, output = 124, f"{output}\nstopped after {timeout} s"
        except OSError as error:
            code, output = 127, f"{command[0]}: {error}"
        (logs / f"{self.phase}-{name}.log").write_text(output)
        if code != 0 or show:
            say(f"-- {self.phase}: {name} (exit {code})\n{output.rstrip()}")
        return code, output

    def suite(self, command, name, **options):
        """Runs a program that ends with `N passed, N failed` and adds what it counted."""
        code, output = self.run(command, name, **options)
        found = COUNTS.findall(output)
        if not found:
            return self.add(0, 1, f"{name} printed no counts (exit {code})")
        passed, failed = map(int, found[-1])
        if passed + failed == 0:
            return self.add(0, 1, f"{name} ran no test")
        if code != 0 and failed == 0:
            failed = 1
        say(f"   {name}: {passed} passed, {failed} failed")
        return self.add(passed, failed, name)

    def build(self, folder, *options, targets=()):
        environment = dict(os.environ)
        command = [ROOT / "scripts/build", "--dir", folder, *options, *targets]
        code, _ = self.run(command, "build", timeout=2400, env=environment)
        return self.check(code == 0, f"build into {folder}")


def programs(folder):
    """The native test programs a build must have given, one for each folder of tests/native."""
    floors = sorted(path.parent.name for path in ROOT.glob("tests/native/*/*.cc"))
    return [folder / "tests" / f"test_{floor}" for floor in dict.fromkeys(floors)]


def run_native(session, folder, **environment):
    def run_one(program):
        if not program.exists():
            return program, None, ""
        own = session.scratch / f"{session.phase}-{program.name}"
        own.mkdir(exist_ok=True)
        values = session.environment(TMPDIR=str(own), **environment)
        return program, *session.run([program], program.name, env=values, cwd=own)

    expected = programs(folder)
    session.check(expected, "tests/native has no tests")
    with ThreadPoolExecutor(CORES) as pool:
        for program, code, output in pool.map(run_one, expected):
            found = DOCTEST.search(output)
            if code is None:
                session.add(0, 1, f"{program.name} was not built")
            elif not found:
                session.add(0, 1, f"{program.name} ended without a summary (exit {code})")
            else:
                total, passed, failed = map(int, found.groups())
                session.add(passed, failed or int(code != 0), program.name)
                say(f"   {program.name}: {passed} of {total} passed")


def run_cases(session, folder, *names, **environment):
    values = session.environment(CHOLINE_BUILD=str(folder), **environment)
    command = [sys.executable, "tests/cases/run.py", *names]
    session.suite(command, "-".join(["cases", *names]), env=values, timeout=1500)


@phase("build", quick=True)
def build_release(session):
    session.build(BUILD)


@phase("native", quick=True)
def native(session):
    run_native(session, BUILD)


@phase("stdlib", quick=True)
def stdlib(session):
    session.suite(["lua5.4", "tests/stdlib/run.lua"], "stdlib")


@phase("gates", quick=True)
def gates(session):
    values = session.environment(CHOLINE_BUILD=str(BUILD))
    session.suite([sys.executable, "tests/gates/run.py", "--quick"], "gates", env=values)


@phase("gates-full")
def gates_full(session):
    """All gates once more, with those that compile or lint every file."""
    values = session.environment(CHOLINE_BUILD=str(BUILD))
    session.suite([sys.executable, "tests/gates/run.py"], "gates-full", env=values, timeout=2400)


@phase("cases")
def cases(session):
    run_cases(session, BUILD)


@phase("examples")
def examples(session):
    run_cases(session, BUILD, "examples")


@phase("docs")
def docs(session):
    run_cases(session, BUILD, "docs")


@phase("peers")
def peers(session):
    """The fake clouds, tried by the clients of those clouds; without PyPI nothing is counted."""
    code, output = session.run([sys.executable, "tests/peers/run.py", BUILD], "peers", timeout=1500)
    skipped = code == 0 and "skipped: " in output
    if skipped:
        say(next(line for line in output.splitlines() if line.startswith("skipped: ")))
        return
    passed, failed = map(int, COUNTS.findall(output)[-1]) if COUNTS.search(output) else (0, 1)
    say(f"   peers: {passed} passed, {failed} failed")
    session.add(passed, failed or int(code != 0), "peers")


@phase("sim")
def sim(session):
    """The engine on virtual time over a world that fails it; its guards, each of which must be
    missed when it is taken away; and the real program, killed at its crash points."""
    if not session.build(BUILD, targets=("choline", "choline_agent", "choline_sim")):
        return
    program = BUILD / "tests" / "choline_sim"
    session.suite([program, "--regress", "tests/regress"], "regress")
    session.suite([program, "--mutants", "--seeds", "1000"], "mutants")
    session.suite([program, "--seeds", "10000", "--record", "tests/regress"], "seeds",
                  timeout=1800)
    sweep = [sys.executable, "tests/sim/kill_sweep.py", BUILD, "--every", "--workers", "6"]
    with ThreadPoolExecutor(2) as pool:  # the sweep mostly waits
        both = [pool.submit(session.suite, sweep, "kill-sweep", timeout=1200),
                pool.submit(session.suite, [program, "--model"], "model")]
    for each in both:
        each.result()  # raises what was raised there


@phase("moves")
def moves(session):
    """Random trees, changes and cuts against the transfer engine, with rsync as the oracle; its
    guards, too, must each be missed."""
    if session.build(BUILD, targets=("choline_moves",)):
        program = BUILD / "tests" / "choline_moves"
        session.suite([program, "--seeds", "2000"], "seeds")
        session.suite([program, "--mutants", "--seeds", "1500"], "mutants")


@phase("clang")
def clang(session):
    session.build(BUILD / "clang", "--type", "Debug", "-DCMAKE_CXX_COMPILER=clang++", *TOGETHER,
                  targets=("all", "choline_sim", "choline_moves"))


@phase("c-lua")
def c_lua(session):
    """Of the first build's type, so that ccache has all but the tests and the linking."""
    folder = BUILD / "c-lua"
    if session.build(folder, "-DCHOLINE_LUA=c"):
        run_native(session, folder)
        run_cases(session, folder, "smoke")


@phase("sanitize")
def sanitize(session):
    folder = BUILD / "sanitize"
    stress = {
        "CHOLINE_LUA_STRESS": "1",
        "CHOLINE_TEST_SLOW": "10",
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:hard_rss_limit_mb=4000",
        "UBSAN_OPTIONS": "print_stacktrace=1",
    }
    if session.build(folder, "--type", "Debug", "-DCHOLINE_SANITIZE=ON", *TOGETHER):
        run_native(session, folder, **stress)
        run_cases(session, folder, "smoke", **stress)


@phase("fuzz")
def fuzz(session):
    """Both ends of the protocol against peers that lie, with a bound on their memory."""
    folder = BUILD / "fuzz"
    if session.build(folder, "-DCMAKE_CXX_COMPILER=clang++", "-DCHOLINE_FUZZ=ON", *TOGETHER,
                     targets=("choline_fuzz",)):
        session.suite([sys.executable, "tests/fuzz/run.py", folder, "--seconds", "48"], "fuzz")


@phase("package")
def package(session):
    session.suite([sys.executable, "tests/cases/package.py", BUILD], "package")


@phase("leftovers")
def leftovers(session):
    """Nothing that a test started may outlive it."""
    alive = processes.wait_until_gone(
        lambda: processes.marked(session.mark) or processes.below(session.scratch), seconds=10)
    for process in alive:
        say(f"   still there: {process}")
        process.kill()
    session.check(not alive, f"{len(alive)} processes outlived the tests")


def read_arguments():
    listing = "\n".join(
        f"  {name}{'  (quick)' if quick else ''}" for name, (_, quick) in PHASES.items())
    parser = argparse.ArgumentParser(
        prog="scripts/test", description="Builds choline and runs its suites.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"phases:\n{listing}\n\nexample: scripts/test --quick")
    parser.add_argument("--quick", action="store_true", help="what a developer needs each time")
    parser.add_argument("--build", metavar="FOLDER", default=BUILD, type=pathlib.Path,
                        help="where to build and to leave the logs (build)")
    parser.add_argument("phases", nargs="*", metavar="PHASE", help="run these phases only")
    options = parser.parse_args()
    unknown = [name for name in options.phases if name not in PHASES]
    if unknown:
        parser.error(f"no phase \"{unknown[0]}\"; there are {', '.join(PHASES)}")
    return options


def main():
    global BUILD
    options = read_arguments()
    BUILD = options.build.resolve()
    chosen = options.phases or [
        name for name, (_, quick) in PHASES.items() if quick or not options.quick]
    if "leftovers" not in chosen:
        chosen = [*chosen, "leftovers"]
    began = time.monotonic()
    scratch = pathlib.Path(tempfile.mkdtemp(prefix="choline-test-")).resolve()
    session = Session(scratch, options.quick)
    try:
        for name in chosen:
            session.phase = name
            say(f"== {name}")
            phase_began, failures = time.monotonic(), len(session.failures)
            PHASES[name][0](session)
            failed = len(session.failures) - failures
            words = f", {failed} failed" if failed else ""
            say(f"== {name}: {time.monotonic() - phase_began:.1f} s{words}")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    say(f"== all: {time.monotonic() - began:.1f} s")
    for failure in dict.fromkeys(session.failures):
        count = session.failures.count(failure)
        say(f"failed: {failure}" + (f" ({count} times)" if count > 1 else ""))
    say(f"{session.passed} passed, {len(session.failures)} failed")
    return 1 if session.failures else 0


if __name__ == "__main__":
    sys.exit(main())
