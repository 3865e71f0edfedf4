"""choline push, pull and sync: between here, instances and hosts that are no instances."""

import json
import os
import random
import signal
import subprocess
import time

from moving import Moving

HOLDS = """
instance "box" { from = { here {} } }
instance "other" { from = { here {} } }
sync "code" { from = "Cholfile.lua", to = "box:/work/" }
task "hold" { on = "box", run = "touch up; until test -e over; do sleep 0.1; done" }
task "too" { on = "other", run = "until test -e /work/over; do sleep 0.1; done" }
"""


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


class Between(Moving):
    def test_a_tree_passes_from_host_to_host_and_is_not_kept_here(self):
        one, two = self.host(), self.host()
        folder = one.home / "from"
        (folder / "deep").mkdir(parents=True)
        (folder / "big").write_bytes(os.urandom(3 << 20))
        (folder / "deep/odd\nname").write_text("odd")
        (folder / "deep/link").symlink_to("../big")
        (two.home / "to").mkdir()
        (two.home / "to/extra").write_text("extra")
        words = "sync", self.at(one, "/~/from"), self.at(two, "/~/to"), "--delete", "--json"
        plan = self.choline(*words, "--dry-run").json
        self.assertEqual((plan["files"], plan["deleted"]), (2, 1))
        self.assertTrue((two.home / "to/extra").exists())
        done = self.choline(*words).json
        self.assertEqual((done["files"], done["deleted"], done["failed"]), (2, 1, []))
        self.assertEqual(self.tree(two.home / "to"), self.tree(folder))
        self.assertEqual(self.choline(*words).json["files"], 0)
        self.assertEqual(list(self.work.iterdir()), [])

    def test_a_receiver_that_cannot_write_says_why(self):
        one, two = self.host(), self.host()
        (one.home / "from").mkdir()
        (one.home / "from/a").write_text("a")
        (two.home / "file").write_text("no folder")
        said = self.choline("sync", self.at(one, "/~/from"), self.at(two, "/~/file/below"),
                            code=None)
        self.assertNotEqual(said.code, 0)
        self.assert_says(said.err, "file")
        self.assert_clean(said.err)
        gone = self.choline("sync", self.at(one, "/~/nothing"), self.at(two, "/~/x"), code=3)
        self.assert_says(gone.err, "nothing")


class Watching(Moving):
    def watching(self, *words):
        running = self.start("sync", *words)
        self.addCleanup(self.end, running)
        running.wait_for("watching for changes")
        return running

    def end(self, running):
        running.process.kill()
        running.process.wait()

    def until_equal(self, one, two):
        def are_equal():
            try:
                return self.tree(one) == self.tree(two)
            except FileNotFoundError:  # it moves while it is read
                return False
        self.wait_until(are_equal, "both trees to be equal")

    def test_what_changes_here_is_there_soon(self):
        host = self.host()
        self.write("in/a", "one")
        self.write("in/.gitignore", "left/\n")
        there = host.home / "there"
        running = self.watching("in", self.at(host, "/~/there"), "--watch", "--delete")
        self.until_equal(self.work / "in", there)
        self.write("in/a", "other")
        self.until_equal(self.work / "in", there)
        self.write("in/new/deep/folder/b", "in a folder that nobody watched before")
        self.until_equal(self.work / "in", there)
        (self.work / "in/new").rename(self.work / "in/moved")
        self.until_equal(self.work / "in", there)
        self.write("in/moved/deep/folder/b", "after it was moved")
        self.until_equal(self.work / "in", there)
        lines = len(running.err.splitlines())
        self.write("in/left/x", "ignored")
        self.write("in/last", "last")
        self.wait_until((there / "last").exists, "the last file")
        self.assertFalse((there / "left").exists())
        self.wait_until(lambda: len(running.err.splitlines()) > lines, "a word on it")
        self.assertNotIn("cannot be told", running.err)

    def test_what_changes_there_is_here_soon_also_after_the_link_was_cut(self):
        host = self.host()
        there = host.home / "there"
        there.mkdir()
        running = self.watching(self.at(host, "/~/there"), "out", "--watch")
        (there / "a").write_text("one")
        self.wait_until((self.work / "out/a").exists, "the first file")
        (there / "sub").mkdir()
        (there / "sub/b").write_text("two")
        self.until_equal(there, self.work / "out")
        host.cut()
        (there / "c").write_text("three")
        self.until_equal(there, self.work / "out")
        (there / "d").write_text("four")
        self.until_equal(there, self.work / "out")
        self.assertNotIn("cannot be told", running.err)

    def test_a_program_gets_an_object_on_each_line(self):
        host = self.host()
        self.write("in/a", "one")
        running = self.start("sync", "in", self.at(host, "/~/there"), "--watch", "--json")
        self.addCleanup(self.end, running)
        self.wait_until(lambda: running.out.count("\n") == 1, "the first line")
        self.write("in/b", "two")
        self.wait_until(lambda: running.out.count("\n") == 2, "the second line")
        lines = [json.loads(line) for line in running.out.splitlines()]
        self.assertEqual([line["files"] for line in lines], [1, 1])


