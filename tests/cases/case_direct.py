"""choline sync --direct: from one host straight to another, by a key that serves once."""

import os
import signal
import subprocess

from moving import Moving
from proxy import Proxy
import processes  # its folder is known once the harness is there

SSH = "/usr/bin/ssh"

# In the place of a host's ssh program: one that keeps a copy of what it was given, or lies.
KEEPS = """#!/bin/sh
for word; do [ "$last" = -i ] && key=$word; last=$word; done
cp "$key" {folder}/stolen; chmod 600 {folder}/stolen; printf '%s' "$key" > {folder}/path
cp {keys} {folder}/keys 2>/dev/null
{more}
exec {ssh} "$@"
"""
MISSING = "#!/bin/sh\necho 'ssh: not found' >&2\nexit 127\n"
LED_ASTRAY = """#!/bin/sh
for word; do shift; [ "$word" = {port} ] && word={other}; set -- "$@" "$word"; done
exec {ssh} "$@"
"""


class Direct(Moving):
    def host(self, *lines):
        folder = self.sandbox / f"host{len(self.hosts)}"
        (folder / "bin").mkdir(parents=True)
        host = super().host(
            f"AuthorizedKeysFile {folder}/login.pub {folder}/home/.ssh/authorized_keys",
            f"SetEnv HOME={folder}/home PATH={folder}/bin:/usr/bin:/bin", *lines)
        host.keys = host.home / ".ssh/authorized_keys"
        return host

    def setUp(self):
        super().setUp()
        self.one, self.two = self.host(), self.host()

    def program(self, host, text):
        """What `ssh` is on that host."""
        path = host.folder / "bin/ssh"
        path.write_text(text)
        path.chmod(0o755)

    def sync(self, *words, code=0, one=None, two=None, to="/~/to"):
        return self.choline("sync", self.at(one or self.one, "/~/from"),
                            self.at(two or self.two, to), "--direct", "--json", *words, code=code)

    def fill(self, size=3 << 20):
        folder = self.one.home / "from"
        (folder / "deep").mkdir(parents=True)
        (folder / "big").write_bytes(os.urandom(size))
        (folder / "deep/odd\nname").write_text("odd")
        (folder / "deep/link").symlink_to("../big")

    def assert_equal_trees(self):
        self.assertEqual(self.tree(self.two.home / "to"), self.tree(self.one.home / "from"))

    def left_running(self):
        """What of a transfer lives on the hosts: all but sshd, the agent of keys and the line."""
        usual = "sshd", "ssh-agent", "choline_proxy"
        return [each for each in map(str, processes.below(self.sandbox))
                if not any(name in each for name in usual)]


class Straight(Direct):
    def test_bytes_go_from_host_to_host_and_not_through_here(self):
        self.fill(8 << 20)
        (self.two.home / "to").mkdir()
        (self.two.home / "to/extra").write_text("extra")
        line = Proxy(self.one.port)  # the link from here to the one that sends
        self.addCleanup(line.stop)
        place = f"ssh://127.0.0.1:{line.port}/~/from", self.at(self.two, "/~/to"), "--direct"
        plan = self.choline("sync", *place, "--delete", "--dry-run", "--json").json
        self.assertEqual((plan["direct"], plan["files"], plan["deleted"]), (True, 2, 1))
        self.assertTrue((self.two.home / "to/extra").exists())
        before = line.bytes()
        done = self.choline("sync", *place, "--delete", "--json").json
        self.assertEqual((done["direct"], done["files"], done["deleted"]), (True, 2, 1))
        self.assertLess(line.bytes() - before, 1 << 20)
        self.assert_equal_trees()
        again = self.choline("sync", *place, "--json").json
        self.assertEqual((again["direct"], again["files"]), (True, 0))
        self.assertFalse(self.two.keys.exists())

    def test_authorized_keys_is_what_it_was(self):
        self.fill(1000)
        real = self.two.home / "dotfiles/keys"
        real.parent.mkdir()
        self.two.keys.parent.mkdir(mode=0o700)
        self.two.keys.symlink_to("../dotfiles/keys")
        over = ('restrict,expiry-time="20200101000000",command="x" ssh-ed25519 AAAA '
                "choline-direct-a\n")
        still = over.replace("2020", "2999")
        text = "# mine\n\nssh-ed25519 AAAAB me\r\n" + still + 'from="10.0.0.1" ssh-rsa AAAA no end'
        real.write_text(over + text)
        real.chmod(0o640)
        self.program(self.one, KEEPS.format(folder=self.one.folder, keys=self.two.keys, ssh=SSH,
                                            more=""))
        self.assertTrue(self.sync().json["direct"])
        self.assertEqual(real.read_bytes(), text.encode())
        self.assertEqual(real.stat().st_mode & 0o7777, 0o640)
        self.assertEqual(os.readlink(self.two.keys), "../dotfiles/keys")
        self.assertEqual(sorted(each.name for each in real.parent.iterdir()), ["keys"])
        line, rest = (self.one.folder / "keys").read_text().split("\n", 1)
        self.assertRegex(line, '^restrict,expiry-time="\\d{14}",command="/.*/agent-\\S* admitted '
                               '[a-z0-9]{20}" ssh-ed25519 \\S+ choline-direct-[a-z0-9]{20}$')
        self.assertEqual(rest.encode(), text.encode().replace(b"\r\n", b"\n"))

    def test_the_receiver_dials_where_the_sender_has_no_ssh(self):
        self.fill()
        self.program(self.one, MISSING)
        self.assertTrue(self.sync().json["direct"])
        self.assert_equal_trees()
        self.assertFalse(self.one.keys.exists())

    def test_what_cannot_be_written_says_why(self):
        self.fill(10)
        (self.two.home / "file").write_text("no folder")
        said = self.sync(to="/~/file/below", code=None)
        self.assertNotEqual(said.code, 0)
        self.assert_says(said.err, "file")
        self.assertNotIn("not directly", said.err)


