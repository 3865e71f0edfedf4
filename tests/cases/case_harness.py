"""The harness itself can fail: it sees what outlives a test, exits that differ, and hangs."""

import unittest

import harness


def failures_of(body):
    """What a case with this body says when it fails; made here, where no loader finds it."""

    class Inner(harness.Case):
        def runTest(self):
            body(self)

    result = unittest.TestResult()
    Inner().run(result)
    return [text for _, text in result.failures + result.errors]


def shell(case, script, **options):
    return case.choline("-c", script, program="/bin/sh", **options)


class Harness(harness.Case):
    def test_a_good_case_passes(self):
        self.assertEqual(failures_of(lambda case: shell(case, "echo good")), [])

    def test_an_exit_that_differs_fails_and_shows_the_output(self):
        [text] = failures_of(lambda case: shell(case, "echo words; exit 3"))
        self.assertIn("exit 3", text)
        self.assertIn("words", text)

    def test_a_process_that_outlives_its_test_fails_it(self):
        self.addCleanup(setattr, harness, "SLOW", harness.SLOW)
        harness.SLOW = 0.01
        [text] = failures_of(lambda case: shell(case, "setsid sleep 300 >/dev/null 2>&1 &"))
        self.assertIn("sleep 300", text)

    def test_one_without_an_environment_is_found_by_where_it_stands(self):
        self.addCleanup(setattr, harness, "SLOW", harness.SLOW)
        harness.SLOW = 0.01
        [text] = failures_of(
            lambda case: shell(case, "env -i setsid /bin/sleep 301 >/dev/null 2>&1 &"))
        self.assertIn("sleep 301", text)

    def test_a_hang_fails(self):
        self.addCleanup(setattr, harness, "PATIENCE", harness.PATIENCE)
        self.addCleanup(setattr, harness, "SLOW", harness.SLOW)
        harness.PATIENCE, harness.SLOW = 0.2, 0.01

        def hang(case):
            running = case.start("-c", "sleep 302", program="/bin/sh")
            case.addCleanup(running.process.wait)
            case.addCleanup(running.process.kill)
            running.wait()

        self.assertTrue(any("did not end" in text for text in failures_of(hang)))
