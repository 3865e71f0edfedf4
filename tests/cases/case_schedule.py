"""Schedules: runs and tasks that start, pause, go on and stop at their times, whatever dies."""

import datetime
import json
import os
import random
import signal
import zoneinfo

from harness import Case
from training import TRAIN, Training

TASK = """
local box = instance "box" { from = { here {} } }
sync "in" { from = "./in", to = "box:/work" }
sync "out" { from = "box:/work/out", to = "./out" }
task "train" { on = box, %s
  run = "mkdir -p out; echo begun; echo x > out/$CHOLINE_RUN; %s" }
"""


class Scheduled(Training):
    def setUp(self):
        super().setUp()
        self.write("in/data", "x")

    def begin(self, text, *words):
        self.cholfile(text)
        return self.choline("run", "--detach", *words).out.split()[0]

    def wait_for_state(self, run, *states):
        self.wait_until(lambda: self.state(run)["state"] in states, f"{run} in {states}")

    def count(self, run, kind):
        return len(self.events(run, kind))

    def children(self, run):
        return [data["run"] for _, data in self.events(run, "schedule_run_begun")]

    def take_up(self, run):
        """As after a reboot: the process is gone, and the service goes on with what is open."""
        self.kill_owner(run)
        self.choline("resume", "--all", "--detach")


