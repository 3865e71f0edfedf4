"""Bad input gets a clear sentence and the right exit code, and nothing is lost or left running."""

import os
import signal
import unittest

from harness import CHOLINE, Case

SLOW_TASK = """
local box = instance "box" { from = { here {} } }
task "long" { on = box, run = "echo begun; sleep 600", grace = "1s" }
"""


class Cholfile(Case):
    def check(self, text, code=2, **options):
        self.cholfile(text)
        result = self.choline("check", code=code, **options)
        self.assert_clean(result.err + result.out)
        return result.err + result.out

    def test_a_missing_file_is_named(self):
        result = self.choline("check", "Nowhere.lua", code=3)
        self.assert_says(result.err, "Nowhere.lua")
        self.assert_clean(result.err)

    def test_no_cholfile_in_the_folder_says_what_to_do(self):
        result = self.choline("run", code=3)
        self.assert_says(result.err, "Cholfile.lua", "choline init")

    def test_a_syntax_error_has_file_and_line(self):
        text = self.check('local box = instance "box" {\ntask "x" {{{\n')
        self.assert_says(text, "Cholfile.lua:")

    def test_an_unknown_word_has_place_caret_and_the_nearest_name(self):
        text = self.check('\ntaks "train" { run = "true" }\n')
        self.assert_says(text, "Cholfile.lua:2", "^", "taks", "task")

    def test_an_unknown_field_has_place_caret_and_the_nearest_name(self):
        text = self.check("""
local box = instance "box" {}
task "train" {
  on = box,
  rum = "true",
}
""")
        self.assert_says(text, "Cholfile.lua:5", "^", "rum", "run")

    def test_an_unknown_unit_is_refused_with_what_there_is(self):
        text = self.check("""
local box = instance "box" { disk = "80 GBs" }
task "train" { on = box, run = "true" }
""")
        self.assert_says(text, "Cholfile.lua:2", "80 GBs", "GB")

    def test_an_unknown_instance_in_a_place_is_refused_with_the_nearest_name(self):
        text = self.check("""
local trainer = instance "trainer" {}
sync "code" { from = ".", to = "trainr:/work" }
task "train" { on = trainer, run = "true" }
""")
        self.assert_says(text, "Cholfile.lua:3", "trainr", "trainer")

    def test_a_wrong_type_says_what_was_expected(self):
        text = self.check("""
local box = instance "box" {}
task "train" { on = box, run = "true", timeout = true }
""")
        self.assert_says(text, "Cholfile.lua:3", "timeout", "boolean")

    def test_all_problems_are_shown_at_once(self):
        text = self.check("""
local box = instance "box" { dsk = "1 GB" }
task "train" { on = box, rum = "true" }
sync "code" { from = ".", to = "bax:/work" }
""")
        self.assert_says(text, "Cholfile.lua:2", "Cholfile.lua:3", "Cholfile.lua:4")

    def test_a_cycle_among_tasks_is_shown_as_a_cycle(self):
        text = self.check("""
local box = instance "box" {}
task "a" { on = box, run = "true", after = { "c" } }
task "b" { on = box, run = "true", after = { "a" } }
task "c" { on = box, run = "true", after = { "b" } }
""")
        self.assert_says(text, "cycle", "a", "b", "c")

    def test_an_unknown_fill_in_a_command_is_refused(self):
        text = self.check("""
param "epochs" { default = 3 }
local box = instance "box" {}
task "a" { on = box, run = "train --epochs {epoch}" }
""")
        self.assert_says(text, "Cholfile.lua:4", "epoch", "epochs")

    def test_a_runaway_loop_is_stopped_with_its_line(self):
        text = self.check("\nlocal n = 0\nwhile true do n = n + 1 end\n")
        self.assertRegex(text, r"Cholfile\.lua:3")

    def test_too_much_memory_is_refused(self):
        text = self.check('\nlocal t = {}\nfor i = 1, 1e9 do t[i] = ("x"):rep(100000) .. i end\n',
                          env={"CHOLINE_LUA_MEMORY": "64"})
        self.assert_says(text, "memory")

    def test_the_top_level_may_not_wait(self):
        text = self.check("""
local box = instance "box" {}
local taken = box:acquire()
""")
        self.assert_says(text, "Cholfile.lua:3")

    def test_what_the_sandbox_has_not_is_said(self):
        for source in ('os.execute("true")', 'io.popen("true")', "debug.getinfo(1)",
                       'load(string.dump(function() end))', 'string.dump(print)',
                       'setmetatable({}, { __gc = print })', 'getmetatable("").__index = nil'):
            with self.subTest(source=source):
                self.assert_says(self.check(f"\n{source}\n"), "Cholfile.lua:2")

    def test_load_does_not_reach_the_real_globals(self):
        text = self.check('\nlocal f = load("return os and os.execute")\nassert(f() == nil)\n'
                          'assert(load("return package or debug")() == nil, "a hole")\n', code=None)
        self.assertNotIn("a hole", text)

    def test_a_provider_of_a_later_version_is_said(self):
        text = self.check("""
local gpu = instance "gpu" { from = { runpod {} } }
task "train" { on = gpu, run = "true" }
""")
        self.assert_says(text, "Cholfile.lua:2", "runpod")


