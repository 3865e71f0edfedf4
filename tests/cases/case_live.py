"""The live view on a terminal, and plain lines into a pipe."""

from harness import Case

TEXT = """
local box = instance "box" { from = { here { price = "$0.10/h" } } }
sync "code" { from = ".", to = "box:/work" }
sync "results" { from = "box:/work/results", to = "./results", every = "200ms" }
task "train" {
  on = box,
  run = [[mkdir results
    for i in 1 2 3; do echo epoch=$i val_acc=0.$i; echo $i > results/$i; sleep 0.3; done]],
  metrics = { val_acc = { pattern = "val_acc=(%S+)", step = "epoch=(%d+)" } },
}
"""


class Live(Case):
    def test_a_terminal_shows_tasks_syncs_metrics_cost_and_time(self):
        self.cholfile(TEXT)
        terminal = self.terminal("run")
        terminal.wait_for("train")
        terminal.wait_for("val_acc")
        result = terminal.wait()
        self.assertEqual(result.code, 0, result.out)
        self.assert_says(result.out, "\x1b[", "results", "0.3", "$0.0", "s")

    def test_a_narrow_terminal_is_not_overrun(self):
        self.cholfile(TEXT)
        self.assertEqual(self.terminal("run", rows=10, columns=30).wait().code, 0)

    def test_the_terminal_is_left_as_it_was(self):
        self.cholfile(TEXT)
        text = self.terminal("run").wait().out
        if "\x1b[?25l" in text:
            self.assertGreater(text.rindex("\x1b[?25h"), text.rindex("\x1b[?25l"))

    def test_ctrl_c_on_the_terminal_stops_the_run(self):
        self.cholfile(TEXT.replace("sleep 0.3", "sleep 600"))
        terminal = self.terminal("run")
        terminal.wait_for("val_acc")
        terminal.press(b"\x03")
        self.assertEqual(terminal.wait().code, 130)
        self.assert_nothing_lives()

    def test_a_pipe_gets_plain_lines(self):
        self.cholfile(TEXT)
        result = self.choline("run")
        self.assertNotIn("\x1b", result.out + result.err)
        self.assert_says(result.out + result.err, "train", "val_acc")

    def test_tmux_shows_the_view(self):
        import subprocess
        self.cholfile(TEXT.replace("sleep 0.3", "until test -e over; do sleep 0.1; done"))
        from harness import CHOLINE
        socket = self.sandbox / "tmux"

        def tmux(*words):
            done = subprocess.run(["tmux", "-S", socket, "-f", "/dev/null", *words], cwd=self.work,
                                  env=self.environment(), capture_output=True, text=True)
            return done.stdout

        tmux("new-session", "-d", "-x", "100", "-y", "30", f"{CHOLINE} run; echo exit is $?; cat")
        try:
            parts = ("train", "code", "results", "val_acc", "$")
            self.wait_until(lambda: all(part in tmux("capture-pane", "-p") for part in parts),
                            f"a view with {parts}")
            self.choline("exec", "box", "--", "touch", "over")
            self.wait_until(lambda: "exit is 0" in tmux("capture-pane", "-p"), "the end")
        finally:
            tmux("kill-server")