class OnceOnly(Scheduled):
    def test_a_run_waits_for_its_start_in_the_background_and_says_when_it_is(self):
        self.cholfile(TASK % ("", "true") + 'schedule { start = "23:00 Europe/Berlin" }')
        begun = self.choline("run")
        run = begun.out.strip()
        self.assert_says(begun.err, "schedule run: the run starts ", " 23:00:00 CE",
                         "(Europe/Berlin), in ", "in the background", "choline service install")
        self.wait_for_state(run, "waiting")
        self.wait_until(lambda: "train  waiting" in self.choline("status", run).out, "the task")
        self.assert_says(self.choline("status", run).out, "schedules", "starts", "23:00:00 CE")
        self.assert_says(self.choline("why", run).out, 'Task "train" waits for its start',
                         'By schedule "run" it starts ', " 23:00:00 CE")
        self.assertEqual(self.instances(), [])
        shown = self.choline("schedule", "--json").json[0]
        self.assertEqual((shown["run"], shown["state"], len(shown["upcoming"])),
                         (run, "active", 1))
        at = datetime.datetime.fromisoformat(shown["upcoming"][0]["at"].replace("Z", "+00:00"))
        here = at.astimezone(zoneinfo.ZoneInfo("Europe/Berlin"))
        self.assertEqual((here.hour, here.minute), (23, 0))
        ahead = (at - datetime.datetime.now(datetime.timezone.utc)).total_seconds()
        self.assertTrue(0 < ahead <= 25 * 3600, ahead)
        self.take_up(run)
        self.assertEqual(self.choline("schedule", "--json").json[0]["upcoming"],
                         shown["upcoming"])
        self.choline("stop", run)
        self.assertEqual(self.events(run, "task_started"), [])

    def test_a_start_after_a_delay_happens_once_though_the_process_dies_before_and_after(self):
        run = self.begin(TASK % ("", "true") + 'schedule { "train", start = in_ "1500ms" }')
        self.wait_for_event(run, "schedule_set")
        self.take_up(run)
        self.wait_for_event(run, "schedule_fired")
        if self.state(run)["owner"]:
            self.kill_owner(run)
        self.choline("resume", run, code=None)
        self.wait_for_state(run, "done")
        self.assertEqual(self.count(run, "schedule_fired"), 1)
        self.assertEqual(self.choline("logs", run).out.count("begun"), 1)
        self.assertEqual(os.listdir(self.work / "out"), [run])

    def test_what_was_missed_while_nobody_was_there_is_made_up_for_and_said(self):
        run = self.begin(TASK % ("", "true")
                         + 'schedule { start = in_ "4s", late = "100ms" }')
        self.wait_for_event(run, "schedule_set")
        self.kill_owner(run)
        self.wait_past(run)
        self.choline("resume", run)
        self.wait_for_state(run, "done")
        self.assertGreater(self.events(run, "schedule_fired")[0][1]["late"], 0.1)

    def wait_past(self, run):
        at = self.events(run, "schedule_set")[-1][1]["at"]
        self.wait_until(lambda: datetime.datetime.now().timestamp() > at + 0.3, "the instant")

    def test_what_was_missed_is_skipped_when_the_schedule_says_so(self):
        run = self.begin(TASK % ("", "true") + 'schedule { "train", start = in_ "4s", '
                         'late = "100ms", misfire = "skip" }')
        self.wait_for_event(run, "schedule_set")
        self.kill_owner(run)
        self.wait_past(run)
        told = self.choline("resume", run)
        self.assert_says(told.out, "is left out, because it is",
                         "train: skipped, because its start was missed")
        self.assertEqual(self.events(run, "task_started"), [])

    def test_a_stop_ends_a_task_well_and_what_is_after_it_begins(self):
        self.cholfile(TASK % ("", "trap 'echo told; exit 0' TERM; sleep 1000 & wait") + """
task "after" { on = box, after = "train", run = "echo afterwards" }
schedule { "train", stop = in_ "1500ms" }""")
        ended = self.choline("run")
        run = ended.out.split()[0]
        self.assert_says(ended.out, "train: stopped by its schedule", "after: done")
        self.assert_says(self.choline("logs", run).out, "told", "afterwards")
        self.assertEqual(os.listdir(self.work / "out"), [run])  # it was brought here
        self.assert_nothing_lives()

    def test_a_stop_of_the_run_ends_it_as_a_person_would(self):
        self.cholfile(TASK % ("", "trap 'echo told; exit 0' TERM; sleep 1000 & wait")
                      + 'schedule { stop = in_ "1500ms" }')
        run = self.choline("run").out.split()[0]
        self.assertEqual(self.state(run)["state"], "stopped")
        self.assert_says(self.choline("logs", run).out, "told")
        self.assertEqual(os.listdir(self.work / "out"), [run])
        self.assert_nothing_lives()

    def test_a_cancelled_start_never_happens_and_the_task_is_skipped(self):
        run = self.begin(TASK % ("", "true")
                         + 'schedule { "train", name = "night", start = in_ "2h" }')
        self.wait_for_event(run, "schedule_set")
        self.assert_says(self.choline("schedule", run, "--cancel", "nigth", code=3).err,
                         'did you mean "night"')
        self.assert_says(self.choline("schedule", run, "--cancel", "night").out, "is cancelled")
        self.wait_for_state(run, "done")
        self.assertIn("cancelled", self.choline("schedule", run).out)
        self.choline("schedule", run, "--cancel", "night", code=8)
        self.assertEqual(self.events(run, "task_started"), [])

    def test_a_schedule_is_cancelled_while_nobody_owns_the_run(self):
        run = self.begin(TASK % ("", "true") + 'schedule { start = in_ "2h" }')
        self.wait_for_event(run, "schedule_set")
        self.kill_owner(run)
        self.choline("schedule", run, "--cancel", "run")
        self.choline("resume", run)
        self.assertEqual(self.state(run)["state"], "done")
        self.assertEqual(self.count(run, "schedule_cancelled"), 1)

    def test_a_run_that_waits_for_its_start_can_be_paused_and_goes_on_waiting(self):
        run = self.begin(TASK % ("", "true") + 'schedule { start = in_ "2h" }')
        self.wait_for_event(run, "schedule_set")
        self.choline("pause", run)
        self.assertEqual(self.state(run)["state"], "paused")
        self.choline("resume", run, "--detach")
        self.wait_for_state(run, "waiting")
        self.choline("stop", run)

    def test_an_update_of_the_cholfile_changes_when_it_is_and_keeps_what_has_been(self):
        text = TASK % ("", "true") + 'schedule { "train", start = in_ "%s" }'
        run = self.begin(text % "2h")
        self.wait_for_event(run, "schedule_set")
        self.kill_owner(run)
        self.choline("why", run)
        self.cholfile(text % "1s")
        self.choline("resume", run, "--update", "--yes")
        self.wait_for_state(run, "done")
        self.assertEqual([data["said"] < data["at"] for _, data in
                          self.events(run, "schedule_set")], [True, True])
        self.assertEqual(self.count(run, "schedule_fired"), 1)
        self.assertNotIn("late", self.events(run, "schedule_fired")[0][1])
        self.assertEqual(self.choline("logs", run).out.count("begun"), 1)

    def test_a_moment_that_is_past_is_refused_before_anything_is_made(self):
        self.cholfile(TASK % ("", "true") + 'schedule { start = "2020-01-01 09:00" }')
        for command in ("check", "plan", "run"):
            self.assert_says(self.choline(command, code=2).err, "Cholfile.lua:7: start of schedule "
                             '"run": "2020-01-01 09:00" is past')
        self.assertEqual(self.runs(), [])


