"""Each command does what `choline --help` says of it, on streams and with exits as promised."""

import json

from harness import CHOLINE, Case

HELLO = """
local box = instance "box" { from = { here { price = "$0.50/h" } } }
task "hello" { on = box, run = "echo hello; echo loss=0.5", metrics = { loss = "loss=(%S+)" } }
"""
KEPT = """
local box = instance "box" { from = { here {} } }
sync "code" { from = ".", to = "box:/work" }
task "stay" { on = box, run = "echo begun; until test -e over; do sleep 0.1; done" }
"""
COMMANDS = ("init", "check", "plan", "run", "pause", "resume", "ls", "status", "why", "logs",
            "metrics",
            "stop", "exec", "ssh", "forward", "push", "pull", "explain", "doctor", "instances",
            "gc", "offers", "drill", "help", "version", "completion", "man")


class Help(Case):
    def test_each_command_has_help_with_an_example(self):
        for command in COMMANDS:
            with self.subTest(command=command):
                self.assert_says(self.choline(command, "--help").out, "usage", "example", command)

    def test_an_unknown_command_is_answered_with_the_nearest(self):
        result = self.choline("chekc", code=2)
        self.assert_says(result.err, "chekc", "check")

    def test_an_unknown_option_is_answered_with_the_nearest(self):
        result = self.choline("run", "--detahc", code=2)
        self.assert_says(result.err, "--detahc", "--detach")

    def test_completion_is_given_for_three_shells(self):
        for shell in ("bash", "zsh", "fish"):
            with self.subTest(shell=shell):
                text = self.choline("completion", shell).out
                self.assert_says(text, "choline", "check", "explain")
        self.choline("completion", "tcsh", code=2)


class Before(Case):
    """What can be asked before anything is rented."""

    def test_init_writes_a_cholfile_for_what_it_finds(self):
        self.write("train.py", "import argparse\nif __name__ == '__main__':\n    pass\n")
        self.write("requirements.txt", "torch\n")
        self.write(".gitignore", "data/\n")
        self.choline("init")
        text = (self.work / "Cholfile.lua").read_text()
        self.assert_says(text, "train.py", "requirements.txt", "task", "sync", "instance")
        self.choline("check")

    def test_init_does_not_overwrite(self):
        self.cholfile("-- mine\n")
        result = self.choline("init", code=None)
        self.assertNotEqual(result.code, 0)
        self.assertEqual((self.work / "Cholfile.lua").read_text(), "-- mine\n")

    def test_plan_shows_what_would_be_rented_and_rents_nothing(self):
        self.cholfile(HELLO)
        result = self.choline("plan", code=None)
        self.assertIn(result.code, (0, 10))
        self.assert_says(result.out, "box", "hello", "0.50")
        self.assertEqual(self.instances(), [])
        self.assertEqual(self.runs(), [])
        json.loads(self.choline("plan", "--json", code=None).out)

    def test_explain_gives_the_manual_of_each_word(self):
        for word in ("task", "sync", "instance", "param", "secret", "retry", "failover", "budget",
                     "pipeline", "parallel", "on"):
            with self.subTest(word=word):
                self.assertIn(word, self.choline("explain", word).out)
        self.assertIn("task", self.choline("explain", "taks", code=3).err)

    def test_doctor_says_what_works_here(self):
        self.assert_says(self.choline("doctor").out, "local", "store")

    def test_check_as_json_lists_the_problems(self):
        self.cholfile('\ntaks "x" {}\n')
        [problem] = self.choline("check", "--json", code=2).json
        self.assertEqual((problem["file"], problem["line"]), ("Cholfile.lua", 2))


class After(Case):
    """What can be asked of a run."""

    def setUp(self):
        super().setUp()
        self.cholfile(HELLO)
        self.choline("run")
        [run] = self.runs()
        self.id = run["id"]

    def test_ls_shows_the_run_and_json_its_stable_fields(self):
        self.assert_says(self.choline("ls").out, self.id, "done")
        [run] = self.runs()
        self.assertIsNotNone(run["ended"])
        self.assertGreaterEqual(run["cost"], 0)

    def test_status_shows_tasks_and_metrics(self):
        text = self.choline("status", self.id).out
        self.assert_says(text, self.id, "done", "hello", "loss", "0.5")
        self.assertIsInstance(self.choline("status", self.id, "--json").json, dict)

    def test_status_without_an_id_means_the_newest_run(self):
        self.assertIn(self.id, self.choline("status").out)

    def test_why_says_why(self):
        self.assertIn("done", self.choline("why", self.id).out)

    def test_logs_give_the_output_on_stdout_alone(self):
        result = self.choline("logs", self.id)
        self.assert_says(result.out, "hello", "loss=0.5")
        self.assert_says(self.choline("logs", self.id, "hello").out, "hello")
        self.assertIn("nobody", self.choline("logs", self.id, "nobody", code=3).err)

    def test_instances_have_their_stable_fields(self):
        for each in self.choline("instances", "--all", "--json").json:
            self.assertTrue({"id", "name", "run", "provider", "state", "price"} <= set(each), each)
            self.assertEqual(each["state"], "gone")

    def test_an_unknown_run_is_not_found(self):
        for command in ("status", "why", "logs", "stop"):
            with self.subTest(command=command):
                self.assertIn("r-none", self.choline(command, "r-none", code=3).err)

    def test_stop_of_a_run_that_is_over_changes_nothing(self):
        self.choline("stop", self.id, code=None)
        self.assertEqual(self.runs()[0]["state"], "done")


