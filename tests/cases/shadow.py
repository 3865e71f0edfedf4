"""Shadow replay: the runs that a test left behind are entered again in fresh processes, over a
copy of their store, and must take the same steps. CHOLINE_TEST_REPLAY seals the process: where the
record ends it ends, and it touches nothing on the way.
"""

import shutil
import sqlite3
import subprocess

END_OF_RECORD = 75  # the exit code of a replay that came to a step which is not recorded
STEPS = "SELECT key, verb, state, attempt, seq, result, blob FROM step WHERE run = ? ORDER BY key"
# What each process says of itself is no part of the run.
EVENTS = ("SELECT key, kind, data FROM event WHERE run = ? AND kind <> 'run_resumed' "
          "AND key NOT LIKE '%@%' ORDER BY key")


def copy_state(state, target):
    """The store as it is, with the results that lie beside it; no instance, no socket."""
    target.mkdir(parents=True, mode=0o700)
    source = sqlite3.connect(f"file:{state / 'store.db'}?mode=ro", uri=True)
    with sqlite3.connect(target / "store.db") as copy:
        source.backup(copy)
    source.close()
    for results in state.glob("runs/*/results"):
        shutil.copytree(results, target / "runs" / results.parent.name / "results")


def ended_runs(db):
    """Those whose record says all: (id, state). A run that was stopped
    by a person ends where its record does not say; a diverged one diverges again."""
    rows = db.execute("SELECT id, state, failure FROM run ORDER BY created").fetchall()
    return [(run, state) for run, state, failure in rows
            if state in ("done", "failed") or (state == "paused" and not failure)]


def look(db, run):
    return db.execute(STEPS, (run,)).fetchall(), db.execute(EVENTS, (run,)).fetchall()


def first_difference(before, after):
    for what, old, new in zip(("step", "event"), before, after):
        known = {row[0]: row for row in old}
        for row in new:
            if known.get(row[0]) != row:
                return f"{what} {known.get(row[0], 'that was not there')} became {row}"
        if len(new) != len(old):
            return f"{len(old)} {what}s became {len(new)}"
    return None


def can_be_read(state):
    """Some tests damage the store on purpose, or make one of a later version."""
    if not (state / "store.db").is_file():
        return False
    try:
        with sqlite3.connect(f"file:{state / 'store.db'}?mode=ro", uri=True) as db:
            return db.execute("SELECT count(*) FROM run").fetchone() is not None
    except sqlite3.Error:
        return False


def replay(choline, state, shadow, cwd, environment, patience):
    """Faults as lines of text, one for each run that took other steps."""
    if not can_be_read(state):
        return []
    copy_state(state, shadow / "choline")
    db = sqlite3.connect(shadow / "choline" / "store.db", isolation_level=None)
    faults = []
    for run, ended in ended_runs(db):
        before = look(db, run)
        if not before[0]:
            continue
        db.execute("UPDATE run SET state = 'running', finished = NULL, failure = NULL "
                   "WHERE id = ?", (run,))
        done = subprocess.run(
            [choline, "resume", run, "--plain"], cwd=cwd, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=patience,
            env={**environment, "XDG_STATE_HOME": str(shadow), "CHOLINE_TEST_REPLAY": "1"})
        why = judge(ended, done.returncode, db, run) or first_difference(before, look(db, run))
        if why and not (ended == "paused" and done.returncode == END_OF_RECORD):
            faults.append(f"replay of run {run} ({ended}): {why}\n{done.stdout}{done.stderr}")
    db.close()
    return faults


def judge(ended, code, db, run):
    if ended == "paused":
        return None if code == END_OF_RECORD else f"exit {code}"
    if code == END_OF_RECORD:
        return "it asks for a step that is not recorded"
    (now,) = db.execute("SELECT state FROM run WHERE id = ?", (run,)).fetchone()
    return None if now == ended else f"it is {now} now, exit {code}"