class ThroughHere(Direct):
    """Where neither reaches the other it goes through here, and says why."""

    def through_here(self, *why):
        said = self.sync()
        self.assertNotIn("direct", said.json)
        self.assert_says(said.json["relayed"], *why)
        self.assert_says(said.err, "not directly, but through here")
        self.assert_equal_trees()

    def test_without_ssh_programs(self):
        self.fill()
        self.program(self.one, MISSING)
        self.program(self.two, MISSING)
        self.through_here("has no ssh program")

    def test_a_host_with_another_key_gets_nothing(self):
        self.fill()
        other = self.host()
        for host, far in ((self.one, self.two), (self.two, self.one)):
            self.program(host, LED_ASTRAY.format(port=far.port, other=other.port, ssh=SSH))
        before = (other.folder / "sshd.log").read_text()
        self.through_here("does not have the key of")
        seen = (other.folder / "sshd.log").read_text()[len(before):]
        self.assertNotIn("Accepted", seen)
        self.assertNotIn("Failed", seen)

    def test_a_host_behind_another_one(self):
        self.fill()
        (self.home / ".ssh").mkdir(mode=0o700)
        lines = []
        for name, host, gate in (("near", self.one, self.two), ("far", self.two, self.one)):
            lines.append(f"Host {name}\n HostName 127.0.0.1\n Port {host.port}\n"
                         f" ProxyJump 127.0.0.1:{gate.port}\n")
        (self.home / ".ssh/config").write_text(
            "".join(lines) + "Host *\n StrictHostKeyChecking accept-new\n")
        said = self.choline("sync", "ssh://near/~/from", "ssh://far/~/to", "--direct", "--json")
        self.assert_says(said.json["relayed"], "far is reached through another host")
        self.assert_equal_trees()

    def test_a_host_that_reads_another_list_of_keys(self):
        self.fill()
        for host in (self.one, self.two):
            host.stop()
            config = (host.folder / "config").read_text()
            (host.folder / "config").write_text(config.replace(str(host.keys), "none"))
            host.start()
        self.through_here("does not accept the login")
        self.assertFalse(self.two.keys.exists())

    def test_both_sides_must_be_far_and_one_way(self):
        self.write("a", "")
        place = self.at(self.two, "/~/a")
        said = self.choline("sync", "a", place, "--direct", code=2)
        self.assert_says(said.err, "--direct is for two far places")
        said = self.choline("sync", place, place, "--direct", "--two-way", code=2)
        self.assert_says(said.err, "leave out --direct")


class Hostile(Direct):
    """The host that dials is a stranger, who tries what else its key may be good for."""

    def key(self, *words, **more):
        return subprocess.run(
            [SSH, "-F", "/dev/null", "-i", self.one.folder / "stolen", "-o", "BatchMode=yes",
             "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "LogLevel=ERROR",
             "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
             "-p", str(self.two.port), *words], stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=60, env=self.environment(), **more)

    def steal(self, more=""):
        self.program(self.one, KEEPS.format(folder=self.one.folder, keys=self.two.keys, ssh=SSH,
                                            more=more))

    def test_the_key_serves_once_and_for_nothing_else(self):
        self.fill()
        self.steal()
        self.assertTrue(self.sync().json["direct"])
        path = (self.one.folder / "path").read_text()
        self.assertRegex(path, "^/proc/[0-9]+/fd/[0-9]+$")
        self.assertFalse(os.path.exists(path))
        gone = self.key("127.0.0.1", "touch", "pwned")
        self.assertIn("Permission denied", gone.stderr)
        # Even where the line has stayed, as after a power cut: nobody waits behind it any more.
        line = (self.one.folder / "keys").read_text()
        self.two.keys.write_text(line)
        self.two.keys.chmod(0o600)
        served = self.key("127.0.0.1", f"touch {self.two.home}/pwned")
        self.assertIn("this key has served", served.stderr)
        self.assertEqual((served.returncode, served.stdout), (1, ""))
        shell = self.key("-tt", "127.0.0.1")
        self.assertNotIn("$", shell.stdout)
        self.assertNotEqual(shell.returncode, 0)
        forward = self.key("-W", f"127.0.0.1:{self.two.port}", "127.0.0.1")
        self.assertIn("forwarding failed", forward.stderr)
        self.assertNotIn("SSH-2.0", forward.stdout)
        self.assertFalse((self.two.home / "pwned").exists())

    def test_a_first_login_of_its_own_gets_the_transfer_and_no_other(self):
        """It is asked for nothing, so it cannot ask for another path; its words end in an error."""
        self.fill()
        (self.two.home / "other").mkdir()
        self.steal("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | "
                   f'{SSH} "$@" "touch {self.two.home}/pwned" > {self.one.folder}/got')
        said = self.sync(code=None)
        self.assertFalse((self.two.home / "pwned").exists())
        self.assertEqual(list((self.two.home / "other").iterdir()), [])
        self.assertIn("@choline-direct", (self.one.folder / "got").read_text(errors="replace"))
        self.assertFalse(self.two.keys.exists() and self.two.keys.read_text())
        # The transfer itself went another way.
        self.assertEqual(said.code, 0, said)
        self.assert_equal_trees()


