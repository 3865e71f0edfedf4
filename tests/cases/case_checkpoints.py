"""Checkpoints: which count, what damage does to them, how many stay, and what syncs write down."""

import json
import os
import threading

from training import FILE, Training


class Damage(Training):
    def paused(self, **how):
        run = self.train(**how)
        self.wait_for_log("wrote", 4)
        self.choline("pause", run)
        return run

    def here(self):
        return sorted((self.work / "here").glob("step-*.json"))

    def test_a_flipped_byte_is_noticed_and_the_checkpoint_before_it_is_used(self):
        run = self.paused()
        newest, before = self.here()[-1], self.here()[-2]
        at = newest.stat()
        text = bytearray(newest.read_bytes())
        text[-100] ^= 1
        newest.write_bytes(text)
        os.utime(newest, ns=(at.st_atime_ns, at.st_mtime_ns))
        self.choline("resume", run, "--detach")
        step = json.loads(before.read_text())["step"]
        self.wait_for_log(f"resumed from {step}")
        told = self.wait_for_event(run, "checkpoint_invalid")
        self.assertEqual((told["checkpoint"], told["instead"]), (newest.name, before.name))
        self.assertIn("other contents", told["message"])
        self.let_it_end(run)

    def test_a_truncated_and_an_absent_one_are_noticed_too(self):
        run = self.paused()
        here = self.here()
        here[-1].unlink()
        os.truncate(here[-2], 10)
        self.choline("resume", run, "--detach")
        step = json.loads(here[-3].read_text())["step"]
        self.wait_for_log(f"resumed from {step}")
        self.assertEqual(len(self.events(run, "checkpoint_invalid")), 2)
        self.let_it_end(run)

    def test_when_all_are_damaged_it_says_so_and_begins_anew(self):
        run = self.paused()
        for each in self.here():
            each.write_text("{}")
        self.choline("resume", run, "--detach")
        self.wait_until(lambda: self.log().count("step 1\n") == 2, "a fresh begin")
        self.assertNotIn("resumed from", self.log())
        self.let_it_end(run)

    def test_another_runs_checkpoints_of_the_same_names_are_not_used(self):
        self.choline("stop", self.paused())
        run = self.train()
        self.wait_for_log("step 1")
        self.choline("stop", run, "--now")
        self.assertNotIn("resumed", self.log())

    def test_a_pull_that_is_damaged_is_repeated_and_nothing_is_released_before(self):
        run = self.train("late", grace="60s")
        self.wait_for_log("step 3")
        over = threading.Event()

        def damage():
            # Equal size and time: only the contents tell.
            while not over.is_set():
                for each in (self.work / "here").glob("step-*.json"):
                    try:
                        at = each.stat()
                        with open(each, "r+b") as file:
                            file.seek(1)
                            file.write(b"!")
                        os.utime(each, ns=(at.st_atime_ns, at.st_mtime_ns))
                    except OSError:
                        pass

        thread = threading.Thread(target=damage)
        thread.start()
        try:
            pausing = self.start("pause", run)
            held = self.wait_for_event(run, "pause_held")
            self.assertTrue(held["again"])
            self.assertEqual(len(self.instances()), 1)
        finally:
            over.set()
            thread.join()
        result = pausing.wait()
        self.assertEqual(result.code, 0, result)
        self.assert_says(result.err, "brought again", "is here and verified")
        self.assert_nothing_lives()
        self.assertIn("\"step\"", self.here()[-1].read_text())

    def test_the_last_are_kept_and_old_ones_do_not_come_back(self):
        run = self.train(sync=", keep = 3")
        self.wait_for_log("wrote", 12)
        self.choline("pause", run)
        names = [each.name for each in self.here()]
        self.assertEqual(len(names), 3)
        self.assertEqual(self.events(run, "pause_secured")[0][1]["checkpoint"], names[-1])
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.wait_for_log("wrote", 20)
        self.choline("stop", run)
        self.assertEqual(len(self.here()), 3)


class Rows(Training):
    def test_a_sync_that_moves_nothing_writes_no_rows(self):
        self.write("train.py", "import time\nprint('begun', flush=True)\ntime.sleep(600)\n")
        self.cholfile((FILE % dict(mode="each", grace="1s", last=1, sync="", task="",
                                   more="")).replace("200ms", "20ms"))
        run = self.choline("run", "--detach").out.strip()
        self.wait_for_log("begun")

        def counts():
            with self.database() as database:
                return [database.execute(f"select count(*) from {table}").fetchone()[0]
                        for table in ("step", "event")]

        self.choline("exec", "box", "--", "mkdir", "-p", "ckpt")
        before = counts()
        # Two files with time for many looks between them: each is two rows of steps and one event.
        for number in (1, 2):
            self.choline("exec", "box", "--", "sh", "-c",
                         f"echo {number} > .n; mv .n ckpt/step-{number}")
            self.wait_until((self.work / f"here/step-{number}").exists, "the file")
            self.wait_until(lambda: len(self.events(run, "checkpoint_pulled")) == number, "event")
        for _ in range(20):
            self.choline("ls")
        after = counts()
        self.assertLessEqual(after[0] - before[0], 4)
        self.choline("stop", run, "--now")
