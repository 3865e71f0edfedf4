"""Hosts of one's own, each a real sshd: rented by their places, left as they were found."""

import signal

from harness import Case
from proxy import Proxy
from sshd import Sshd

TRAINS = """
local gpu = instance "gpu" { from = { ssh { hosts = { %s }, key = "%s", price = "$0.50/h"%s } } }
sync "code" { from = ".", to = "gpu:/work" }
sync "out"  { from = "gpu:/work/out", to = "./out", every = "1s" }
task "train" { on = gpu, run = "sh train.sh %s", retry = retry { wait = "0s" } }
"""
# Counts without end until a file says to stop; its own record shows how often it was started.
SCRIPT = """
echo begun >> "$1"; mkdir -p out; number=0
while [ ! -e "$1.stop" ]; do number=$((number + 1)); echo "step=$number"; sleep 0.05; done
echo $number > out/last
"""


class Ssh(Case):
    def setUp(self):
        super().setUp()
        self.hosts = []

    def host(self, *lines):
        host = Sshd(self.sandbox / f"host{len(self.hosts)}", *lines)
        self.hosts.append(host)
        self.addCleanup(host.stop)
        return host

    def cholfile_on(self, *hosts, key=None, more=""):
        """`hosts` are sshds, or lines to one."""
        names = ", ".join(f'"127.0.0.1:{host.port}"' for host in hosts)
        self.record = self.sandbox / "record"
        self.write("train.sh", SCRIPT)
        self.cholfile(TRAINS % (names, key or hosts[0].key, more, self.record))

    def end_training(self):
        (self.sandbox / "record.stop").touch()

    def begun(self):
        return self.record.read_text().count("begun") if self.record.exists() else 0

    def assert_left_as_found(self, host):
        self.assertEqual((host.places(), host.folders()), ([], []))

    def assert_whole_log(self):
        """Each step once and in order, whatever the link went through."""
        steps = [line for line in self.choline("logs").out.splitlines() if "step=" in line]
        numbers = [int(line.rpartition("step=")[2].split()[0]) for line in steps]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertEqual(len(numbers), int((self.work / "out/last").read_text()))


class Training(Ssh):
    def test_a_run_trains_there_brings_results_home_and_leaves_nothing(self):
        host = self.host()
        self.cholfile_on(host)
        self.assert_says(self.choline("plan").out, "from ssh", "$0.50/h")
        running = self.start("run")
        running.wait_for_log("step=3")
        [instance] = self.instances()
        self.assertEqual((instance["provider"], instance["price"]), ("ssh", 0.5))
        self.assertEqual(len(host.places()), 1)
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assert_whole_log()
        self.assert_left_as_found(host)
        self.assert_nothing_lives()

    def test_training_does_not_notice_that_the_connection_breaks(self):
        host = self.host()
        self.cholfile_on(host)
        running = self.start("run")
        for step in (5, 15, 25):
            running.wait_for_log(f"step={step}")
            host.cut()
        running.wait_for_log("step=35")
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.begun(), 1)
        self.assert_whole_log()
        self.assert_left_as_found(host)

    def test_a_host_that_is_away_for_a_while_is_waited_for(self):
        host = self.host()
        self.cholfile_on(host)
        running = self.start("run")
        running.wait_for_log("step=5")
        host.stop()
        before = self.begun()
        running.wait_for("; tried again for ")  # and why not, for the person who waits
        self.assert_says(running.err, "Connection refused")
        host.start()
        running.wait_for_log("step=30")
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual((before, self.begun()), (1, 1))
        self.assert_whole_log()

    def test_choline_killed_goes_on_with_the_same_training(self):
        host = self.host()
        self.cholfile_on(host)
        running = self.start("run")
        running.wait_for_log("step=5")
        running.signal(signal.SIGKILL)
        running.wait()
        places = host.places()
        running = self.start("resume")
        running.wait_for_log("step=20")
        self.assertEqual(host.places(), places)
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.begun(), 1)
        self.assert_whole_log()
        self.assert_left_as_found(host)

    def test_a_host_that_hears_nothing_more_ends_the_instance_by_itself(self):
        host = self.host()
        self.cholfile_on(host)
        text = (self.work / "Cholfile.lua").read_text()
        self.cholfile(text.replace('price = "$0.50/h" } }', 'price = "$0.50/h" } }, lease = "3s"'))
        running = self.start("run")
        running.wait_for_log("step=5")
        running.signal(signal.SIGKILL)
        running.wait()
        self.wait_until(lambda: not host.places(), "the host to end the instance")
        self.wait_until(lambda: not host.folders(), "its folder to go")
        running = self.start("resume")
        running.wait_for_log("step=1")
        self.wait_until(lambda: self.begun() == 2, "the second training")
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assert_left_as_found(host)

    def test_stop_ends_it_from_another_terminal(self):
        host = self.host()
        self.cholfile_on(host)
        running = self.start("run")
        running.wait_for_log("step=5")
        self.choline("stop", "--yes", "--now")
        running.wait()
        self.assert_left_as_found(host)
        self.assert_nothing_lives()

    def test_killed_at_the_launch_it_takes_one_place_and_gives_it_back(self):
        host = self.host()
        self.cholfile_on(host)
        tried = 0
        for point in range(1, 40):
            self.choline("run", "--new", env={"CHOLINE_CRASH_AT": str(point)},
                         code=-signal.SIGKILL)
            if not host.places():  # not launched yet, perhaps not even a run
                self.choline("stop", "--yes", "--now", code=None)
                continue
            running = self.start("resume")
            running.wait_for_log("step=3")
            self.assertEqual(len(host.places()), 1, point)
            self.choline("stop", "--yes", "--now")
            running.wait()
            self.assert_left_as_found(host)
            tried += 1
            if tried == 3:
                return
        self.fail("it was never killed after a launch")