class Pauses(Scheduled):
    def scheduled(self, fields, more=""):
        return self.train("each", more='schedule { "train", %s }%s' % (fields, more))

    def test_a_pause_takes_the_checkpoint_and_ends_the_instance_and_a_resume_rents_anew(self):
        run = self.scheduled('pause = in_ "2s", resume = in_ "2s"')
        paused = self.wait_for_event(run, "paused")
        self.assertEqual(paused["schedule"], "train")
        secured = self.events(run, "pause_secured")[0][1]
        self.wait_for_log(f"resumed from {secured['step']}")
        wanted = ("pause_requested", "pause_secured", "paused", "instance_released", "resumed",
                  "instance_rented")
        kinds = [kind for kind, _ in self.events(run, *wanted)]
        self.assertEqual(kinds[1:], ["pause_requested", "pause_secured", "instance_released",
                                     "paused", "resumed", "instance_rented"])
        self.let_it_end(run)

    def test_what_a_schedule_paused_stays_so_when_the_process_is_another(self):
        run = self.scheduled('pause = in_ "1s", resume = in_ "2h"')
        self.wait_for_event(run, "paused")
        self.wait_for_state(run, "waiting")
        self.take_up(run)
        self.wait_until(lambda: self.count(run, "run_resumed") == 1, "the other process")
        self.wait_for_state(run, "waiting")
        self.assertEqual(self.events(run, "resumed"), [])
        self.choline("resume", run)  # a person may say otherwise
        self.wait_for_log("resumed from")
        self.let_it_end(run)

    def test_what_a_person_paused_a_person_lets_go_on(self):
        run = self.scheduled('pause = in_ "2h", resume = cron "@every 1s"')
        self.wait_for_log("wrote", 2)
        self.choline("pause", run)
        self.assertEqual(self.state(run)["state"], "paused")
        self.assertIsNone(self.state(run)["owner"])
        self.assertEqual(self.choline("resume", "--all", "--detach").out, "")
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.let_it_end(run)

    def test_the_process_dies_in_the_middle_of_a_pause_and_it_is_finished_and_over_in_time(self):
        run = self.scheduled('pause = in_ "1s", resume = in_ "3s"')
        self.wait_for_event(run, "pause_requested")
        self.take_up(run)
        self.wait_for_event(run, "paused")
        self.wait_for_log("resumed from")
        for kind in ("pause_requested", "paused", "resumed"):
            self.assertEqual(self.count(run, kind), 1, kind)
        self.assertEqual(self.count(run, "schedule_fired"), 2)
        self.let_it_end(run)

    def test_a_cancelled_resume_leaves_the_run_paused_for_a_person(self):
        run = self.scheduled('pause = in_ "1s", resume = in_ "2h"')
        self.wait_for_event(run, "paused")
        self.choline("schedule", run, "--cancel", "train")
        self.wait_for_state(run, "paused")
        self.wait_until(lambda: self.state(run)["owner"] is None, "the end of its process")
        self.choline("resume", run, "--detach")
        self.wait_for_log("resumed from")
        self.let_it_end(run)


