"""The shortest way through everything: what must work before anything else is worth trying."""

from harness import Case

HELLO = """
local box = instance "box" { from = { here {} } }
task "hello" {
  on = box,
  run = "echo hello from $PWD; echo loss=0.5",
  metrics = { loss = "loss=(%S+)" },
}
"""


class Smoke(Case):
    def test_version_names_the_program_and_a_number(self):
        self.assertRegex(self.choline("--version").out, r"^choline \d+\.\d+\.\d+")

    def test_help_is_data_and_shows_an_example(self):
        result = self.choline("--help")
        self.assert_says(result.out, "usage", "example", "run", "check")
        self.assertEqual(result.err, "")

    def test_a_right_cholfile_checks(self):
        self.cholfile(HELLO)
        self.choline("check")

    def test_a_run_does_its_task_and_leaves_nothing(self):
        self.cholfile(HELLO)
        self.choline("run")
        [run] = self.runs()
        self.assertEqual(run["state"], "done")
        self.assertTrue({"id", "name", "state", "started", "ended", "cost"} <= set(run), run)
        self.assertIn("hello from", self.choline("logs", run["id"]).out)
        self.assert_nothing_lives()

    def test_a_task_that_fails_fails_the_run(self):
        self.cholfile("""
local box = instance "box" { from = { here {} } }
task "bad" { on = box, run = "echo about to fail; exit 3" }
""")
        result = self.choline("run", code=1)
        self.assert_says(result.err + result.out, "crashed", "3")
        self.assertEqual(self.runs()[0]["state"], "failed")
        self.assert_nothing_lives()

    def test_files_go_there_and_come_back(self):
        self.cholfile("""
local box = instance "box" { from = { here {} } }
sync "code"   { from = ".", to = "box:/work" }
sync "result" { from = "box:/work/out", to = "./out" }
task "copy" { on = box, run = "mkdir -p out && tr a-z A-Z < letter.txt > out/answer.txt" }
""")
        self.write("letter.txt", "dear reader\n")
        self.choline("run")
        self.assertEqual((self.work / "out/answer.txt").read_text(), "DEAR READER\n")