class TwoWay(Moving):
    def setUp(self):
        super().setUp()
        self.far = self.host()
        self.here, self.there = self.work / "notes", self.far.home / "notes"
        self.here.mkdir()

    def words(self, *more):
        return "sync", "notes", self.at(self.far, "/~/notes"), "--two-way", *more

    def both(self, code=0):
        told = self.choline(*self.words("--json"), code=code).json
        self.assertEqual(self.tree(self.here), self.tree(self.there))
        return told

    def test_changes_and_deletions_go_both_ways(self):
        self.write("notes/a", "one")
        self.write("notes/d/x", "two")
        self.assertEqual(self.both()["files"], 2)
        (self.there / "a").write_text("changed there")
        (self.there / "new").write_text("new there")
        (self.here / "d/x").unlink()
        (self.here / "d").rmdir()
        told = self.both()
        self.assertEqual((told["files"], told["deleted"], told["conflicts"]), (2, 2, []))
        self.assertEqual(self.tree(self.here), {"a": b"changed there", "new": b"new there"})
        self.assertEqual(self.both()["files"], 0)
        (self.here / "new").chmod(0o700)
        self.both()
        self.assertEqual((self.there / "new").stat().st_mode & 0o777, 0o700)

    def test_the_first_time_is_a_union(self):
        self.there.mkdir()
        self.write("notes/mine", "mine")
        self.write("notes/same", "same")
        (self.there / "theirs").write_text("theirs")
        (self.there / "same").write_text("same")
        told = self.both()
        self.assertEqual((told["files"], told["deleted"], told["conflicts"]), (2, 0, []))

    def test_both_versions_of_a_conflict_stay_and_are_told(self):
        self.write("notes/plan.txt", "agreed")
        self.both()
        self.write("notes/plan.txt", "mine")
        (self.there / "plan.txt").write_text("hers")
        # Clocks do not decide: the older one here keeps its name.
        os.utime(self.here / "plan.txt", (1, 1))
        said = self.choline(*self.words())
        [name] = set(self.tree(self.here)) - {"plan.txt"}
        self.assertRegex(name, r"^plan[.]conflict-127[.]0[.]0[.]1-\d+-\d{4}-\d\d-\d\d-\d{6}[.]txt$")
        self.assertEqual(self.tree(self.here), {"plan.txt": b"mine", name: b"hers"})
        self.assertEqual(self.tree(self.here), self.tree(self.there))
        self.assert_says(said.err, "conflict: plan.txt changed at both sides", name)
        self.assertEqual(self.both()["files"], 0)

    def test_a_change_is_stronger_than_a_deletion(self):
        self.write("notes/a", "one")
        self.both()
        (self.here / "a").unlink()
        (self.there / "a").write_text("changed")
        self.both()
        self.assertEqual(self.tree(self.here), {"a": b"changed"})

    def test_what_is_ignored_at_one_side_is_never_deleted_at_the_other(self):
        self.write("notes/keep.log", "text")
        self.write("notes/a", "one")
        self.both()
        self.write("notes/.gitignore", "*.log\n")
        self.both()
        self.assertEqual((self.there / "keep.log").read_text(), "text")
        (self.here / "keep.log").unlink()
        self.choline(*self.words())
        self.assertEqual((self.there / "keep.log").read_text(), "text")

    def test_a_side_that_has_vanished_deletes_nothing(self):
        self.write("notes/a", "one")
        self.both()
        os.rename(self.there, self.far.home / "elsewhere")
        said = self.choline(*self.words(), code=1)
        self.assert_says(said.err, "not there", "nothing was changed", "begin anew")
        self.there.mkdir()
        said = self.choline(*self.words(), code=1)
        self.assert_says(said.err, "another folder, and empty")
        self.assertEqual(self.tree(self.here), {"a": b"one"})

    def test_a_memory_that_is_damaged_counts_as_none(self):
        self.write("notes/a", "one")
        self.write("notes/b", "two")
        self.both()
        [memory] = [each for each in (self.home / ".local/state/choline/two-way").iterdir()
                    if not each.name.endswith(".lock")]
        memory.write_bytes(memory.read_bytes()[:-9])
        (self.here / "a").unlink()
        said = self.choline(*self.words())
        self.assert_says(said.err, "damaged", "nothing is deleted")
        self.assertEqual(self.tree(self.here), {"a": b"one", "b": b"two"})

    def test_a_dry_run_changes_nothing(self):
        self.write("notes/a", "one")
        plan = self.choline(*self.words("--dry-run", "--json")).json["plan"]
        self.assertEqual([(each["path"], each["why"]) for each in plan], [("a", "copy")])
        self.assertFalse(self.there.exists())
        self.assertEqual(self.both()["files"], 1)

    def test_random_edits_at_both_sides_lose_nothing_whatever_is_killed(self):
        chance = random.Random(7)
        names = ["a", "b", "d/x", "d/y", "d/e/z", "f"]
        for period in range(6):
            wanted = set()
            for number in range(8):
                root = chance.choice((self.here, self.there))
                path = root / chance.choice(names)
                seen = path.read_text() if path.is_file() else None
                if chance.random() < 0.3:
                    path.unlink(missing_ok=True)
                else:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(f"{period}.{number}")
                    wanted.add(f"{period}.{number}")
                wanted.discard(seen)
            for _ in range(3):
                running = self.start(*self.words())
                time.sleep(chance.random() * 0.6)  # anywhere in the middle of it
                running.signal(signal.SIGKILL)
                running.wait()
            self.both()
            there = {text.decode() for text in self.tree(self.here).values() if text is not None}
            self.assertLessEqual(wanted, there)
            parts = [path for root in (self.here, self.there) for path in root.rglob(".choline*")]
            self.assertEqual(parts, [])

    def test_it_goes_on_when_either_side_changes(self):
        self.there.mkdir()
        running = self.start(*self.words("--watch"))
        self.addCleanup(running.process.wait)
        self.addCleanup(running.process.kill)
        running.wait_for("watching for changes")
        self.write("notes/a", "from here")
        self.wait_until((self.there / "a").exists, "it to be there")
        (self.there / "b").write_text("from there")
        self.wait_until((self.here / "b").exists, "it to be here")
        (self.here / "a").unlink()
        self.wait_until(lambda: not (self.there / "a").exists(), "it to go there")
        # The next one begins when what is common has been written down.
        self.write("notes/c", "the next")
        self.wait_until((self.there / "c").exists, "the next")
        running.signal(signal.SIGKILL)
        running.wait()
        (self.there / "b").unlink()
        self.both()
        self.assertEqual(self.tree(self.here), {"c": b"the next"})


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
        self.assertEqual(self.choline("push", "box:/data", "other:/in", "--json").json["files"], 1)
        self.choline("pull", "other:/in", "back")
        self.assertEqual(self.tree(self.work / "back"), {"a.txt": b"one"})
        self.choline("stop", "--yes")


