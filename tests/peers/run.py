"""Tries the fake clouds with the clients that their clouds' own people wrote.

usage: tests/peers/run.py BUILD

Installs them from PyPI into BUILD/peers, pinned by requirements.txt. Where that cannot be done it
says so and runs nothing. Ends with `N passed, N failed`.
"""

import hashlib
import pathlib
import shutil
import subprocess
import sys
import unittest
import venv

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "fakes"))


def install(folder):
    """The folder of programs, or None with the reason printed."""
    wanted = (HERE / "requirements.txt").read_bytes()
    mark = folder / hashlib.sha256(wanted).hexdigest()
    if mark.exists():
        return folder / "bin"
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = subprocess.run(
        [folder / "bin/pip", "install", "--quiet", "--disable-pip-version-check",
         "-r", HERE / "requirements.txt"], capture_output=True, text=True, timeout=900, check=False)
    if pip.returncode != 0:
        print(f"skipped: the peers cannot be installed from PyPI\n{pip.stderr[-2000:]}")
        return None
    mark.touch()
    return folder / "bin"


def main():
    programs = install(pathlib.Path(sys.argv[1]).resolve() / "peers")
    if programs is None:
        print("0 passed, 0 failed")
        return 0
    import peer
    peer.PROGRAMS = programs
    suite = unittest.defaultTestLoader.discover(str(HERE), pattern="peer_*.py")
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    return 1 if failed or not result.testsRun else 0


if __name__ == "__main__":
    sys.exit(main())
