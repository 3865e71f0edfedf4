"""Measures how fast a large tree is looked at: `bench_scan.py BUILD [OPTION ...]`.

The same tree lies here and on a host by ssh, which is this computer. Nothing differs, so that a
transfer of it is two scans at once, the list and the comparison. A scan alone is a transfer to
where nothing is, which only says what it would do.
"""

import argparse
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cases"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import page
from sshd import Sshd

TITLE = "Scans"
FOLDER = 1000  # files in each
RATE = 300_000  # files a second, at the least
MEMORY = 64  # MiB, of either side, at the most


class PeakOf(threading.Thread):
    """The most memory, in MiB, that any process with this word in its name has had."""

    def __init__(self, word):
        super().__init__(daemon=True)
        self.word = word
        self.most = 0.0
        self.over = threading.Event()

    def run(self):
        while not self.over.wait(0.01):
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    if self.word in (process / "cmdline").read_bytes():
                        self.take((process / "status").read_text())
                except OSError:  # it has ended
                    continue

    def take(self, status):
        # A child that was just forked has the name, and not yet a peak of its own.
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                self.most = max(self.most, int(line.split()[1]) / 1024)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *ending):
        self.over.set()
        self.join()


class Scans:
    def __init__(self, build, folder, files):
        self.choline, self.folder, self.files = build / "choline", folder, files
        self.home = folder / "home"
        self.home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        key = subprocess.run([self.choline, "key"], env=self.environment, check=True,
                             capture_output=True, text=True).stdout
        self.host = Sshd(folder / "host")
        (self.host.folder / "login.pub").write_text(key)
        self.rows = []

    def plant(self, root):
        for number in range(0, self.files, FOLDER):
            place = root / f"part-{number // 100_000}" / f"folder-{number // FOLDER}"
            place.mkdir(parents=True)
            for each in range(number, min(number + FOLDER, self.files)):
                path = f"{place}/file-{each}.txt"
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
                os.utime(path, (1_700_000_000, 1_700_000_000 + each))

    def push(self, source, target):
        """Seconds, and MiB here and there."""
        words = [self.choline, "push", "--dry-run", source, f"ssh://{self.host.name}{target}"]
        with PeakOf(str(self.host.home).encode() + b"/.choline/agent") as there:
            began = time.monotonic()
            process = subprocess.Popen(words, env=self.environment, stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            said = process.stderr.read()
            _, status, usage = os.wait4(process.pid, 0)
            took = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"choline push ended with {process.returncode}: {said[-300:]}")
        return took, usage.ru_maxrss / 1024, there.most

    def measure(self, what, source, target, rounds):
        self.push(source, target)  # now the folders are in memory
        seen = [self.push(source, target) for _ in range(rounds)]
        took, here, there = (statistics.median(each) for each in zip(*seen))
        rate = self.files / took
        self.rows.append(f"| {what} | {took:.2f} s | {rate:,.0f} | {here:.0f} MiB | "
                         f"{there:.0f} MiB |")
        print(self.rows[-1], flush=True)
        return rate, max(here, there)


def main():
    parser = argparse.ArgumentParser(
        prog="scripts/bench scan", epilog="example: scripts/bench scan --files 100000 --dry",
        description=f"Measures scans, and writes the section \"{TITLE}\" of docs/benchmarks.md.")
    parser.add_argument("build", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("--files", type=int, default=1_000_000, help="in the tree (1000000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--dry", action="store_true", help="only print")
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="choline-scan-")).resolve()
    scans = Scans(options.build.resolve(), folder, options.files)
    try:
        for name in ("here", "there"):
            scans.plant(folder / name)
        scans.measure("nothing there", folder / "here", folder / "nowhere", options.rounds)
        rate, memory = scans.measure("the same there", folder / "here", folder / "there",
                                     options.rounds)
    finally:
        scans.host.stop()
        shutil.rmtree(folder, ignore_errors=True)
    if not options.dry:
        page.write_section(TITLE, "\n".join([
            f"`scripts/bench scan`, {options.files:,} files, on {page.computer()}: a dry run to a",
            f"host by ssh that is this computer. At least {RATE:,} files a second, and less than "
            f"{MEMORY} MiB on either side.", "",
            "| what | seconds | files a second | memory here | there |", "|---|---|---|---|---|",
            *scans.rows]))
    return 0 if rate >= RATE and memory < MEMORY else 1


if __name__ == "__main__":
    sys.exit(main())
