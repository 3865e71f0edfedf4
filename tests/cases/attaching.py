"""What cases of exec, ssh and forward share: a run whose instance they reach into, and a look at
what works there."""

import os
import pathlib
import subprocess

from harness import CHOLINE, PATIENCE, Case

HERE = """
local box = instance "box" { from = { here {} } }
sync "code" { from = "./code", to = "box:/work" }
task "stay" { on = box, env = { COLOUR = "blue" }, run = "echo begun; exec sleep 600",
  grace = "0s" }
"""
THERE = """
local box = instance "box" { from = { ssh { hosts = { "127.0.0.1:%d" }, key = "%s" } } }
task "stay" { on = box, run = "echo begun; exec sleep 600", grace = "0s" }
"""


class Reaching(Case):
    """`choline run --detach` works in the background; it is stopped at the end."""

    def begin(self, text=HERE, **options):
        self.write("code/note.txt", "a note\n")
        self.cholfile(text)
        self.run_id = self.choline("run", "--detach", **options).out.split()[0]
        self.addCleanup(self.choline, "stop", "--now", self.run_id, code=None)
        self.wait_until(lambda: "begun" in self.choline("logs", code=None).out, "the task")

    def begin_on(self, host):
        self.addCleanup(host.stop)
        self.begin(THERE % (host.port, host.key))

    def popen(self, *words, **streams):
        """choline with pipes, or what is given; ended with the test."""
        given = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        process = subprocess.Popen(
            [str(CHOLINE), *map(str, words)], cwd=self.work, env=self.environment(),
            start_new_session=True, **{**given, **streams})
        self.addCleanup(self.close, process)
        return process

    @staticmethod
    def close(process):
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                stream.close()
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE)

    def pids_in(self, name):
        """The numbers that commands over there wrote into a file of the sandbox."""
        path = self.sandbox / name
        return [int(word) for word in path.read_text().split()] if path.exists() else []

    def wait_for_pids(self, name, count):
        self.wait_until(lambda: len(self.pids_in(name)) == count, f"{count} processes")
        return self.pids_in(name)

    def wait_until_gone(self, pids):
        self.wait_until(lambda: not any(map(is_alive, pids)), f"the end of processes {pids}")


def is_alive(pid):
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def peak_memory(pid):
    """The most that it ever had in memory, in bytes."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) << 10
    raise OSError(f"process {pid} has no memory")


def child_of(pid):
    [child] = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(child)


def random_file(path, size):
    path.write_bytes(os.urandom(size))
    return path