class Killed(Direct):
    def test_nothing_is_left_after_choline_was_killed_and_the_next_goes_on(self):
        self.fill(12 << 20)
        self.two.keys.parent.mkdir(mode=0o700)
        self.two.keys.write_text("# mine\n")
        line = Proxy(self.two.port)  # the way to the one that receives, from everywhere
        self.addCleanup(line.stop)
        words = ("sync", self.at(self.one, "/~/from"), f"ssh://127.0.0.1:{line.port}/~/to",
                 "--direct", "--json")
        self.choline(*words, "--dry-run")
        line.set("rate", 4 << 20)
        running = self.start(*words)
        there = self.two.home / "to"

        self.addCleanup(running.process.wait)
        self.addCleanup(running.process.kill)

        def part():
            try:
                return max((each.stat().st_blocks * 512 for each in there.rglob(".choline-part*")),
                           default=0)
            except FileNotFoundError:  # it has got its name meanwhile
                return 0
        self.wait_until(lambda: part() > 4 << 20, "a part of the big file")
        self.assertEqual(self.two.keys.read_text(), "# mine\n")
        running.signal(signal.SIGKILL)
        running.wait()
        self.wait_until(lambda: not self.left_running(), "all to end on both hosts")
        self.wait_until(lambda: not self.one.sessions() and not self.two.sessions(), "the logins")
        line.set("rate", 0)
        before = line.bytes()
        self.assertTrue(self.choline(*words).json["direct"])
        self.assertLess(line.bytes() - before, 10 << 20)
        self.assert_equal_trees()

    def test_a_login_that_never_comes_leaves_no_line(self):
        self.fill(10)
        self.program(self.one, f"#!/bin/sh\ntouch {self.one.folder}/dials\nexec sleep 1000\n")
        running = self.start("sync", self.at(self.one, "/~/from"), self.at(self.two, "/~/to"),
                             "--direct")
        self.wait_until((self.one.folder / "dials").exists, "the dialling")
        self.assertIn(" admitted ", self.two.keys.read_text())
        running.signal(signal.SIGKILL)
        running.wait()
        self.wait_until(lambda: not self.two.keys.exists(), "the line to go")
        self.wait_until(lambda: not self.left_running(), "all to end on both hosts")


PASSES = """
instance "box" {{ from = {{ here {{}} }} }}
instance "other" {{ from = {{ here {{}} }} }}
sync "code" {{ from = "a.txt", to = "box:/work/" }}
sync "too"  {{ from = "a.txt", to = "other:/work/" }}
sync "pass" {{ from = "box:/work/out", to = "other:/in", every = "100ms", direct = true }}
task "wait" {{ on = "other", run = [[
until test -e ../in/first; do sleep 0.05; done; touch {seen}
until test -e ../in/second; do sleep 0.05; done ]] }}
task "talk" {{ on = "box", run = [[
mkdir -p out; echo 1 > out/first
until test -e {seen}; do sleep 0.05; done; echo 2 > out/second ]] }}
"""


class Runs(Direct):
    def test_a_run_says_once_why_its_sync_is_not_direct(self):
        self.write("a.txt", "")
        self.cholfile(PASSES.format(seen=self.work / "seen"))
        said = self.choline("run")
        told = [line for line in said.out.splitlines() if "not directly" in line]
        self.assertEqual(len(told), 1, said)
        self.assert_says(told[0], "no ssh leads to other", "no ssh leads to box")

    def test_a_sync_with_one_side_here_cannot_be_direct(self):
        self.cholfile('instance "box" { from = { here {} } }\n'
                      'sync "code" { from = ".", to = "box:/in", direct = true }\n'
                      'task "t" { on = "box", run = "true" }\n')
        said = self.choline("check", code=2)
        self.assert_says(said.err + said.out, '"direct" is for two instances')