class Values(Case):
    TEXT = """
param "epochs" { default = 3, help = "passes" }
local box = instance "box" { from = { here {} } }
task "show" { on = box, run = "echo epochs are {epochs}" }
"""

    def test_a_param_from_the_command_line_is_typed(self):
        self.cholfile(self.TEXT)
        result = self.choline("run", "Cholfile.lua", "epochs=many", code=2)
        self.assert_says(result.err, "epochs", "many", "integer")

    def test_an_unknown_param_is_refused_with_the_nearest_name(self):
        self.cholfile(self.TEXT)
        result = self.choline("run", "Cholfile.lua", "epoch=4", code=2)
        self.assert_says(result.err, "epoch", "epochs")

    def test_params_come_from_json_and_lua_files(self):
        self.cholfile(self.TEXT)
        self.write("params.json", '{ "epochs": 11 }')
        self.write("params.lua", "return { epochs = 12 }")
        for name, value in (("params.json", 11), ("params.lua", 12)):
            self.choline("run", "Cholfile.lua", "--params", name)
            newest = max(self.runs(), key=lambda run: run["started"])
            self.assertIn(f"epochs are {value}", self.choline("logs", newest["id"]).out)

    def test_a_value_put_into_a_shell_command_is_quoted(self):
        self.cholfile("""
param "word" { default = "x" }
local box = instance "box" { from = { here {} } }
task "show" { on = box, run = "echo said {word}" }
""")
        self.choline("run", "Cholfile.lua", "word=a; echo $HOME 'b'")
        self.assertIn("said a; echo $HOME 'b'", self.choline("logs").out)

    def test_a_secret_that_is_not_set_is_said_before_anything_is_rented(self):
        self.cholfile("""
secret "API_KEY" { }
local box = instance "box" { from = { here {} } }
task "show" { on = box, run = "true", env = { API_KEY = secret.API_KEY } }
""")
        result = self.choline("run", code=4)
        self.assert_says(result.err, "API_KEY")
        self.assertEqual(self.instances(), [])

    def test_a_secret_is_given_to_the_command_and_shown_nowhere(self):
        self.cholfile("""
secret "API_KEY" { }
local box = instance "box" { from = { here {} } }
task "show" {
  on = box,
  run = "echo key is ${#API_KEY} long; echo $API_KEY",
  env = { API_KEY = secret.API_KEY },
}
""")
        value = "s3cr3t-of-this-test"
        result = self.choline("run", env={"API_KEY": value})
        self.assertIn(f"key is {len(value)} long", self.choline("logs").out)
        self.assertNotIn(value, result.out + result.err)
        for path in (self.home / ".local/state").rglob("*"):
            if path.is_file() and "instances" not in path.parts:
                self.assertNotIn(value.encode(), path.read_bytes(), path)


