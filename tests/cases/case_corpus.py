"""Runs of earlier times are replayed for ever: tests/corpus/rules-N.sql holds one by each number of
the replay rules. When the engine takes other steps for the same cholfile, kReplayAbi is raised
(runtime/store/runs.h), a run by the new rules is added, and those before are refused in a sentence.
"""

import re
import sqlite3

import shadow
from harness import CHOLINE, PATIENCE, ROOT, Case

CORPUS = sorted((ROOT / "tests/corpus").glob("rules-*.sql"))


def rules_now():
    text = (ROOT / "runtime/store/runs.h").read_text()
    return int(re.search(r"kReplayAbi = (\d+)", text).group(1))


class Corpus(Case):
    replays = False  # each test says itself what it expects

    def load(self, path):
        state = self.home / ".local/state/choline"
        state.mkdir(parents=True, mode=0o700)
        with sqlite3.connect(state / "store.db") as db:
            db.executescript(path.read_text())
        return state

    def test_there_is_a_run_by_the_rules_of_today(self):
        self.assertIn(f"rules-{rules_now()}.sql", [path.name for path in CORPUS])

    def test_each_run_is_replayed_or_refused_in_a_sentence(self):
        for path in CORPUS:
            state = self.load(path)
            [row] = self.runs()
            self.assertEqual(row["state"], "done")
            if path.stem == f"rules-{rules_now()}":
                faults = shadow.replay(CHOLINE, state, self.sandbox / "shadow", self.work,
                                       self.environment(), PATIENCE)
                self.assertEqual(faults, [], "\n".join(faults))
            else:
                with sqlite3.connect(state / "store.db") as db:
                    db.execute("UPDATE run SET state = 'running', finished = NULL")
                told = self.choline("resume", row["id"], code=None)
                self.assertNotEqual(told.code, 0)
                self.assert_says(told.err, "rules", "choline stop")
            for file in state.glob("store.db*"):
                file.unlink()
