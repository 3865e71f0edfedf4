"""A host without an instance on it: native calls take "ssh://host" in place of a tag."""

import os
import shutil
import subprocess
import time

from harness import ROOT, Case
from proxy import Proxy
from sshd import Sshd, free_port

# In place of the commands: runs one on the place that the first argument names.
ASKS = """
local native, argv = ...
local done = native.instance.exec(argv[1], { shell = argv[2] })
native.sys.write(1, done.out)
return done.code
"""
# Runs a command on all places at once; gives how many did not answer.
VISITS = """
local native, argv = ...
local children = {}
for number, place in ipairs(argv) do
  children[number] = { name = "host" .. number, fn = function()
    return native.instance.exec(place, { shell = "echo $$" }).out
  end }
end
local failed = 0
for number, each in ipairs(require "wait.task".all(children)) do
  if not each.ok then failed = failed + 1 end
  native.sys.write(each.ok and 1 or 2, each.ok and each.value or tostring(each.value) .. "\\n")
end
return failed
"""


class BareHost(Case):
    replays = False

    def setUp(self):
        super().setUp()
        self.write("asks/main.lua", ASKS)
        self.host = Sshd(self.sandbox / "host")
        self.addCleanup(self.host.stop)
        self.socket = self.sandbox / "agent"
        keeper = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        add = ["ssh-add", "-q", self.host.key]  # its socket is there before it listens
        self.wait_until(lambda: subprocess.run(add, env=self.with_keys()).returncode == 0,
                        "the agent of keys")

    def with_keys(self):
        return self.environment(SSH_AUTH_SOCK=str(self.socket))

    def ask(self, place, command, code=0):
        return self.choline(place, command, code=code,
                            env={"CHOLINE_STDLIB": str(self.work / "asks"),
                                 "SSH_AUTH_SOCK": str(self.socket)})

    def test_its_agent_answers_from_the_home_of_the_user_and_takes_no_place(self):
        place = f"ssh://127.0.0.1:{self.host.port}"
        self.assertEqual(self.ask(place, "pwd; exit 3", code=3).out.strip(), str(self.host.home))
        self.assertEqual((self.host.places(), self.host.folders()), ([], []))

    def test_one_that_never_answered_is_not_waited_for(self):
        self.host.stop()
        place = f"ssh://127.0.0.1:{self.host.port}"
        self.assert_says(self.ask(place, "true", code=None).err, "Connection refused",
                         str(self.host.port))

    def test_a_name_that_ssh_would_read_as_an_option_is_refused(self):
        self.assert_says(self.ask("ssh://-oProxyCommand=id", "true", code=None).err,
                         "no host for ssh")

    def test_commands_take_one_in_place_of_an_instance(self):
        keys = {"SSH_AUTH_SOCK": str(self.socket)}
        for name in (f"127.0.0.1:{self.host.port}", f"ssh://127.0.0.1:{self.host.port}"):
            result = self.choline("exec", name, "pwd; exit 5", code=5, env=keys)
            self.assertEqual(result.out.strip(), str(self.host.home))
        shell = self.choline("ssh", name, "--", "echo", "two words", env=keys)
        self.assertEqual(shell.out, "two words\n")

    def push(self, *words, port=None, code=0):
        target = f"ssh://127.0.0.1:{port or self.host.port}{self.host.home}/there"
        return self.choline("push", *words, self.work / "data", target, code=code,
                            env={"SSH_AUTH_SOCK": str(self.socket)})

    def assert_there(self):
        here, there = self.work / "data", self.host.home / "there"
        names = sorted(path.name for path in here.iterdir())
        self.assertEqual(sorted(path.name for path in there.iterdir()), names)
        for name in names:
            self.assertEqual((there / name).read_bytes(), (here / name).read_bytes())

    def test_a_transfer_is_no_faster_than_it_may_be(self):
        data = self.work / "data"
        for sizes in ([1_200_000], [40_000] * 30):  # pieces of one file; packs of small ones
            shutil.rmtree(data, ignore_errors=True)
            shutil.rmtree(self.host.home / "there", ignore_errors=True)
            data.mkdir()
            for number, size in enumerate(sizes):
                (data / f"file-{number}").write_bytes(os.urandom(size))
            began = time.monotonic()
            self.push("--limit", "1 MB/s")
            # The last fifth of a megabyte, and a little more, is on its way by then.
            self.assertGreater(time.monotonic() - began, 0.6)
            self.assert_there()

    def test_a_transfer_opens_no_more_connections_than_it_may(self):
        (self.work / "data").mkdir()
        (self.work / "data/large").write_bytes(os.urandom(17 << 20))
        line = Proxy(self.host.port)
        self.addCleanup(line.stop)
        self.push("--links", "1", port=line.port)
        self.assertEqual(line.connections()[0], 1)
        self.assert_there()

    def test_limits_that_are_none_are_refused(self):
        (self.work / "data").mkdir()
        for words, said in ((["--links", "0"], "--links is 1 or more"),
                            (["--limit", "0 MB/s"], "a rate of 0 would never end"),
                            (["--limit", "fast"], 'a rate such as "20 MB/s"')):
            self.assert_says(self.push(*words, code=2 if words[0] == "--limit" else None).err, said)


class ManyHosts(Case):
    replays = False

    def test_a_hundred_hosts_at_once_all_answer(self):
        shutil.copytree(ROOT / "stdlib", self.work / "visits")
        (self.work / "visits/main.lua").write_text(VISITS)
        key = self.choline("key").out
        port, places = free_port(), []
        for server in range(7):  # an sshd listens at 16 addresses at most
            addresses = [f"127.0.1.{number}" for number in range(1, 101) if number % 7 == server]
            host = Sshd(self.sandbox / f"host{server}", address=addresses[0], port=port,
                        *(f"ListenAddress {address}" for address in addresses[1:]))
            self.addCleanup(host.stop)
            (host.folder / "login.pub").write_text(key)
            places += [f"ssh://{address}:{port}" for address in addresses]
        result = self.choline(*places, env={"CHOLINE_STDLIB": str(self.work / "visits")})
        self.assertEqual(len(set(result.out.split())), 100, result)
        known = self.home / ".local/state/choline/ssh/known_hosts"
        self.assertEqual(len(known.read_text().splitlines()), 100)
