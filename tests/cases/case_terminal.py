"""`choline ssh`: a shell on an instance, on a terminal as if it were here; and the terminal that it
was started on is left as it was, whatever happens."""

import hashlib
import os
import pathlib
import re
import signal
import subprocess

import harness
from attaching import Reaching, child_of
from sshd import Sshd

KEYS = {"ctrl-c": b"\x03", "ctrl-z": b"\x1a", "ctrl-d": b"\x04", "enter": b"\r"}
# A shell that says afterwards how choline ended and in which modes the terminal is.
AROUND = '"$@"; echo "code=$?"; stty -a | grep -o -e "-*icanon" -e "-*isig" -e "-*opost"; echo over'
PLAIN = "PS1='[''ready''] '\r"


class Terminals(Reaching):
    def around(self, *words, **size):
        environment = self.environment()
        line = ["/bin/sh", "-c", AROUND, "sh", str(harness.CHOLINE), *words]
        return harness.Terminal(self, line, environment, **size)

    def shell(self, **size):
        """A plain shell over there that prompts in a way that can be waited for."""
        terminal = self.around("ssh", "box", "--", "sh", **size)
        terminal.press(PLAIN.encode())
        terminal.wait_for("[ready] ")
        return terminal

    def ask(self, terminal, line):
        """What a command prints, without its echo."""
        terminal.text = ""
        terminal.press(line.encode() + KEYS["enter"])
        terminal.wait_for("[ready] ")
        return terminal.text.replace("\r", "").partition("\n")[2].rpartition("\n")[0]

    def choline_of(self, terminal):
        self.wait_until(lambda: "choline" in pathlib.Path(
            f"/proc/{child_of(terminal.pid)}/comm").read_text(), "choline")
        return child_of(terminal.pid)

    def assert_put_back(self, terminal, code):
        terminal.wait_for("over")
        tail = terminal.text.rpartition("code=")[2].split()
        self.assertEqual((tail[0], sorted(tail[1:-1])), (str(code), ["icanon", "isig", "opost"]))
        terminal.wait()

    def exit(self, terminal, code=0):
        terminal.press(f"exit {code}\r".encode())
        self.assert_put_back(terminal, code)


