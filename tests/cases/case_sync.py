"""choline push, pull and sync: between here, instances and hosts that are no instances."""

import os
import subprocess

from harness import Case
from sshd import Sshd

HOLDS = """
instance "box" { from = { here {} } }
instance "other" { from = { here {} } }
sync "code" { from = "Cholfile.lua", to = "box:/work/" }
task "hold" { on = "box", run = "touch up; until test -e over; do sleep 0.1; done" }
task "too" { on = "other", run = "until test -e /work/over; do sleep 0.1; done" }
"""


class Moving(Case):
    def setUp(self):
        super().setUp()
        self.hosts = []
        self.socket = self.sandbox / "keys"
        keeper = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        self.wait_until(self.socket.exists, "the agent of keys")

    def environment(self, **more):
        return super().environment(SSH_AUTH_SOCK=str(self.socket), **more)

    def host(self, *lines):
        host = Sshd(self.sandbox / f"host{len(self.hosts)}", *lines)
        self.hosts.append(host)
        self.addCleanup(host.stop)
        subprocess.run(["ssh-add", "-q", host.key], check=True, env=self.environment())
        return host

    def at(self, host, path):
        return f"ssh://127.0.0.1:{host.port}{path}"

    def tree(self, folder):
        """Path, kind and contents of all below a folder."""
        out = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_symlink():
                out[name] = os.readlink(path)
            else:
                out[name] = None if path.is_dir() else path.read_bytes()
        return out


class Hosts(Moving):
    def test_a_folder_goes_to_a_bare_host_and_comes_back(self):
        host = self.host()
        self.write("in/a.txt", "one")
        self.write("in/deep/b.txt", "two\n" * 1000)
        self.write("in/.gitignore", "left\n")
        self.write("in/left", "ignored")
        place = self.at(host, "/~/there")
        sent = self.choline("push", "in", place, "--json").json
        self.assertEqual((sent["files"], sent["deleted"], sent["failed"]), (3, 0, []))
        self.assertEqual(set(self.tree(host.home / "there")),
                         {"a.txt", "deep", "deep/b.txt", ".gitignore"})
        again = self.choline("push", "in", place, "--json").json
        self.assertEqual((again["files"], again["bytes"], again["unchanged"]), (0, 0, 3))
        self.choline("pull", place, "back")
        self.assertEqual(self.tree(self.work / "back"), self.tree(host.home / "there"))
        self.choline("push", "in", place, "--include-ignored")
        self.assertEqual(self.tree(host.home / "there"), self.tree(self.work / "in"))

    def test_a_place_is_written_as_scp_writes_it(self):
        host = self.host(f"SetEnv HOME={self.sandbox}")
        self.write("note.txt", "to you")
        user = os.environ.get("USER", "root")
        place = self.at(host, str(host.home))
        self.choline("push", "note.txt", place.replace("ssh://", f"ssh://{user}@") + "/")
        self.assertEqual((host.home / "note.txt").read_text(), "to you")
        self.choline("sync", place + "/note.txt", "./with:colon")
        self.assertEqual((self.work / "with:colon").read_text(), "to you")

    def test_a_dry_run_says_what_and_why_and_changes_nothing(self):
        host = self.host()
        self.write("in/new.txt", "new")
        self.write("in/longer.txt", "longer")
        self.write("in/same.txt", "same")
        place = self.at(host, "/~/there")
        there = host.home / "there"
        self.choline("push", "in/same.txt", place + "/")
        (there / "longer.txt").write_text("short")
        (there / "extra.txt").write_text("extra")
        before = self.tree(there)
        said = self.choline("sync", "in", place, "--delete", "--dry-run")
        self.assertEqual([line.split() for line in said.out.splitlines()], [
            ["another", "size", "6", "B", "longer.txt"], ["new", "3", "B", "new.txt"],
            ["not", "at", "the", "source", "extra.txt"]])
        self.assert_says(said.err, "2 files, 9 B would move, 1 would be deleted")
        told = self.choline("sync", "in", place, "--delete", "-n", "--json").json
        self.assertEqual([(each["why"], each["path"]) for each in told["plan"]],
                         [("size", "longer.txt"), ("new", "new.txt"), ("removed", "extra.txt")])
        self.assertEqual(self.tree(there), before)
        self.choline("sync", "in", place, "--delete")
        self.assertEqual(self.tree(there), self.tree(self.work / "in"))

    def test_contents_are_compared_when_asked(self):
        host = self.host()
        self.write("in/a.txt", "one")
        place = self.at(host, "/~/there")
        self.choline("push", "in", place)
        there = host.home / "there/a.txt"
        times = there.stat()
        there.write_text("two")
        os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))
        self.assertEqual(self.choline("push", "in", place, "--json").json["files"], 0)
        self.assertEqual(self.choline("push", "in", place, "--compare", "--json").json["files"], 1)
        self.assertEqual(there.read_text(), "one")

    def test_what_cannot_be_moved_is_listed_and_the_rest_is_moved(self):
        host = self.host()
        for name in ("a", "b", "c"):
            self.write(f"in/{name}", name)
        place = self.at(host, "/~/there")
        # A folder with something in it lies where the file is to go.
        (host.home / "there/b/full").mkdir(parents=True)
        result = self.choline("push", "in", place, "--json", code=1)
        self.assertEqual([each["path"] for each in result.json["failed"]], ["b"])
        self.assertEqual(result.json["files"], 2)
        self.assertEqual((host.home / "there/c").read_text(), "c")
        said = self.choline("push", "in", place, code=1)
        self.assert_says(said.err, "failed: b:")
        self.assert_clean(said.err)

    def test_progress_is_shown_on_a_terminal_only(self):
        host = self.host()
        (self.work / "big").write_bytes(os.urandom(80 << 20))
        place = self.at(host, "/~/big")
        terminal = self.terminal("push", "big", place)
        terminal.wait_for(" of 83.9 MB")
        self.assertEqual(terminal.wait().code, 0)
        self.assert_says(terminal.text, "/s", "left", "1 file, 83.9 MB")
        (host.home / "big").unlink()
        self.assertNotIn("\r", self.choline("push", "big", place).err)


