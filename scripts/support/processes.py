"""Finds the processes that tests have started, through /proc: by a mark in their environment, or by
a folder that they work in, run from, or were told of."""

import os
import pathlib
import signal
import time

MARK = "CHOLINE_TEST_MARK"


class Process:
    def __init__(self, pid):
        self.pid = pid
        self.folder = pathlib.Path("/proc") / str(pid)

    def read(self, name):
        """The file's bytes; nothing when the process is gone or belongs to another user."""
        try:
            return (self.folder / name).read_bytes()
        except OSError:
            return b""

    def link(self, name):
        try:
            return os.readlink(self.folder / name)
        except OSError:
            return ""

    @property
    def is_alive(self):
        """A zombie is not alive: it holds nothing and waits only to be read by its parent."""
        fields = self.read("stat").rpartition(b")")[2].split()
        return bool(fields) and fields[0] not in (b"Z", b"X")

    def kill(self):
        try:
            os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def __str__(self):
        words = self.read("cmdline").replace(b"\0", b" ").decode(errors="replace").strip()
        return f"{self.pid} {words or self.read('comm').decode(errors='replace').strip()}"


def own_line():
    """This process and its ancestors, which no test has started."""
    line, pid = set(), os.getpid()
    while pid > 0 and pid not in line:
        line.add(pid)
        fields = Process(pid).read("stat").rpartition(b")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 else 0
    return line


def every():
    ours = own_line()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) not in ours:
            process = Process(int(entry.name))
            if process.is_alive:
                yield process


def marked(mark):
    wanted = f"{MARK}={mark}".encode()
    return [each for each in every() if wanted in each.read("environ").split(b"\0")]


def below(folder):
    """Those that work in it, run a program of it, or carry its name in arguments or environment."""
    text = str(folder)
    return [
        each for each in every()
        if each.link("cwd").startswith(text) or each.link("exe").startswith(text)
        or text.encode() in each.read("cmdline") or text.encode() in each.read("environ")]


def wait_until_gone(find, seconds):
    """Calls `find` until it gives nothing or the time is over; returns what it gave last."""
    end = time.monotonic() + seconds
    while True:
        found = find()
        if not found or time.monotonic() > end:
            return found
        time.sleep(0.05)
