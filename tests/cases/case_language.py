"""What the words of a cholfile do when they run."""

from harness import Case


class Tasks(Case):
    def run_text(self, text, *words, code=0):
        self.cholfile(text)
        result = self.choline("run", "Cholfile.lua", *words, code=code)
        self.assert_nothing_lives()
        return result

    def logs(self):
        return self.choline("logs").out

    def test_tasks_wait_for_those_they_come_after(self):
        self.run_text(f"""
local box = instance "box" {{ from = {{ here {{}} }} }}
task "last" {{ on = box, after = {{ "first" }}, run = "cat {self.work}/mark" }}
task "first" {{ on = box, run = "sleep 0.3; echo made > {self.work}/mark" }}
""")
        self.assertIn("made", self.logs())

    def test_a_task_after_a_failed_one_does_not_start(self):
        self.run_text("""
local box = instance "box" { from = { here {} } }
task "first" { on = box, run = "exit 1" }
task "last" { on = box, after = { "first" }, run = "echo never" }
""", code=1)
        self.assertNotIn("never\n", self.logs())

    def test_setup_runs_once_for_an_instance_and_run_for_each_attempt(self):
        self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" {
  on = box, setup = "echo set up", run = "echo attempt {attempt}; test {attempt} = 3",
  retry = retry { max = 5, on = { "crashed" }, wait = "10ms" },
}
""")
        self.assertEqual(self.logs().count("set up"), 1)
        self.assert_says(self.logs(), "attempt 1", "attempt 2", "attempt 3")

    def test_a_setup_that_fails_has_its_own_kind(self):
        result = self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" { on = box, setup = "exit 9", run = "echo never" }
""", code=1)
        self.assertIn("setup_failed", result.err + result.out)

    def test_a_command_may_be_a_list_without_a_shell(self):
        self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" { on = box, run = { "echo", "$HOME;", "a  b" } }
""")
        self.assertIn("$HOME; a  b", self.logs())

    def test_a_pipe_that_breaks_fails_the_command(self):
        self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" { on = box, run = "false | cat" }
""", code=1)

    def test_a_timeout_ends_the_command(self):
        result = self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" { on = box, run = "sleep 600", timeout = "300ms", grace = "100ms" }
""", code=7)
        self.assertIn("timeout", result.err + result.out)

    def test_environment_is_given(self):
        self.run_text("""
param "epochs" { default = 3 }
local box = instance "box" { from = { here {} } }
task "t" { on = box, run = "echo $COLOUR", env = { COLOUR = "green" } }
""")
        self.assertIn("green", self.logs())

    def test_a_budget_that_cannot_hold_ends_the_run(self):
        self.run_text("""
local box = instance "box" { from = { here { price = "$3600/h" } } }
task "t" { on = box, run = "sleep 600", grace = "100ms" }
budget "$2"
""", code=6)

    def test_no_capacity_has_its_exit(self):
        self.run_text("""
local box = instance "box" { from = { here { capacity = 0 } } }
task "t" { on = box, run = "true" }
""", code=5)

    def test_events_reach_their_handlers(self):
        result = self.run_text("""
local box = instance "box" { from = { here {} } }
task "t" { on = box, run = "exit 4", retry = retry { max = 2, on = { "crashed" }, wait = "10ms" } }
on("crashed", function(event) log.warn("task %s crashed", event.task) end)
""", code=1)
        self.assertIn("task t crashed", result.err + result.out)


class Policies(Case):
    def run_policy(self, body, code):
        self.cholfile(f"""
local box = instance "box" {{ from = {{ here {{}} }} }}
local function policy(failure, history)
  {body}
end
task "t" {{ on = box, run = "echo attempt {{attempt}}; test {{attempt}} = 3", retry = policy }}
""")
        return self.choline("run", code=code)

    def test_a_function_decides(self):
        self.run_policy('return failure.kind == "crashed" and again() or give_up "no"', 0)
        self.assertIn("attempt 3", self.choline("logs").out)

    def test_giving_up_says_why(self):
        result = self.run_policy('return give_up "the moon is wrong"', 1)
        self.assertIn("the moon is wrong", result.err + result.out)

    def test_a_policy_that_waits_is_told_so(self):
        result = self.run_policy('sleep "1s"; return again()', 1)
        self.assertIn("Cholfile.lua:4", result.err + result.out)


class Pipelines(Case):
    def run_pipeline(self, body, code=0, capacity=4):
        self.cholfile(f"""
local box = instance "box" {{ from = {{ here {{ capacity = {capacity} }} }} }}
pipeline "p" (function()
{body}
end)
""")
        result = self.choline("run", code=code)
        self.assert_nothing_lives()
        return result.out + result.err

    def test_memory_that_runs_out_fails_the_run_and_ends_what_it_holds(self):
        text = self.run_pipeline("""
local one <close> = box:acquire()
local kept = { "x" }
while true do kept[#kept + 1] = kept[#kept] .. kept[#kept] end""", code=1)
        self.assert_says(text, "not enough memory", "box-1: released")
        self.assert_clean(text)

    def test_an_instance_is_taken_used_and_ended(self):
        text = self.run_pipeline("""
local one <close> = box:acquire()
local done = one:run("echo loss=0.25", { metrics = { loss = "loss=(%S+)" } })
log.info("last %s code %d", done.metrics.loss.last, done.code)""")
        self.assertIn("last 0.25 code 0", text)

    def test_parallel_runs_each_point(self):
        text = self.run_pipeline("""
local found = parallel { lr = { 1, 2, 3 } } (function(point)
  local one <close> = box:acquire()
  return tonumber(one:exec({ "echo", point.lr * 10 }).out)
end)
log.info("best %s", best(found).value)""")
        self.assertIn("best 30", text)

    def test_a_crash_inside_raises_and_ends_the_instance(self):
        text = self.run_pipeline("""
local one <close> = box:acquire()
one:run("exit 5")
log.info("never")""", code=1)
        self.assertIn("crashed", text)
        self.assertNotIn("never", text)

    def test_fail_ends_the_run_with_its_words(self):
        self.assertIn("loss 3.00 is too high",
                      self.run_pipeline('return fail("loss %.2f is too high", 3)', code=1))

    def test_files_are_pushed_and_pulled(self):
        self.write("in/a.txt", "a\n")
        self.run_pipeline("""
local one <close> = box:acquire()
one:push("in", "/work")
one:run("cp a.txt b.txt")
one:pull("/work", "out")""")
        self.assertEqual((self.work / "out/b.txt").read_text(), "a\n")

    def test_a_recipe_beside_the_cholfile_is_required(self):
        self.write("recipes/one.lua", 'return { command = "echo from a recipe" }\n')
        self.run_pipeline("""
local recipe = require "recipes.one"
local one <close> = box:acquire()
one:run(recipe.command)""")
        self.assertIn("from a recipe", self.choline("logs").out)