class Wrong(Moving):
    def test_a_place_that_nobody_knows_says_so(self):
        self.write("a", "")
        result = self.choline("push", "a", "no-such-name.invalid:/x", code=1)
        self.assert_says(result.err, "no-such-name.invalid")
        result = self.choline("push", "a", "gpu9:/x", code=None)
        self.assertNotEqual(result.code, 0)
        self.assert_says(result.err, 'no instance "gpu9" lives, so it was taken for a host')
        self.assert_says(self.choline("push", "a", "-oProxyCommand=touch x:/x", code=2).err)
        self.assert_says(self.choline("push", "a", "b", code=2).err, "expected a place on")
        self.assert_says(self.choline("push", "a", "s3://b/c", code=None).err, "later version")
        self.assert_says(self.choline("sync", "nothing", "b", code=3).err, "there is nothing at")
        self.assertFalse((self.work / "x").exists())

    def test_a_login_that_is_refused_ends_with_4(self):
        host = self.host()
        subprocess.run(["ssh-add", "-q", "-D"], check=True, env=self.environment())
        self.write("a", "")
        self.assert_says(self.choline("push", "a", self.at(host, "/~/a"), code=4).err,
                         "does not accept the login")

    def test_another_host_key_stops_it(self):
        host = self.host()
        self.write("a", "text")
        place = self.at(host, "/~/a")
        self.choline("push", "a", place)
        host.stop()
        host.new_host_key()
        host.start()
        self.write("a", "more text")
        self.assert_says(self.choline("push", "a", place, code=1).err, "nothing was sent")
        self.assertEqual((host.home / "a").read_text(), "text")


class Instances(Moving):
    def test_an_instance_of_a_run_is_a_place(self):
        self.cholfile(HOLDS)
        self.choline("run", "--detach")
        self.wait_until(lambda: len(self.instances()) == 2, "both instances")
        self.wait_until(lambda: "up" in self.choline(
            "exec", "box", "--", "ls", code=None).out, "the task to run")
        self.write("in/a.txt", "one")
        self.assertEqual(self.choline("push", "in", "box:/data", "--json").json["files"], 1)
        self.assertEqual(self.choline("exec", "box", "--", "cat", "../data/a.txt").out, "one")
        self.choline("stop", "--yes")
