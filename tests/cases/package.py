"""Builds the .deb, unpacks it into a scratch root, and tries it there as a machine without the
source would: `package.py BUILD`. Ends with `N passed, N failed`."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

BUILD = pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
if BUILD:
    os.environ["CHOLINE_BUILD"] = str(BUILD)

from harness import ROOT, Case

EXPECTED = (
    "usr/bin/choline",
    "usr/libexec/choline/choline-agent",
    "usr/libexec/choline/choline-agent-aarch64",
    "usr/share/bash-completion/completions/choline",
    "usr/share/zsh/vendor-completions/_choline",
    "usr/share/fish/vendor_completions.d/choline.fish",
    "usr/share/man/man1/choline.1.gz",
    "usr/share/choline/meta",
    "usr/share/doc/choline/copyright",
)


def run(*words, **options):
    return subprocess.run([str(word) for word in words], check=True, capture_output=True, text=True,
                          **options).stdout


class Package(Case):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="choline-deb-")).resolve()
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        run("cpack", "--config", BUILD / "CPackConfig.cmake", "-G", "DEB", "-B", cls.folder,
            cwd=BUILD)
        [cls.deb] = cls.folder.glob("*.deb")
        cls.root = cls.folder / "root"
        run("dpkg-deb", "-x", cls.deb, cls.root)
        cls.program = cls.root / "usr/bin/choline"

    def test_everything_lies_where_it_belongs(self):
        for path in EXPECTED:
            with self.subTest(path=path):
                self.assertTrue((self.root / path).exists(), path)
        self.assertTrue(list((self.root / "usr/share/choline/meta").glob("*.lua")))

    def test_what_it_depends_on_is_a_debian_package_each(self):
        depends = run("dpkg-deb", "-f", self.deb, "Depends")
        names = [part.split()[0] for part in depends.replace("|", ",").split(",")]
        self.assertIn("libc6", names)
        for name in names:
            self.assertIn("installed", run("dpkg-query", "-W", "-f", "${Status}", name), name)

    def test_nothing_in_it_names_the_folder_it_was_built_in(self):
        for path in self.root.rglob("*"):
            if path.is_file():
                self.assertNotIn(str(ROOT).encode() + b"/", path.read_bytes(), path)

    def test_it_trains_without_the_source(self):
        self.cholfile('local box = instance "box" { from = { here {} } }\n'
                      'task "hello" { on = box, run = "echo hello" }\n')
        self.choline("run", program=self.program)
        self.assertIn("hello", self.choline("logs", program=self.program).out)

    def test_the_manual_page_has_no_fault(self):
        page = self.root / "usr/share/man/man1/choline.1.gz"
        done = subprocess.run(["man", "--warnings", "-l", page], capture_output=True, text=True,
                              env=self.environment(MANWIDTH="100", PAGER="cat"))
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn("choline", done.stdout)

    def test_completion_loads_in_each_shell(self):
        base = self.root / "usr/share"
        run("bash", "-n", base / "bash-completion/completions/choline")
        run("zsh", "-n", base / "zsh/vendor-completions/_choline")
        run("fish", "-n", base / "fish/vendor_completions.d/choline.fish",
            env=self.environment())


if __name__ == "__main__":
    if not BUILD:
        sys.exit("usage: package.py BUILD")
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(Package)
    count = tests.countTestCases()
    result = unittest.TextTestRunner(verbosity=0).run(tests)
    wrong = {getattr(test, "test_case", test).id() for test, _ in result.failures + result.errors}
    failed = len(wrong) if result.testsRun else count
    print(f"{count - failed} passed, {failed} failed")
    sys.exit(1 if failed else 0)
