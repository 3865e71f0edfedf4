"""What end-to-end cases stand on: the real program, in a folder and with directories of its own.

A case is a `Case` (a unittest.TestCase). Each test gets `self.work`, an empty folder to stand in,
and `self.choline(...)`. After each test nothing that it started may be alive.
"""

import json
import os
import pathlib
import pty
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "support"))
import processes
import shadow

BUILD = pathlib.Path(os.environ.get("CHOLINE_BUILD", ROOT / "build")).resolve()
CHOLINE = BUILD / "choline"
SLOW = float(os.environ.get("CHOLINE_TEST_SLOW", "1"))
# What may come from outside: how the build under test is to behave, and a stdlib to try.
PASSED_ON = ("CHOLINE_LUA_", "CHOLINE_TEST_", "CHOLINE_STDLIB", "ASAN_", "UBSAN_", "LSAN_")
PATIENCE = 60 * SLOW  # seconds until a wait counts as a hang; never what a test measures


class Result:
    """How a command ended: `code` (negative: the signal), `out`, `err`, and `json` of `out`."""

    def __init__(self, words, code, out, err):
        self.words, self.code, self.out, self.err = words, code, out, err

    @property
    def json(self):
        return json.loads(self.out)

    def __str__(self):
        words = " ".join(str(word) for word in self.words)
        return f"$ {words}\nexit {self.code}\n-- out\n{self.out}\n-- err\n{self.err}"


class Running:
    """A choline that is still at work; its output goes to files, so that it never blocks."""

    def __init__(self, case, words, process, out, err):
        self.case, self.words, self.process = case, words, process
        self.out_path, self.err_path = out, err

    @property
    def out(self):
        return self.out_path.read_text(errors="replace")

    @property
    def err(self):
        return self.err_path.read_text(errors="replace")

    def signal(self, number):
        self.process.send_signal(number)

    def wait_for(self, text):
        """Until `text` is in the output, on either stream; fails if the command ends without."""
        self.case.wait_until(
            lambda: text in self.out + self.err or self.process.poll() is not None, f"\"{text}\"")
        self.case.assertIn(text, self.out + self.err, f"in the output of {self.words}")

    def wait_for_log(self, text):
        """Until a command of the newest run has printed `text`."""
        def is_there():
            self.case.assertIsNone(self.process.poll(), f"{self.words} has ended\n{self.err}")
            return text in self.case.choline("logs", code=None).out

        self.case.wait_until(is_there, f"\"{text}\" in the log")

    def wait(self):
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.case.fail(f"{self.words} did not end in {PATIENCE:.0f} s\n{self.out}\n{self.err}")
        return Result(self.words, code, self.out, self.err)