class During(Case):
    """What can be done to a run while it works."""

    def detach(self, text=KEPT):
        self.cholfile(text)
        result = self.choline("run", "--detach")
        run = result.out.split()[0]
        self.wait_until(lambda: "begun" in self.choline("logs", run, code=None).out, "the task")
        return run

    def test_detach_prints_the_id_first_and_goes_on(self):
        run = self.detach()
        [listed] = self.runs()
        self.assertEqual((listed["id"], listed["state"]), (run, "running"))
        self.choline("exec", "box", "--", "touch", "over")
        self.wait_until(lambda: self.runs()[0]["state"] == "done", "the run to be done")
        self.assert_nothing_lives()

    def test_logs_follow_until_the_end(self):
        run = self.detach()
        following = self.start("logs", "-f", run)
        following.wait_for("begun")
        self.choline("exec", "box", "--", "touch", "over")
        self.assertEqual(following.wait().code, 0)

    def test_exec_hands_on_output_and_exit(self):
        run = self.detach()
        result = self.choline("exec", "box", "--", "sh", "-c", "echo out; echo err >&2; exit 7",
                              code=7)
        self.assertEqual((result.out, result.err), ("out\n", "err\n"))
        self.choline("stop", run)

    def test_push_and_pull_move_files(self):
        run = self.detach()
        self.write("note.txt", "to you\n")
        self.choline("push", "note.txt", "box:/work/note.txt")
        self.assertEqual(self.choline("exec", "box", "--", "cat", "note.txt").out, "to you\n")
        self.choline("pull", "box:/work/note.txt", "back.txt")
        self.assertEqual((self.work / "back.txt").read_text(), "to you\n")
        self.choline("stop", run)

    def test_stop_ends_the_run_and_its_instance(self):
        run = self.detach()
        self.choline("stop", run)
        self.wait_until(lambda: self.runs()[0]["state"] == "stopped", "the run to be stopped")
        self.assert_nothing_lives()

    def test_instances_show_what_lives(self):
        run = self.detach()
        [box] = self.instances()
        self.assertEqual((box["name"], box["run"], box["provider"], box["state"]),
                         ("box", run, "local", "live"))
        self.choline("stop", run)

    def test_a_lost_instance_is_failed_over(self):
        run = self.detach(KEPT.replace("task \"stay\" {", """task "stay" {
  failover = failover { on = { "lost", "preempted" } },"""))
        self.choline("drill", "kill", "box")
        self.wait_until(lambda: len(self.choline("instances", "--all", "--json").json) == 2,
                        "another instance")
        self.wait_until(lambda: [each for each in self.instances() if each["state"] == "live"],
                        "it to live")
        self.wait_until(lambda: self.choline("logs", run).out.count("begun") == 2, "it to begin")
        self.choline("stop", run)
        self.assert_nothing_lives()


class Completion(Case):
    """What a shell offers, asked of the shell itself."""

    def complete(self, line):
        script = (f'source <({CHOLINE} completion bash); read -ra COMP_WORDS <<< "{line}"; '
                  f'[[ "{line}" == *" " ]] && COMP_WORDS+=(""); '
                  'COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); _choline; echo "${COMPREPLY[*]}"')
        tools = self.sandbox / "bin"
        tools.mkdir()
        (tools / "choline").symlink_to(CHOLINE)
        path = f"{tools}:{self.environment()['PATH']}"
        return self.choline("-c", script, program="/bin/bash", env={"PATH": path}).out.split()

    def test_a_command_is_completed(self):
        self.assertEqual(self.complete("choline chec"), ["check"])

    def test_an_option_is_completed(self):
        self.assertIn("--detach", self.complete("choline run --"))

    def test_a_run_is_completed(self):
        self.cholfile(HELLO)
        self.choline("run")
        self.assertEqual(self.complete("choline status "), [self.runs()[0]["id"]])

    def test_a_word_of_the_language_is_completed(self):
        self.assertEqual(self.complete("choline explain pipe"), ["pipeline"])