SYNCS = """
instance "box" { from = { here {} } }
instance "other" { from = { here {} } }
sync "code"  { from = "work.sh", to = "box:/work/" }
sync "too"   { from = "work.sh", to = "other:/work/" }
sync "out"   { from = "box:/work/out", to = "./out", on_change = true }
sync "notes" { from = "./notes", to = "box:/notes", two_way = true, on_change = true }
sync "pass"  { from = "box:/work/out", to = "other:/in", every = "300ms" }
task "wait" { on = "other", run = "until test -e ../in/second; do sleep 0.05; done" }
task "talk" { on = "box", run = "sh work.sh" }
"""
TALK = """
mkdir -p out; echo 1 > out/first
until test -e ../notes/question; do sleep 0.05; done
echo yes > ../notes/answer
until test -e ../notes/enough; do sleep 0.05; done
echo 2 > out/second
"""


class Runs(Moving):
    def test_a_run_syncs_on_change_both_ways_and_between_its_instances(self):
        self.write("work.sh", TALK)
        self.write("notes/old", "old")
        self.cholfile(SYNCS)
        running = self.start("run")
        out, notes = self.work / "out", self.work / "notes"
        self.wait_until((out / "first").exists, "what the task wrote")
        self.write("notes/question", "well?")
        self.wait_until((notes / "answer").exists, "the answer")
        self.write("notes/enough", "")
        ended = running.wait()
        self.assertEqual(ended.code, 0, f"\n{ended}")
        self.assertEqual((out / "second").read_text(), "2\n")
        run = self.runs()[0]["id"]
        events = self.choline("status", run, "--json").json["events"]
        kinds = [event["event"] for event in events]
        self.assertNotIn("sync_looks", kinds)
        self.assertNotIn("sync_conflict", kinds)
        self.assertIn("sync_done", kinds)