class Terminal:
    """choline on a terminal of its own, for the live view and for Ctrl-C as a key."""

    def __init__(self, case, words, environment, rows=40, columns=100):
        self.case, self.words, self.text = case, words, ""
        pid, self.fd = pty.fork()
        if pid == 0:
            os.chdir(case.work)
            os.execve(words[0], words, {**environment, "TERM": "xterm-256color",
                                        "LINES": str(rows), "COLUMNS": str(columns)})
        self.pid, self.code = pid, None
        set_window(self.fd, rows, columns)

    def read(self, seconds):
        ready, _, _ = select.select([self.fd], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def wait_for(self, text):
        end = time.monotonic() + PATIENCE
        while text not in self.text:
            if time.monotonic() > end or not self.read(1):
                self.case.fail(f"\"{text}\" never came; the terminal has:\n{self.text}")

    def press(self, keys):
        os.write(self.fd, keys)

    def wait(self):
        end = time.monotonic() + PATIENCE
        while self.read(1):
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                self.case.fail(f"{self.words} did not end; the terminal has:\n{self.text}")
        _, status = os.waitpid(self.pid, 0)
        os.close(self.fd)
        self.code = os.waitstatus_to_exitcode(status)
        return Result(self.words, self.code, self.text, "")


def set_window(fd, rows, columns):
    import fcntl
    import struct
    import termios
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Case(unittest.TestCase):
    maxDiff = None
    replays = True

    def setUp(self):
        self.sandbox = pathlib.Path(tempfile.mkdtemp(prefix="choline-case-")).resolve()
        self.home = self.sandbox / "home"
        self.work = self.sandbox / "work"
        for folder in (self.home, self.work, self.sandbox / "tmp"):
            folder.mkdir()
        self.commands = 0
        self.given = {}  # what commands got beside the usual environment
        self.addCleanup(self.leave)
        self.addCleanup(self.replay)

    def replay(self):
        """Each run that ended or paused takes the same steps again, in a process that does nothing.
        `self.replays = False` where a test leaves no store to copy."""
        if not self.replays or processes.below(self.sandbox):
            return
        environment = self.environment(**self.given)
        state = pathlib.Path(environment["XDG_STATE_HOME"]) / "choline"
        faults = shadow.replay(CHOLINE, state, self.sandbox / "shadow", self.work, environment,
                               PATIENCE)
        self.assertEqual(faults, [], "\n".join(faults))

    def leave(self):
        """Nothing that the test started may outlive it; what does is ended and fails the test."""
        alive = processes.wait_until_gone(lambda: processes.below(self.sandbox), 10 * SLOW)
        names = [str(each) for each in alive]
        for each in alive:
            each.kill()
        processes.wait_until_gone(lambda: processes.below(self.sandbox), 5)
        for folder, _, _ in os.walk(self.sandbox):
            os.chmod(folder, 0o700)
        shutil.rmtree(self.sandbox, ignore_errors=True)
        self.assertEqual(names, [], "processes outlived the test")

    def environment(self, **more):
        there = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": str(self.home),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_STATE_HOME": str(self.home / ".local/state"),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "TMPDIR": str(self.sandbox / "tmp"),
            "LC_ALL": "C.UTF-8",
            "TZ": "UTC",
            "CHOLINE_LUA_LIMIT": str(2 * SLOW),  # seconds until a loop counts as endless
        }
        for name in os.environ:
            if name.startswith(PASSED_ON):
                there[name] = os.environ[name]
        there.update(more)
        return there

    def write(self, name, text, mode=None):
        path = self.work / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if mode is not None:
            path.chmod(mode)
        return path

    def cholfile(self, text, name="Cholfile.lua"):
        return self.write(name, text)

    def start(self, *words, env=None, program=None, cwd=None, stdin=subprocess.DEVNULL):
        """Starts choline and returns at once with a `Running`."""
        self.commands += 1
        self.given.update(env or {})
        out = self.sandbox / f"{self.commands}.out"
        err = self.sandbox / f"{self.commands}.err"
        line = [str(program or CHOLINE), *map(str, words)]
        with open(out, "wb") as out_file, open(err, "wb") as err_file:
            process = subprocess.Popen(
                line, cwd=cwd or self.work, env=self.environment(**(env or {})),
                stdin=stdin, stdout=out_file, stderr=err_file,
                start_new_session=True)
        return Running(self, line, process, out, err)

    def choline(self, *words, code=0, **options):
        """Runs choline to its end and expects the exit `code` (None: any)."""
        result = self.start(*words, **options).wait()
        if code is not None:
            self.assertEqual(result.code, code, f"\n{result}")
        return result

    def terminal(self, *words, **size):
        return Terminal(self, [str(CHOLINE), *map(str, words)], self.environment(), **size)

    def wait_until(self, is_so, what):
        end = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > end:
                self.fail(f"waited {PATIENCE:.0f} s for {what}")
            time.sleep(0.02)

    def runs(self):
        return self.choline("ls", "--json").json

    def instances(self):
        return self.choline("instances", "--json").json

    def assert_nothing_lives(self):
        """No instance costs money any more, in the store's eyes."""
        live = [each for each in self.instances()
                if each["state"] not in ("gone", "void", "lost")]
        self.assertEqual(live, [])

    def assert_says(self, text, *parts):
        for part in parts:
            self.assertIn(part, text)

    def assert_clean(self, text):
        """A message for people shows nothing of our insides."""
        for inside in ("stack traceback", "[C]:", "stdlib/", "[string", "std::", "terminate"):
            self.assertNotIn(inside, text)