class Lines(Ssh):
    def test_training_goes_on_over_a_line_that_cuts_each_connection_after_some_bytes(self):
        host = self.host()
        self.cholfile_on(host)
        self.end_training()
        self.choline("run")  # brings the agent there, which is larger than what the line lets pass
        (self.sandbox / "record.stop").unlink()
        self.record.unlink()
        with Proxy(host.port, cut_after=40_000) as line:
            self.cholfile_on(line, key=host.key)
            self.write("train.sh", SCRIPT.replace("echo \"step=$number\"",
                                                  "printf 'step=%d %0900d\\n' $number 0"))
            running = self.start("run", "--new")
            self.wait_until(lambda: line.connections()[0] >= 12, "twelve connections")
            self.end_training()
            self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.begun(), 1)
        self.assert_whole_log()
        self.assert_left_as_found(host)

    def test_a_connection_that_only_went_silent_is_noticed_and_opened_again(self):
        host = self.host()
        with Proxy(host.port) as line:
            self.cholfile_on(line, key=host.key)
            running = self.start("run")
            running.wait_for_log("step=5")
            before = line.connections()[0]
            line.forget_servers()
            self.wait_until(lambda: line.connections()[0] > before, "another connection")
            last = int(self.choline("logs").out.rpartition("step=")[2].split()[0])
            running.wait_for_log(f"step={last + 20}")
            self.end_training()
            self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.begun(), 1)
        self.assert_whole_log()

    def test_a_host_behind_another_is_reached_through_it(self):
        gate, host = self.host(), self.host()
        (gate.folder / "login.pub").write_text((host.folder / "login.pub").read_text())
        self.cholfile_on(host, more=f', jump = "127.0.0.1:{gate.port}"')
        self.end_training()
        self.choline("run")
        self.assertIn("Accepted publickey", (gate.folder / "sshd.log").read_text())
        self.assert_left_as_found(host)
        gate.stop()
        gate.new_host_key()
        gate.start()
        result = self.choline("run", "--new", code=None)
        self.assertNotEqual(result.code, 0)

    def test_training_by_the_ssh_program_survives_a_reset_too(self):
        host = self.host()
        with Proxy(host.port) as line:
            self.cholfile_on(line, key=host.key, more=', transport = "openssh"')
            running = self.start("run")
            for step in (5, 15):
                running.wait_for_log(f"step={step}")
                line.cut()
            running.wait_for_log("step=30")
            self.end_training()
            self.assertEqual(running.wait().code, 0)
        self.assertEqual(self.begun(), 1)
        self.assert_whole_log()


class Places(Ssh):
    def test_the_next_host_is_taken_when_one_is_full_or_away(self):
        full, away, free = self.host(), self.host(), self.host()
        away.stop()
        (full.home / ".choline/places").mkdir(parents=True)
        (full.home / ".choline/places/1").symlink_to("cho-somebody-else-1")
        self.share_key(full, away, free)
        self.cholfile_on(full, away, free)
        running = self.start("run")
        running.wait_for_log("step=3")
        self.assertEqual(len(free.places()), 1)
        self.end_training()
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(full.places(), ["cho-somebody-else-1"])

    def test_a_full_host_is_said_to_be_full(self):
        host = self.host()
        (host.home / ".choline/places").mkdir(parents=True)
        (host.home / ".choline/places/1").symlink_to("cho-somebody-else-1")
        self.cholfile_on(host)
        self.assert_says(self.choline("plan", code=None).out,
                         f"all 1 places of 127.0.0.1:{host.port} are taken")

    def share_key(self, *hosts):
        for host in hosts[1:]:
            (host.folder / "login.pub").write_text((hosts[0].folder / "login.pub").read_text())


class Refused(Ssh):
    def test_another_key_of_a_host_stops_everything(self):
        host = self.host()
        self.cholfile_on(host)
        self.end_training()
        self.choline("run")
        host.stop()
        host.new_host_key()
        host.start()
        result = self.choline("run", "--new", code=None)
        self.assertNotEqual(result.code, 0)
        self.assert_says(result.out + result.err, f"127.0.0.1:{host.port}", "host key",
                         "nothing was sent", "ssh-keygen -R")
        self.assert_clean(result.err)
        self.assert_left_as_found(host)

    def test_a_login_that_is_not_accepted_says_what_to_do(self):
        host = self.host()
        other = self.sandbox / "other"
        Sshd.make_key(other)
        self.cholfile_on(host, key=other)
        result = self.choline("run", code=None)
        self.assertNotEqual(result.code, 0)
        self.assert_says(result.out + result.err, "does not accept the login", "key =")
        self.assert_left_as_found(host)

    def test_a_word_that_ssh_would_read_as_an_option_is_refused(self):
        self.cholfile('instance "gpu" { from = { ssh { hosts = "-oProxyCommand=touch pwned" } } }\n'
                      'task "t" { on = "gpu", run = "true" }\n')
        result = self.choline("run", code=None)
        self.assertNotEqual(result.code, 0)
        self.assert_says(result.out + result.err, "no host for ssh")
        self.assertFalse((self.work / "pwned").exists())
