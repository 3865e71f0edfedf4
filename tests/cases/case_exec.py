"""`choline exec`: a command on an instance as if it were here: input, output as it comes, signals,
exit code; and nothing of it is left afterwards."""

import hashlib
import signal

from attaching import Reaching, is_alive, peak_memory, random_file
from sshd import Sshd

# Leaves its own number and that of a child in a file, and then works on.
WORK = "echo $$ >> {0}; sleep 600 & echo $! >> {0}; wait"
MIB = 1 << 20


class Here(Reaching):
    def setUp(self):
        super().setUp()
        self.begin()
        self.pids = self.sandbox / "pids"

    def test_output_comes_while_the_command_still_runs(self):
        process = self.popen("exec", "box", "read x; echo got $x; read y; echo end $y >&2")
        for word, stream, answer in (("one", process.stdout, b"got one\n"),
                                     ("two", process.stderr, b"end two\n")):
            process.stdin.write(f"{word}\n".encode())
            process.stdin.flush()
            self.assertEqual(stream.readline(), answer)
        self.assertEqual(process.wait(), 0)

    def test_an_exit_code_and_a_signal_are_handed_on(self):
        self.choline("exec", "box", "exit 77", code=77)
        self.choline("exec", "box", "kill -9 $$", code=137)
        self.assert_says(self.choline("exec", "box", "--", "no-such-program", code=127).err,
                         "no-such-program")

    def test_bytes_come_back_as_they_went(self):
        sent = random_file(self.sandbox / "sent", 8 * MIB)
        with open(sent, "rb") as source, open(self.sandbox / "back", "wb") as sink:
            process = self.popen("exec", "box", "--", "cat", stdin=source, stdout=sink)
            self.assertEqual(process.wait(), 0)
        self.assertEqual(*(hashlib.sha256((self.sandbox / name).read_bytes()).hexdigest()
                           for name in ("sent", "back")))

    def test_the_end_of_the_input_is_handed_on(self):
        process = self.popen("exec", "box", "--", "wc", "-c")
        out, _ = process.communicate(b"12345")
        self.assertEqual(out.strip(), b"5")

    def test_an_input_that_nobody_reads_holds_nothing_up(self):
        endless = self.popen("exec", "box", "--", "sleep", "0", stdin=open("/dev/zero", "rb"))
        self.assertEqual(endless.wait(), 0)

    def test_without_input_what_there_is_stays_for_others(self):
        (self.sandbox / "list").write_text("first\nsecond\n")
        with open(self.sandbox / "list", "rb", buffering=0) as source:
            process = self.popen("exec", "-n", "box", "--", "cat", stdin=source)
            self.assertEqual((process.communicate()[0], process.wait()), (b"", 0))
            self.assertEqual(source.read(), b"first\nsecond\n")

    def test_a_reader_that_goes_ends_an_endless_command(self):
        process = self.popen("exec", "box", f"echo $$ > {self.pids}; yes")
        self.assertEqual(process.stdout.read(4), b"y\ny\n")
        process.stdout.close()
        process.stdout = None
        self.assertEqual(process.wait(), 141)
        self.wait_until_gone(self.pids_in("pids"))

    def test_a_slow_reader_costs_no_memory(self):
        process = self.popen("exec", "box", "--", "head", "-c", str(256 * MIB), "/dev/zero")
        left = 256 * MIB - len(process.stdout.read(64 * MIB))
        most = peak_memory(process.pid)
        while left:
            left -= len(process.stdout.read(min(left, MIB)))
        self.assertEqual(process.stdout.read(), b"")
        self.assertLess(most, 64 * MIB)

    def test_ctrl_c_reaches_the_command_which_may_end_in_its_own_way(self):
        process = self.popen("exec", "box",
                             "trap 'echo caught; exit 9' INT; echo on; while :; do sleep 0.1; done")
        self.assertEqual(process.stdout.readline(), b"on\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.communicate()[0], b"caught\n")
        self.assertEqual(process.returncode, 9)

    def test_signals_leave_nothing_over_there(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            with self.subTest(number=number):
                self.pids.unlink(missing_ok=True)
                process = self.popen("exec", "box", WORK.format(self.pids))
                pids = self.wait_for_pids("pids", 2)
                process.send_signal(number)
                expected = -number if number == signal.SIGKILL else 128 + number
                self.assertEqual(process.wait(), expected)
                # A shell has its children in the background ignore SIGINT, here as over there.
                self.wait_until_gone(pids[:1] if number == signal.SIGINT else pids)

    def test_a_second_ctrl_c_ends_what_ignores_the_first(self):
        process = self.popen("exec", "box", "trap '' INT; " + WORK.format(self.pids))
        pids = self.wait_for_pids("pids", 2)
        process.send_signal(signal.SIGINT)
        reply = self.choline("exec", "box", "echo still")  # it had the time to be passed on
        self.assertEqual((reply.out, process.poll()), ("still\n", None))
        self.assertTrue(all(map(is_alive, pids)))
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(), 130)
        self.wait_until_gone(pids)

    def test_it_stands_where_the_task_does_with_its_environment(self):
        self.assertEqual(self.choline("exec", "box", "echo $COLOUR; cat note.txt").out,
                         "blue\na note\n")

    def test_an_instance_of_a_run_is_named_with_it(self):
        self.assertEqual(self.choline("exec", f"{self.run_id}:box", "echo there").out, "there\n")
        self.assert_says(self.choline("exec", f"{self.run_id}:bax", "true", code=3).err, "bax",
                         self.run_id)

    def test_a_word_that_is_neither_instance_nor_host_is_told_as_both(self):
        self.assert_says(self.choline("exec", "nosuch", "true", code=3).err,
                         'no live instance "nosuch"', "there are: box", "as a host")

    def test_a_terminal_is_only_had_from_a_terminal(self):
        self.assert_says(self.choline("exec", "-t", "box", "--", "true", code=2).err,
                         "needs a terminal here")


class Secrets(Reaching):
    def test_secrets_of_the_task_come_only_when_asked_for(self):
        self.begin("""
secret "WORD"
local box = instance "box" { from = { here {} } }
task "stay" { on = box, env = { WORD = secret.WORD, PLAIN = "yes" },
  run = "echo begun; exec sleep 600", grace = "0s" }
""", env={"WORD": "hush-hush"})
        say = ("--", "sh", "-c", "echo ${PLAIN:-none} ${WORD:-none}")
        self.assertEqual(self.choline("exec", "box", *say).out, "yes none\n")
        given = self.choline("exec", "--secrets", "box", *say, env={"WORD": "hush-hush"})
        self.assertEqual(given.out, "yes hush-hush\n")


class There(Reaching):
    def test_a_link_that_dies_ends_the_command_there_and_says_so(self):
        host = Sshd(self.sandbox / "host")
        self.begin_on(host)
        pids = self.sandbox / "pids"
        process = self.popen("exec", "box", WORK.format(pids))
        working = self.wait_for_pids("pids", 2)
        host.cut()
        _, err = process.communicate()
        self.assert_says(err.decode(), "the link to box died", "ended there")
        self.assertEqual(process.returncode, 1)
        self.wait_until_gone(working)
        self.assertEqual(self.choline("exec", "box", "echo again").out, "again\n")
