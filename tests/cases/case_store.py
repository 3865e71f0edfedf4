"""A store that is damaged, of a later version, on a full disk or read-only: a clear sentence and
the right exit code, never a crash, nothing lost, and what can be read is shown all the same.
"""

import os
import pathlib
import random
import shutil
import sqlite3
import unittest

from harness import CHOLINE, Case
from shadow import END_OF_RECORD

FILE = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "good" { on = box, run = "echo all is well" }
task "bad" { on = box, after = "good", run = "echo out of luck; exit 3" }
"""
READING = (("ls",), ("ls", "--json"), ("instances", "--all"), ("status",), ("status", "--json"),
           ("why",), ("logs",), ("explain", "task"))
WRITING = (("run",), ("stop",), ("resume",), ("gc", "--yes"))
MEASURE = os.environ.get("CHOLINE_TEST_MEASURE")


class Store(Case):
    def setUp(self):
        super().setUp()
        self.cholfile(FILE)
        self.choline("run", code=1)
        [self.run_id] = [each["id"] for each in self.runs()]
        self.state = self.home / ".local/state/choline"
        self.store = self.state / "store.db"
        self.intact = self.sandbox / "intact"
        shutil.copytree(self.state, self.intact)

    def put_back(self):
        for path in self.state.glob("store.db*"):
            path.unlink()
        for path in self.intact.glob("store.db*"):
            shutil.copy(path, self.state / path.name)

    def assert_works(self):
        [row] = self.runs()
        self.assertEqual((row["id"], row["state"]), (self.run_id, "failed"))
        self.assert_says(self.choline("why").out, "out of luck", "exit 3")
        self.assert_says(self.choline("logs").out, "all is well", "out of luck")

    def leave_in_log(self):
        """As a process leaves it that was killed: what it wrote last is only in the log."""
        copy = self.sandbox / "copy"
        copy.mkdir()
        with sqlite3.connect(self.store) as db:
            db.execute("PRAGMA wal_autocheckpoint=0")
            db.execute("UPDATE run SET name = 'from-the-log'")
            db.commit()
            for name in ("store.db", "store.db-wal"):
                shutil.copy(self.state / name, copy / name)
        db.close()
        for path in self.state.glob("store.db*"):
            path.unlink()
        for path in copy.iterdir():
            shutil.copy(path, self.state / path.name)
        shutil.rmtree(copy)
        self.assertGreater((self.state / "store.db-wal").stat().st_size, 0)


class Unusual(Store):
    def test_one_of_a_newer_version_is_refused_by_each_command_and_left_as_it_is(self):
        def set_version(number):
            with sqlite3.connect(self.store) as db:
                (old,) = db.execute("PRAGMA user_version").fetchone()
                db.execute(f"PRAGMA user_version={number}")
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            db.close()
            return old

        old = set_version(99)
        before = self.store.read_bytes()
        for words in READING[:-1] + WRITING:
            with self.subTest(words=words):
                result = self.choline(*words, code=2)
                self.assert_clean(result.err + result.out)
                self.assert_says(result.err, str(self.store), "newer choline (schema 99",
                                 "upgrade choline")
        self.choline("explain", "task")
        self.assertEqual(self.store.read_bytes(), before)
        set_version(old)
        self.assert_works()

    @unittest.skipIf(os.geteuid() == 0 and not os.path.exists("/usr/bin/setpriv"), "no setpriv")
    def test_a_read_only_folder_can_be_read(self):
        """Both as a process left it that ended, and as one that was killed."""
        before = self.sandbox / "as-it-was"
        for name in ("", "from-the-log"):
            if name:
                self.leave_in_log()
                (self.state / "store.db-shm").write_bytes(bytes(32768))
            shutil.copytree(self.state, before, dirs_exist_ok=True)
            for path in [*self.state.rglob("*"), self.state]:
                path.chmod(0o555 if path.is_dir() else 0o444)
            for words in READING:
                with self.subTest(words=words, name=name):
                    result = self.without_power(*words)
                    self.assert_clean(result.err + result.out)
                    self.assertEqual(result.code, 0, result)
                    if name and words == ("ls",):
                        self.assertIn(name, result.out)
            refused = self.without_power("run")
            self.assertEqual(refused.code, 1, refused)
            self.assert_says(refused.err, str(self.store), "make the folder", "XDG_STATE_HOME")
            for path in [self.state, *self.state.rglob("*")]:
                path.chmod(0o755 if path.is_dir() else 0o644)
            for path in before.glob("store.db*"):
                self.assertEqual((self.state / path.name).read_bytes(), path.read_bytes(), path)
        for path in self.state.glob("store.db*"):
            path.unlink()
        self.put_back()
        self.assert_works()

    def without_power(self, *words):
        """Root writes everywhere: it gives up what lets it."""
        if os.geteuid() != 0:
            return self.choline(*words, code=None)
        drop = "-dac_override,-dac_read_search,-fowner"
        return self.choline(f"--bounding-set={drop}", f"--inh-caps={drop}", "--", CHOLINE, *words,
                            program="/usr/bin/setpriv", code=None)


class Full(Store):
    """On a small file system of its own, in a place that only one script sees."""

    def on_full_disk(self, script):
        """Runs the script with $choline on a copy of the state; `fill` and `free` are its words."""
        mount = self.sandbox / "mount"
        mount.mkdir()
        text = f"""#!/bin/sh