class Here(Terminals):
    def setUp(self):
        super().setUp()
        self.begin()

    def test_it_is_a_terminal_of_the_same_kind_and_size_where_the_task_is(self):
        terminal = self.shell(rows=33, columns=77)
        self.assertEqual(self.ask(terminal, "stty size"), "33 77")
        self.assertEqual(self.ask(terminal, "echo $TERM $COLOUR; cat note.txt"),
                         "xterm-256color blue\na note")
        self.assertEqual(self.ask(terminal, "tty < /dev/tty > /dev/null && echo controls"),
                         "controls")
        self.assertIn("\x1b[", self.ask(terminal, "ls --color=always -d /"))
        self.exit(terminal, 7)

    def test_a_window_that_changes_is_told(self):
        terminal = self.shell()
        terminal.press(b"(trap 'stty size; exit' WINCH; echo arm''ed;"
                       b" while :; do sleep 0.1; done)\r")
        terminal.wait_for("armed")
        harness.set_window(terminal.fd, 44, 99)
        terminal.wait_for("44 99")
        self.exit(terminal)

    def test_keys_are_those_of_the_far_side(self):
        terminal = self.shell()
        terminal.press(b"cat\rmouse\r")
        terminal.wait_for("mouse\r\nmouse\r\n")
        terminal.text = ""
        terminal.press(KEYS["ctrl-c"])
        terminal.wait_for("[ready] ")
        self.assertEqual(self.ask(terminal, "echo code=$?").splitlines()[-1], "code=130")
        terminal.press(b"cat\rhouse\r")
        terminal.wait_for("house\r\nhouse\r\n")
        terminal.text = ""
        terminal.press(KEYS["ctrl-z"])
        terminal.wait_for("Stopped")
        terminal.wait_for("[ready] ")
        self.assertIn("Stopped", self.ask(terminal, "jobs"))
        terminal.press(b"kill -9 %1\rexit\rexit\r")  # the first one may only warn of the job
        terminal.wait_for("over")
        terminal.wait()

    def test_ten_megabytes_of_output_lose_no_byte(self):
        command = "head -c 10000000 /dev/zero | tr '\\0' x | fold -w 100; echo; exit 5"
        environment = self.environment()
        terminal = harness.Terminal(self, [str(harness.CHOLINE), "ssh", "box", "--", command],
                                    environment)
        result = terminal.wait()
        self.assertEqual(result.code, 5)
        self.assertEqual(result.out, ("x" * 100 + "\r\n") * 99999 + "x" * 100 + "\r\n")

    def test_what_is_pasted_arrives_whole(self):
        terminal = self.shell()
        terminal.press(b"stty -echo; echo re''ads; head -c 99999 > pasted; stty echo; "
                       b"sha256sum < pasted\r")
        terminal.wait_for("reads")
        text = "".join(f"{number:08}\r" for number in range(20000)).encode()
        sent = 0
        while sent < 99999:
            sent += os.write(terminal.fd, text[sent:min(sent + 900, 99999)])
            terminal.read(0)
        lines = text[:99999].replace(b"\r", b"\n")
        terminal.wait_for(hashlib.sha256(lines).hexdigest())
        self.exit(terminal)

    def test_the_terminal_is_put_back_however_choline_ends(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGSEGV, signal.SIGQUIT,
                       signal.SIGUSR1, signal.SIGABRT):
            with self.subTest(number=number):
                terminal = self.shell()
                inside = self.ask(terminal, "echo $$")
                os.kill(self.choline_of(terminal), number)
                self.assert_put_back(terminal, 128 + number)
                self.wait_until_gone([int(inside)])

    def test_a_tilde_and_a_dot_leave_and_end_what_ignores_the_hangup(self):
        terminal = self.shell()
        stays = int(self.ask(terminal, "(trap '' HUP; exec sleep 600) & echo $!"))
        leads = int(self.ask(terminal, "echo $$"))
        terminal.press(b"~?")
        terminal.wait_for("suspend choline")
        terminal.press(b"\r~.")
        self.assert_put_back(terminal, 129)
        self.wait_until_gone([leads, stays])

    def test_two_tildes_are_one(self):
        terminal = self.shell()
        self.assertIn("~ not home", self.ask(terminal, "~~ not home; echo '~ not' home"))
        terminal.press(KEYS["ctrl-d"])
        terminal.wait_for("over")
        terminal.wait()

    def test_it_can_be_stopped_and_goes_on(self):
        terminal = harness.Terminal(self, ["/bin/bash", "--norc", "--noprofile", "-i"],
                                    self.environment())
        terminal.press(b"PS1='<he''re> '\r")
        terminal.wait_for("<here> ")
        terminal.press(f"{harness.CHOLINE} ssh box -- sh\r".encode() + PLAIN.encode())
        terminal.wait_for("[ready] ")
        for stop in (lambda: terminal.press(b"\r~" + KEYS["ctrl-z"]),
                     lambda: os.kill(self.choline_of(terminal), signal.SIGTSTP)):
            terminal.text = ""
            stop()
            terminal.wait_for("Stopped")
            terminal.press(b"stty -a | grep -c -e ' icanon' ; echo here''=$?\r")
            terminal.wait_for("here=0")
            harness.set_window(terminal.fd, 21, 61)
            terminal.press(b"fg\r")
            terminal.wait_for("ssh box -- sh\r\n")
            terminal.press(b"stty size\r")
            terminal.wait_for("21 61")
        terminal.text = ""
        terminal.press(b"exit 0\r")
        terminal.wait_for("<here> ")
        terminal.press(b"exit 0\r")
        self.assertEqual(terminal.wait().code, 0)

    def test_one_program_may_have_the_terminal(self):
        terminal = self.around("exec", "-t", "box", "--", "sh", "-c", "tty > /dev/null; exit $?")
        self.assert_put_back(terminal, 0)

    def test_in_a_pipe_the_shell_reads_its_commands(self):
        process = self.popen("ssh", "box")
        out, err = process.communicate(b"echo $COLOUR ${0%%[a-z]*}; tty; echo oops >&2; exit 4\n")
        self.assertEqual((out, process.returncode), (b"blue -\nnot a tty\n", 4))
        self.assertTrue(err.endswith(b"oops\n"))

    def test_a_program_that_fills_the_screen_does_so(self):
        tmux = ["tmux", "-L", f"choline-{os.getpid()}", "-f", "/dev/null"]

        def run(*words):
            return subprocess.run([*tmux, *words], env=self.environment(), cwd=self.work, text=True,
                                  capture_output=True, check=True).stdout

        self.addCleanup(subprocess.run, [*tmux, "kill-server"], env=self.environment(),
                        capture_output=True)
        run("new-session", "-d", "-x", "100", "-y", "30", str(harness.CHOLINE), "ssh", "box", "--",
            "top", "-d", "600")

        def screen():
            return run("capture-pane", "-p").splitlines()

        self.wait_until(lambda: any("PID" in line for line in screen()), "top")
        self.assertRegex(screen()[0], r"^top - ")
        run("resize-window", "-x", "80", "-y", "12")
        self.wait_until(lambda: len([line for line in screen() if re.match(r" *\d+ ", line)]) == 5,
                        "a smaller list")
        run("send-keys", "q")
        self.wait_until(lambda: subprocess.run([*tmux, "list-sessions"], env=self.environment(),
                                               capture_output=True).returncode != 0, "the end")


class There(Terminals):
    def test_a_link_that_dies_is_told_and_ends_the_shell(self):
        host = Sshd(self.sandbox / "host")
        self.begin_on(host)
        terminal = self.shell()
        stays = int(self.ask(terminal, "(trap '' HUP; exec sleep 600) & echo $!"))
        leads = int(self.ask(terminal, "echo $$"))
        host.cut()
        self.assert_put_back(terminal, 1)
        self.assert_says(terminal.text, "the link to box died", "ended there")
        self.wait_until_gone([leads, stays])

    def test_keys_leave_a_link_on_which_nothing_goes(self):
        host = Sshd(self.sandbox / "host")
        self.begin_on(host)
        terminal = self.shell()
        sessions = host.sessions()
        for pid in sessions:
            os.kill(pid, signal.SIGSTOP)
        try:
            terminal.press(b"lost words\r~.")
            self.assert_put_back(terminal, 129)
        finally:
            for pid in sessions:
                os.kill(pid, signal.SIGCONT)