class Surroundings(Case):
    HELLO = """
local box = instance "box" { from = { here {} } }
task "hello" { on = box, run = "echo hello" }
"""

    @unittest.skipIf(os.geteuid() == 0 and not os.path.exists("/usr/bin/setpriv"), "no setpriv")
    def test_a_read_only_state_directory_is_said(self):
        self.cholfile(self.HELLO)
        state = self.home / ".local/state"
        state.mkdir(parents=True)
        state.chmod(0o555)
        words = ("run",)
        if os.geteuid() == 0:  # root writes everywhere: give up what lets it
            program = "/usr/bin/setpriv"
            drop = "-dac_override,-dac_read_search,-fowner"
            words = (f"--bounding-set={drop}", f"--inh-caps={drop}", "--", CHOLINE, "run")
            result = self.choline(*words, program=program, code=None)
        else:
            result = self.choline(*words, code=None)
        self.assertEqual(result.code, 1, result)
        self.assert_says(result.err, str(state))
        self.assert_clean(result.err)

    def test_a_disk_too_small_for_the_agent_fails_the_run_with_a_sentence(self):
        self.run_on_small_disk("400k", code=5)  # an instance that cannot be had

    def test_files_that_may_grow_no_more_fail_the_run_and_a_stop_ends_what_it_left(self):
        self.write("small", "#!/bin/sh\ntrap '' XFSZ; ulimit -f 8192; exec \"$@\"\n", 0o755)
        self.cholfile(self.TALK)
        result = self.choline(CHOLINE, "run", program=self.work / "small", code=1)
        self.assert_clean(result.err)
        self.assertRegex(result.err, "(?i)no space left|disk is full|file too large|signal 25")
        self.choline("stop")
        self.assert_nothing_lives()

    TALK = """
local box = instance "box" { from = { here {} } }
task "talk" { on = box, run = "yes 'some words for the log' | head -c 9000000" }
"""

    def run_on_small_disk(self, size, code):
        """A small file system of its own where this user may mount one, and no other place that can
        be written; else a limit on the size of files stands for it: a write past it fails as one on
        a full disk does."""
        state = self.home / ".local/state"
        state.mkdir(parents=True)
        closed = "mount --rbind /tmp /tmp && mount -o remount,ro,bind /tmp"
        for folder in "/var/tmp", "/dev/shm":
            closed += f" && mount -t tmpfs -o ro none {folder}"
        small = f"mount -t tmpfs -o size=$0 none {state}"
        mount = f"unshare -rm sh -c '{closed} && {small} && exec \"$@\"'"
        can_mount = self.start("-c", f"{mount} {size} true", program="/bin/sh").wait().code == 0
        limit = "trap '' XFSZ; ulimit -f 64; exec"
        start = f"exec {mount} {size}" if can_mount else limit
        self.write("small", f"#!/bin/sh\n{start} \"$@\"\n", 0o755)
        self.cholfile(self.TALK)
        result = self.choline(CHOLINE, "run", program=self.work / "small", code=code)
        self.assert_clean(result.err)
        self.assertRegex(result.err, r"less than \d+ KiB free|No space left|File too large")

    def test_a_store_that_is_no_database_is_said(self):
        self.cholfile(self.HELLO)
        self.choline("run")
        [store] = [path for path in (self.home / ".local/state").rglob("*")
                   if path.is_file() and path.read_bytes()[:15] == b"SQLite format 3"]
        for path in store.parent.glob(store.name + "-*"):
            path.unlink()
        store.write_bytes(b"these are not the rows you are looking for" * 100)
        result = self.choline("ls", code=1)
        self.assert_says(result.err, str(store))
        self.assert_clean(result.err)


class Interrupted(Case):
    def test_one_sigint_stops_cleanly_and_says_what_is_released(self):
        self.cholfile(SLOW_TASK)
        running = self.start("run")
        running.wait_for_log("begun")
        running.signal(signal.SIGINT)
        result = running.wait()
        self.assertEqual(result.code, 130, result)
        self.assert_says(result.err + result.out, "box")
        self.assertEqual(self.runs()[0]["state"], "stopped")
        self.assert_nothing_lives()

    def test_sigterm_stops_as_sigint_does(self):
        self.cholfile(SLOW_TASK)
        running = self.start("run")
        running.wait_for_log("begun")
        running.signal(signal.SIGTERM)
        self.assertEqual(running.wait().code, 143)
        self.assert_nothing_lives()

    def test_a_second_sigint_ends_at_once_and_gc_ends_what_is_left(self):
        self.cholfile(SLOW_TASK.replace(
            'run = "echo begun; sleep 600", grace = "1s"',
            'run = "trap \'\' TERM INT; echo begun; sleep 600 & wait; sleep 600", grace = "10m"'))
        running = self.start("run")
        running.wait_for_log("begun")
        running.signal(signal.SIGINT)
        running.wait_for("again")
        running.signal(signal.SIGINT)
        self.assertEqual(running.wait().code, 130)
        [run] = self.runs()
        self.choline("stop", run["id"], "--now", code=None)
        self.choline("gc", "--yes", code=None)
        self.assert_nothing_lives()

    def test_a_second_run_of_the_same_run_is_refused(self):
        self.cholfile(SLOW_TASK)
        running = self.start("run")
        running.wait_for_log("begun")
        [run] = self.runs()
        result = self.choline("resume", run["id"], code=8)
        self.assert_says(result.err, run["id"], str(running.process.pid))
        running.signal(signal.SIGINT)
        running.wait()

    def test_a_killed_choline_goes_on_where_it_was(self):
        self.cholfile("""
local box = instance "box" { from = { here {} } }
sync "code" { from = ".", to = "box:/work" }
task "count" {
  on = box,
  run = "echo begun >> ../starts; cat ../starts; until test -e ../go; do sleep 0.1; done",
}
""".replace("../", str(self.work) + "/"))
        running = self.start("run")
        running.wait_for_log("begun")
        running.signal(signal.SIGKILL)
        running.wait()
        [run] = self.runs()
        (self.work / "go").touch()
        self.choline("resume", run["id"])
        self.assertEqual((self.work / "starts").read_text(), "begun\n")
        self.assertEqual([each["state"] for each in self.runs()], ["done"])
        self.assert_nothing_lives()
