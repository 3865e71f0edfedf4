"""What the tests with other people's programs stand on."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

PROGRAMS = None  # the folder they are installed in; set by run.py


class Peer(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="choline-peer-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        (self.folder / "home").mkdir()

    def program(self, name, *words, **environment):
        """Runs one of the peers; gives what it printed."""
        values = {"PATH": os.environ["PATH"], "HOME": str(self.folder / "home"),
                  "LC_ALL": "C.UTF-8", "COLUMNS": "200", **environment}
        done = subprocess.run([PROGRAMS / name, *words], env=values, capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False)
        self.assertEqual(done.returncode, 0, f"{name} {words}\n{done.stdout}\n{done.stderr}")
        return done.stdout + done.stderr
