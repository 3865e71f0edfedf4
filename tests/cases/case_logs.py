"""`choline logs -f`: every byte of the output once and in order, whatever happens to links,
files and attempts meanwhile."""

import os
import signal

from attaching import Reaching
from sshd import Sshd

COUNTS = """
for number in $(seq 1 %d); do echo "line=$number"; [ $((number %% 100)) != 0 ] || sleep 0.01; done
until [ -e "$1" ]; do sleep 0.05; done
echo line=last
"""
HERE = """
local box = instance "box" { from = { %s } }
sync "code" { from = "./code", to = "box:/work" }
task "count" { on = box, run = "sh count.sh %s" %s }
"""


class Following(Reaching):
    def count(self, lines, provider="here {}", more=""):
        self.write("code/count.sh", COUNTS % lines)
        self.stop = self.sandbox / "stop"
        self.cholfile(HERE % (provider, self.stop, more))
        self.run_id = self.choline("run", "--detach").out.split()[0]
        self.addCleanup(self.choline, "stop", "--now", self.run_id, code=None)
        return self.start("logs", "-f", self.run_id)

    def numbers(self, following):
        return [line for line in following.out.splitlines() if line.startswith("line=")]

    def finish(self, following, lines):
        following.wait_for(f"line={lines}\n")
        self.stop.touch()
        self.assertEqual(following.wait().code, 0)
        self.assertEqual(self.numbers(following),
                         [f"line={number}" for number in (*range(1, lines + 1), "last")])

    def test_each_line_comes_once(self):
        self.finish(self.count(20000), 20000)

    def test_links_that_break_are_not_noticed(self):
        host = Sshd(self.sandbox / "host")
        self.addCleanup(host.stop)
        place = f'ssh {{ hosts = {{ "127.0.0.1:{host.port}" }}, key = "{host.key}" }}'
        following = self.count(20000, place)
        for number in (200, 400):
            following.wait_for(f"line={number}\n")
            host.cut()
        self.finish(following, 20000)

    def test_a_log_that_is_brought_here_again_is_not_shown_again(self):
        following = self.count(1000)
        following.wait_for("line=1000\n")
        [log] = self.home.glob(".local/state/choline/runs/*/logs/*.log")
        whole = log.read_bytes()
        with open(log, "r+b") as file:
            for size in (100, len(whole) // 2, len(whole)):
                os.truncate(log, min(size, log.stat().st_size))
                file.seek(0)
                file.write(whole[:size])
                file.flush()
        self.finish(following, 1000)

    def test_a_new_attempt_is_followed_too(self):
        self.write("code/once.sh", "echo line=first; test -e again || { touch again; exit 1; }\n"
                                   "echo line=second\n")
        self.cholfile(HERE.replace("count.sh", "once.sh")
                      % ("here {}", "x", ", retry = retry { max = 3, wait = '0s' }"))
        self.run_id = self.choline("run", "--detach").out.split()[0]
        following = self.start("logs", "-f", self.run_id)
        self.assertEqual(following.wait().code, 0)
        self.assertEqual(self.numbers(following), ["line=first", "line=first", "line=second"])
        self.assert_says(following.err, "attempt 1", "attempt 2")
        whole = self.choline("logs", self.run_id).out
        for offset in (0, 10, 11, 12, 22, len(whole), 9999):
            shown = self.choline("logs", self.run_id, "--offset", offset).out
            self.assertEqual(shown, whole[offset:])

    def test_one_follower_goes_on_where_another_one_ended(self):
        following = self.count(20000)
        following.wait_for("line=200\n")
        following.signal(signal.SIGKILL)
        following.wait()
        seen = following.out_path.read_bytes()
        following = self.start("logs", "-f", self.run_id, "count", "--offset", len(seen))
        following.wait_for("line=20000\n")
        self.stop.touch()
        self.assertEqual(following.wait().code, 0)
        lines = (seen + following.out_path.read_bytes()).decode().splitlines()
        self.assertEqual(lines, [f"line={number}" for number in (*range(1, 20001), "last")])

    def test_an_offset_that_could_mean_several_tasks_is_refused(self):
        self.cholfile("""
        local box = instance "box" { from = { here {} } }
        task "one" { on = box, run = "echo 1" }
        task "two" { on = box, run = "echo 2" }
        """)
        self.choline("run")
        self.assert_says(self.choline("logs", "--offset", 1, code=2).err, "one task", "name one")
        self.assertEqual(self.choline("logs", self.runs()[0]["id"], "two", "--offset", 1).out, "\n")
        self.assert_says(self.choline("logs", "--offset", -1, code=2).err, "-1")
        self.assert_says(self.choline("logs", "--offset", 1, "--tail", 1, code=2).err, "exclude")
