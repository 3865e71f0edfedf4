"""The examples do what they say. Each folder of examples/ has its test here, or one test fails."""

import re
import shutil

from harness import ROOT, Case

EXAMPLES = ROOT / "examples"


class Examples(Case):
    def take(self, name):
        """A copy of all examples, as git would clone them, standing in `name`."""
        shutil.copytree(EXAMPLES, self.sandbox / "examples",
                        ignore=shutil.ignore_patterns("checkpoints", "results", "__pycache__"))
        self.work = self.sandbox / "examples" / name

    def run_example(self, name, *words):
        self.take(name)
        self.choline("check")
        self.choline("plan", code=None)
        result = self.choline("run", "Cholfile.lua", *words)
        self.assertEqual(self.runs()[0]["state"], "done")
        self.assert_nothing_lives()
        return result.out + result.err

    def epochs(self):
        """Steps of the metric, in the order in which all attempts printed them."""
        return [int(step) for step in re.findall(r"epoch=(\d+) loss", self.choline("logs").out)]

    def test_every_example_is_tried_here(self):
        tried = {name.removeprefix("test_example_") for name in dir(self)
                 if name.startswith("test_example_")}
        there = {path.parent.name for path in EXAMPLES.glob("*/Cholfile.lua")}
        self.assertEqual(there, tried)

    def test_example_quickstart(self):
        text = self.run_example("quickstart", "epochs=8")
        logs = self.choline("logs").out
        found = [float(value) for value in re.findall(r"val_acc=([\d.]+)", logs)]
        self.assertEqual(len(found), 8)
        self.assertGreater(found[-1], 0.93)
        self.assertIn(f"accuracy {100 * found[-1]:.1f} %", text)
        names = sorted(path.name for path in (self.work / "checkpoints").iterdir())
        self.assertEqual(names, [f"epoch-{epoch:04d}.json" for epoch in range(1, 9)])

    def test_quickstart_brings_checkpoints_back_while_it_trains(self):
        self.take("quickstart")
        running = self.start("run")
        self.wait_until(lambda: list(self.work.glob("checkpoints/*.json")), "a checkpoint")
        self.assertIsNone(running.process.poll(), "the training still goes on")
        self.assertEqual(running.wait().code, 0)
        self.assertEqual(len(list(self.work.glob("checkpoints/*.json"))), 25)

    def test_example_recovery(self):
        self.run_example("recovery", "epochs=6")
        logs = self.choline("logs").out
        self.assertIn("resumed from", logs)
        self.assertEqual(self.epochs(), [1, 2, 3, 4, 5, 6], "the curve goes on instead of over")

    def test_example_pipeline(self):
        self.assertIn("best rate", self.run_example("pipeline", "epochs=1"))

    def test_example_recipes(self):
        self.run_example("recipes", "epochs=2")
        self.assertIn("epoch-0002.json", self.choline("logs").out)

    def test_example_policies(self):
        self.run_example("policies")
        self.assertIn("done at attempt 3", self.choline("logs").out)


class Trainer(Case):
    """The training script's own promises, without choline."""

    def train(self, *words):
        import subprocess
        import sys
        return subprocess.run([sys.executable, EXAMPLES / "quickstart/train.py", "--hidden", "8",
                               "--data", EXAMPLES / "quickstart/data/digits.csv.gz", *words],
                              cwd=self.work, check=True, capture_output=True, text=True).stdout

    def test_a_resumed_training_is_the_uninterrupted_one(self):
        self.train("--epochs", "3", "--checkpoints", "whole")
        self.train("--epochs", "1", "--checkpoints", "parts")
        self.train("--epochs", "3", "--checkpoints", "parts", "--resume", "parts/epoch-0001.json")
        self.assertEqual((self.work / "whole/epoch-0003.json").read_bytes(),
                         (self.work / "parts/epoch-0003.json").read_bytes())
