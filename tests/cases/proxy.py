"""A line to a port of this computer that delays, paces, cuts and falls silent: tests/proxy."""

import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHOLINE_BUILD", ROOT / "build")).resolve()
PROGRAM = BUILD / "tests/choline_proxy"


class Proxy:
    """Listens on `port` and passes on to `to`. What it can do: `choline_proxy --help`; names have
    "_" for "-": `Proxy(sshd.port, delay=25, cut_after=10_000)`."""

    def __init__(self, to, **settings):
        words = [word for name, value in settings.items()
                 for word in (name.replace("_", "-"), value)]
        self.process = subprocess.Popen([str(word) for word in (PROGRAM, to, *words)], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.port = int(self.process.stdout.readline() or 0)
        if not self.port:
            raise RuntimeError(f"{PROGRAM} did not start")

    def set(self, name, value=1):
        self.process.stdin.write(f"{name.replace('_', '-')} {value}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().strip()
        if not answer or answer.startswith(("bad", "unknown")):
            raise ValueError(f"the proxy says: {answer}")
        return answer

    def cut(self):
        """Resets every connection, as a router that was restarted does."""
        self.set("cut")

    def freeze(self):
        """Nothing goes through any more, and nobody is told."""
        self.set("freeze", 1)

    def heal(self):
        self.set("freeze", 0)

    def forget_servers(self):
        """Half-open: the server knows that it is over, the client does not."""
        self.set("half-open")

    def connections(self):
        """How many there have been, and how many there are."""
        total, now = self.set("count").split()
        return int(total), int(now)

    def bytes(self):
        """How many have gone through, both ways together."""
        return int(self.set("bytes"))

    def stop(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
