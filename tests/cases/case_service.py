"""Runs go on without the process, the terminal or the session that began them."""

import os
import pathlib
import shutil
import signal
import subprocess
import unittest

from harness import CHOLINE, Case

WAITS = """
local box = instance "box" { from = { here {} } }
task "train" { on = box, run = "echo begun; until test -e %s; do sleep 0.05; done; echo ended" }
"""


class Unfinished(Case):
    def begin(self, number):
        """A detached run whose command waits for the file enough-<number>. Gives its id."""
        enough = self.sandbox / f"enough-{number}"
        self.cholfile(WAITS % enough, f"run{number}.lua")
        id = self.choline("run", f"run{number}.lua", "--detach").out.strip()
        self.addCleanup(lambda: self.choline("stop", id, "--yes", "--now", code=None))
        self.wait_until(lambda: "begun" in self.choline("logs", id, code=None).out, "its command")
        return id

    def owners(self):
        return {each["id"]: each["owner"] for each in self.runs()}

    def kill(self, *ids):
        for id, owner in self.owners().items():
            if id in ids:
                os.kill(owner["pid"], signal.SIGKILL)
        self.wait_until(lambda: not any(owner for id, owner in self.owners().items() if id in ids),
                        "the end of the owners")

    def test_resume_all_goes_on_with_what_was_left_alone(self):
        first, second, third = self.begin(1), self.begin(2), self.begin(3)
        self.kill(first, second)
        told = self.choline("resume", "--all", "--detach")
        self.assertEqual(sorted(told.out.split()), sorted([first, second]))
        self.assertTrue(all(self.owners().values()))
        again = self.choline("resume", "--all", "--detach", "--json")  # nothing is left to do
        self.assertEqual(again.json, [])
        for number in (1, 2, 3):
            (self.sandbox / f"enough-{number}").touch()
        self.wait_until(lambda: {each["state"] for each in self.runs()} == {"done"}, "their ends")
        for id in (first, second, third):
            out = self.choline("logs", id).out
            self.assertEqual((out.count("begun"), out.count("ended")), (1, 1))

    def test_one_that_cannot_go_on_does_not_hold_up_the_others(self):
        first, second = self.begin(1), self.begin(2)
        self.kill(first, second)
        lock = self.home / ".local/state/choline/runs" / first / "choline.log"
        lock.unlink()
        lock.mkdir()  # its log cannot be written
        told = self.choline("resume", "--all", "--detach", code=1)
        self.assert_says(told.err, first)
        self.assertIsNotNone(self.owners()[second])
        lock.rmdir()

    def test_all_takes_no_run(self):
        self.choline("resume", "x", "--all", "--detach", code=2)
        self.assert_says(self.choline("resume", "--all", code=2).err, "--detach")

    def test_a_run_goes_on_when_its_terminal_has_gone(self):
        enough = self.sandbox / "enough-1"
        self.cholfile(WAITS % enough)
        screen = self.terminal("run", "--detach")
        ended = screen.wait()  # the session ends: its terminal hangs up
        self.assertEqual(ended.code, 0, ended.out)
        [row] = self.runs()
        self.addCleanup(lambda: self.choline("stop", row["id"], "--yes", "--now", code=None))
        pid = row["owner"]["pid"]
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        self.assertEqual(int(stat[4]), 0, "it has a controlling terminal")  # tty_nr
        self.assertEqual(int(stat[3]), os.getsid(pid))
        for fd in os.listdir(f"/proc/{pid}/fd"):
            self.assertNotIn("/dev/pt", os.readlink(f"/proc/{pid}/fd/{fd}"))
        os.kill(pid, signal.SIGHUP)  # what a logout sends to what it finds
        self.wait_until(lambda: "begun" in self.choline("logs", code=None).out, "its command")
        self.assertEqual(self.owners()[row["id"]]["pid"], pid)
        enough.touch()
        self.wait_until(lambda: self.runs()[0]["state"] == "done", "its end")


class Service(Case):
    def unit(self):
        return self.home / ".config/systemd/user/choline.service"

    def test_it_writes_a_unit_and_takes_it_away(self):
        told = self.choline("service", "install")
        text = self.unit().read_text()
        self.assert_says(text, f'ExecStart="{CHOLINE}" resume --all --detach',
                         "WantedBy=default.target", f"XDG_STATE_HOME={self.home}/.local/state")
        if "systemd does not run" in told.err:
            self.assert_says(told.out, "@reboot", f"{CHOLINE} resume --all --detach")
        status = self.choline("service", "status", "--json").json
        self.assertEqual((status["installed"], status["current"]), (True, True))
        self.choline("service", "remove")
        self.assertFalse(self.unit().exists())
        self.assert_says(self.choline("service").out, "not installed")

    @unittest.skipUnless(shutil.which("systemd-analyze"), "systemd is not here")
    def test_systemd_finds_no_fault_in_the_unit(self):
        self.choline("service", "install")
        verify = subprocess.run(["systemd-analyze", "verify", "--user", "--man=no",
                                 str(self.unit())], capture_output=True, text=True,
                                env=self.environment(XDG_RUNTIME_DIR=str(self.sandbox / "tmp")))
        faults = [line for line in verify.stderr.splitlines() if "choline.service" in line]
        self.assertEqual(faults, [], verify.stderr)

    def test_what_the_unit_runs_is_what_goes_on(self):
        """The command of the unit, as systemd would unquote it, in an empty environment."""
        enough = self.sandbox / "enough"
        self.cholfile(WAITS % enough)
        id = self.choline("run", "--detach").out.strip()
        self.addCleanup(lambda: self.choline("stop", id, "--yes", "--now", code=None))
        os.kill(self.runs()[0]["owner"]["pid"], signal.SIGKILL)
        self.wait_until(lambda: self.runs()[0]["owner"] is None, "the end of the owner")
        self.choline("service", "install")
        lines = self.unit().read_text().splitlines()
        [command] = [line.partition("=")[2] for line in lines if line.startswith("ExecStart=")]
        there = [line.partition("=")[2] for line in lines if line.startswith("Environment=")]
        environment = dict(each.strip('"').split("=", 1) for each in there)
        environment.update(PATH="/usr/bin:/bin", HOME=str(self.home))
        subprocess.run(["sh", "-c", command], check=True, env=environment, cwd="/",
                       stdin=subprocess.DEVNULL, capture_output=True)
        self.assertIsNotNone(self.runs()[0]["owner"])
        enough.touch()
        self.wait_until(lambda: self.runs()[0]["state"] == "done", "its end")