class AgainAndAgain(Scheduled):
    def test_each_start_is_a_run_of_its_own_and_happens_once_whatever_dies(self):
        """The process of the schedule is killed at random moments around its instants."""
        run = self.begin(TASK % ("", "true")
                         + 'schedule { name = "often", start = cron "@every 1s", times = 4, '
                         'overlap = "queue", misfire = "all" }')
        chance = random.Random(4)
        for _ in range(5):
            if self.state(run)["state"] == "done":
                break
            fired = self.count(run, "schedule_fired")
            if chance.random() < 0.7:
                self.wait_until(lambda: self.count(run, "schedule_fired") > fired
                                or self.state(run)["state"] == "done", "an instant")
            if self.state(run)["owner"]:
                self.kill_owner(run)
            self.choline("resume", "--all", "--detach", code=None)
        self.wait_for_state(run, "done")
        children = self.children(run)
        self.assertEqual(len(children), 4)
        self.assertEqual(len(self.runs()), 5)
        self.assertEqual({each["state"] for each in self.runs()}, {"done"})
        at = [data["at"] for _, data in self.events(run, "schedule_fired")]
        self.assertEqual([round(later - first, 3) for first, later in zip(at, at[1:])], [1, 1, 1])
        for child in children:
            self.assertEqual(self.choline("logs", child).out.count("begun"), 1)
        self.assertEqual(sorted(os.listdir(self.work / "out")), sorted(children))
        shown = self.choline("schedule", run, "--json").json[0]
        self.assertEqual((shown["fired"], shown["state"], shown["runs"]), (4, "over", children))

    def test_forbid_leaves_a_start_out_while_the_run_before_goes_on(self):
        enough = self.sandbox / "enough"
        run = self.begin(TASK % ("", f"until test -e {enough}; do sleep 0.05; done")
                         + 'schedule { start = cron "@every 1s", times = 2 }')
        skipped = self.wait_for_event(run, "schedule_skipped")
        [child] = self.children(run)
        self.assertEqual(skipped["run"], child)
        enough.touch()
        self.wait_for_state(run, "done")
        self.assertEqual(self.children(run), [child])

    def test_replace_ends_the_run_before(self):
        run = self.begin(TASK % ("", "sleep 1000")
                         + 'schedule { start = cron "@every 2s", times = 2, overlap = "replace" }')
        self.wait_until(lambda: self.count(run, "schedule_run_begun") == 2, "the second run")
        first, second = self.children(run)
        self.assertEqual(self.state(first)["state"], "stopped")
        self.choline("stop", second)
        self.wait_for_state(run, "done")
        self.assertEqual([data["state"] for _, data in self.events(run, "schedule_run_ended")],
                         ["stopped", "stopped"])

    def test_one_task_starts_again_and_again_beside_the_others(self):
        self.cholfile(TASK % ("", "true") + """
task "once" { on = box, run = "echo once" }
schedule { "train", start = cron "@every 1s", times = 2, stop = in_ "2h" }""")
        told = self.choline("run")
        run = told.out.split()[0]
        self.assert_says(told.err, "train starts ", "train stops by ", "counted from each start")
        self.assert_says(self.choline("logs", run).out, "once")
        self.assertNotIn("begun", self.choline("logs", run).out)
        for child in self.children(run):
            self.assertEqual(self.choline("logs", child).out.count("begun"), 1)
            self.assertNotIn("once", self.choline("logs", child).out)

    def test_stopping_the_run_says_what_it_began_and_leaves_it(self):
        run = self.begin(TASK % ("", "sleep 1000") + 'schedule { start = cron "@every 1s" }')
        self.wait_until(lambda: self.children(run), "the first run")
        [child] = self.children(run)
        self.wait_until(lambda: self.events(child, "attempt_started"), "its command")
        self.choline("stop", run)
        log = self.home / ".local/state/choline/runs" / run / "choline.log"
        self.assert_says(log.read_text(), f"run {child}, which it began, goes on")
        self.assertEqual(self.state(child)["state"], "running")
        self.choline("stop", child)
        self.assert_nothing_lives()


# The oracle walks through every minute, and asks the library of the language about zones.

def matches(field, value, low):
    for part in field.split(","):
        span, _, step = part.partition("/")
        if span == "*":
            first, last = low, 99
        elif "-" in span:
            first, last = map(int, span.split("-"))
        else:
            first, last = int(span), 99 if step else int(span)
        if first <= value <= last and (value - first) % int(step or 1) == 0:
            return True
    return False


def fits(fields, time):
    minute, hour, day, month, weekday = fields
    by_day = matches(day, time.day, 1)
    by_weekday = matches(weekday, time.isoweekday() % 7, 0)
    starred = day.startswith("*") or weekday.startswith("*")
    return (matches(minute, time.minute, 0) and matches(hour, time.hour, 0)
            and matches(month, time.month, 1)
            and (by_day and by_weekday if starred else by_day or by_weekday))