mount -t tmpfs -o size=4m none {mount} || exit 99
cp -a {self.state} {mount}/choline
export XDG_STATE_HOME={mount}
fill() {{ head -c 9000000 /dev/zero > {mount}/fill 2>/dev/null; }}
free() {{ rm {mount}/fill; }}
choline={CHOLINE}
set -x
{script}
"""
        self.write("script", text, 0o755)
        result = self.start("-rm", self.work / "script", program="/usr/bin/unshare").wait()
        if result.code == 99 or "unshare failed" in result.err:
            self.skipTest("needs the right to mount; native tests use a limit of file sizes")
        self.assert_clean(result.out + result.err)
        if MEASURE:
            print(result)
        return result

    READ_ALL = "".join(f"$choline {' '.join(words)} || echo FAILED\n" for words in READING)

    def test_all_that_only_reads_works(self):
        result = self.on_full_disk(f"fill\n{self.READ_ALL}\nfree\n$choline ls || echo FAILED\n")
        self.assertNotIn("FAILED", result.out, result)
        self.assert_says(result.out, "out of luck", "all is well", self.run_id)
        self.assert_works()

    def test_what_is_only_in_the_log_is_read_too(self):
        self.leave_in_log()
        result = self.on_full_disk(f"fill\n{self.READ_ALL}\nfree\n$choline ls || echo FAILED\n")
        self.assertNotIn("FAILED", result.out, result)
        self.assertEqual(result.out.count(" from-the-log "), 2, result)
        self.assertEqual(result.code, 0)

    def test_what_writes_says_it_and_works_again_once_there_is_space(self):
        result = self.on_full_disk(
            "fill\n$choline run --new; echo it was $?\n"
            "free\n$choline run --new --plain\necho it is $?")
        self.assert_says(result.out, "it was 1", "it is 1", "bad: attempt 1 on box")
        self.assert_says(result.err, "the disk is full", "free some space")

    def test_a_run_that_fills_it_leaves_what_a_stop_ends_once_there_is_space(self):
        self.cholfile("""
local box = instance "box" { from = { here {} } }
task "talk" { on = box, run = "yes 'some words for the log' | head -c 9000000; exec sleep 600" }
""")
        result = self.on_full_disk(f"""
head -c 300000 /dev/zero > {self.sandbox}/mount/fill
$choline run --new --plain; echo it was $?
$choline instances
$choline why
free
$choline stop
echo it is $?
$choline instances --json""")
        self.assert_says(result.out, "it was 1", "box   live", "Its last words were ",
                         "is stopped", "it is 0", "[]")
        self.assert_says(result.err, "left running: box", "the disk is full")


class Damaged(Store):
    """Seeded: CHOLINE_TEST_SEED tries one seed alone, CHOLINE_TEST_SEEDS that many."""

    def seeds(self):
        if "CHOLINE_TEST_SEED" in os.environ:
            return [int(os.environ["CHOLINE_TEST_SEED"])]
        return range(int(os.environ.get("CHOLINE_TEST_SEEDS", 24)))

    def damage(self, chance):
        """In one of the ways in which disks and people do it; says how."""
        path = self.store
        if chance.random() < 0.25:
            self.leave_in_log()
            path = chance.choice([self.store, pathlib.Path(f"{self.store}-wal")])
        data = bytearray(path.read_bytes())
        way = chance.choice(("flip", "flip", "zero", "cut", "swap", "head"))
        if way == "flip":
            for _ in range(chance.choice((1, 8, 64, 512))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        elif way == "head":
            data[chance.randrange(100)] ^= 1 << chance.randrange(8)
        elif way == "cut":
            del data[chance.randrange(len(data)):]
        else:
            pages = range(len(data) // 4096)
            for _ in range(chance.choice((1, 3))):
                one, other = (chance.choice(pages) * 4096 for _ in range(2))
                data[one:one + 4096] = bytes(4096) if way == "zero" else data[other:other + 4096]
        path.write_bytes(data)
        return f"{way} in {path.name}"

    def open_again(self):
        """As if its process had been killed, so that the whole record is read and replayed."""
        with sqlite3.connect(self.store) as db:
            db.execute("UPDATE run SET state = 'running', finished = NULL, failure = NULL")
        db.close()

    def test_bytes_flipped_pages_lost_and_files_cut(self):
        self.replays = False
        resume = ("resume", self.run_id, "--plain")
        words = [*READING[:-1], ("gc", "--dry-run"), resume, ("stop", self.run_id)]
        for seed in self.seeds():
            chance = random.Random(seed)
            self.put_back()
            self.open_again()
            way = self.damage(chance)
            for each in words:
                sealed = {"CHOLINE_TEST_REPLAY": "1"} if each == resume else {}
                result = self.choline(*each, code=None, env=sealed)
                where = f"CHOLINE_TEST_SEED={seed} ({way}): {result}"
                if MEASURE and result.code:
                    print(seed, way, each, result.code, result.err.strip())
                codes = (0, 1, 2, 3, 8, END_OF_RECORD) if each == resume else (0, 1, 3, 8)
                self.assertIn(result.code, codes, where)
                self.assert_clean(result.err + result.out)
                if result.code == 1 and each != resume:
                    self.assertIn(str(self.store), result.err, where)
            self.assertTrue(self.store.exists(), "a damaged store is never removed")
        self.put_back()
        self.assert_works()

    def test_it_is_not_made_anew_and_the_intact_one_works_again(self):
        for data in (b"", b"SQLite format 3\0", self.store.read_bytes()[:5000],
                     b"these are not the rows you are looking for" * 100):
            self.store.write_bytes(data)
            for words in READING[:2] + WRITING[:1]:
                result = self.choline(*words, code=None)
                self.assert_clean(result.err)
                if data:
                    self.assertEqual(result.code, 1, result)
                    self.assert_says(result.err, str(self.store))
                    self.assertEqual(self.store.read_bytes(), data)
            self.put_back()
            self.assert_works()