def walk(text, zone, first, days):
    """All instants after `first` (UTC) in so many days, by the rules of Vixie cron."""
    fields, place = text.split(), zoneinfo.ZoneInfo(zone)
    fixed = not fields[0].startswith("*") and not fields[1].startswith("*")
    minute, found, highest = datetime.timedelta(minutes=1), [], None
    for count in range(-300, days * 1440):
        at = first + count * minute
        local = at.astimezone(place).replace(tzinfo=None, fold=0)
        is_due = fits(fields, local)
        if fixed and highest is not None:
            ahead = local - highest
            if minute < ahead < 180 * minute:  # the clocks were set forward
                is_due = is_due or any(fits(fields, highest + step * minute)
                                       for step in range(1, ahead // minute))
            elif -180 * minute < ahead <= 0 * minute:  # back: that has been
                is_due = False
        if highest is None or local > highest or highest - local >= 180 * minute:
            highest = local
        if is_due and at > first:
            found.append(at)
    return found


class Oracle(Case):
    def instants(self, text, zone, first, count):
        said = first.strftime("%Y-%m-%dT%H:%MZ")
        result = self.choline("schedule", "--try", f"{text} {zone}", "--from", said, "--count",
                              str(count), "--json")
        return [datetime.datetime.fromisoformat(each["at"].replace("Z", "+00:00"))
                for each in result.json["instants"]]

    def compare(self, text, zone, first, days):
        expected = walk(text, zone, first, days)
        got = self.instants(text, zone, first, len(expected)) if expected else []
        self.assertEqual([f"{each:%FT%RZ}" for each in got],
                         [f"{each:%FT%RZ}" for each in expected], f"{text} {zone} {first}")
        return len(expected)

    ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo",
             "Asia/Kolkata", "Africa/Casablanca", "Pacific/Apia", "UTC")

    def test_years_of_every_kind_of_text_around_each_change_of_clocks(self):
        chance, compared = random.Random(11), 0

        def number(low, high):
            return chance.choice(["*", str(chance.randint(low, high)), f"*/{chance.randint(2, 20)}",
                                  f"{low}-{chance.randint(low, high)}",
                                  f"{chance.randint(low, high)},{chance.randint(low, high)}"])

        for zone in self.ZONES:
            place = zoneinfo.ZoneInfo(zone)
            year = 2018 if zone == "America/Sao_Paulo" else 2011 if "Apia" in zone else 2026
            day = datetime.datetime(year, 1, 1, tzinfo=datetime.timezone.utc)
            changes = [day + datetime.timedelta(days=count) for count in range(365)
                       if (day + datetime.timedelta(days=count)).astimezone(place).utcoffset()
                       != (day + datetime.timedelta(days=count + 1)).astimezone(place).utcoffset()]
            for first in changes[:4] or [day]:
                for _ in range(4):
                    minute = chance.choice(["0", "30", "15,45", "*/20", "*", number(0, 59)])
                    hour = chance.choice(["*", "0", "1", "2", "3", "1-3", "*/2", number(0, 23)])
                    rest = chance.choice(["* * *", f"{number(1, 28)} * {number(0, 6)}"])
                    compared += self.compare(f"{minute} {hour} {rest}", zone,
                                             first - datetime.timedelta(hours=5), 3)
        self.assertGreater(compared, 1000)

    def test_rare_times_over_years(self):
        first = datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc)
        for text in ("0 0 13 * 5", "30 2 * 3,10 0", "0 12 29 2 *", "15 6 1-7 * 1"):
            self.compare(text, "Europe/Berlin", first, 800)

    def test_a_phrase_is_shown_in_absolute_time_and_a_wrong_one_refused(self):
        shown = self.choline("schedule", "--try", "2030-03-31 02:30 Europe/Berlin")
        self.assert_says(shown.out, "Sun 2030-03-31 03:00:00 CEST (Europe/Berlin), in ")
        self.assert_says(shown.err, "the clocks skip that time")
        self.assert_says(self.choline("schedule", "--try", "0 25 * * *", code=2).err,
                         "hour 25 is not between 0 and 23 at column 3", "write for example")
        self.assert_says(self.choline("schedule", "--try", "0 0 */2 * 1").err, "note: a day that")
        self.assert_says(self.choline("schedule", code=3).err, "no run has a schedule")
