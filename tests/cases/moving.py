"""A case with hosts by ssh whose trees of files are compared."""

import os
import subprocess

from harness import Case
from sshd import Sshd


class Moving(Case):
    def setUp(self):
        super().setUp()
        self.hosts = []
        self.socket = self.sandbox / "keys"
        keeper = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket],
                                  stdout=subprocess.DEVNULL)
        self.addCleanup(keeper.wait)
        self.addCleanup(keeper.kill)
        self.wait_until(self.socket.exists, "the agent of keys")

    def environment(self, **more):
        return super().environment(SSH_AUTH_SOCK=str(self.socket), **more)

    def host(self, *lines):
        host = Sshd(self.sandbox / f"host{len(self.hosts)}", *lines)
        self.hosts.append(host)
        self.addCleanup(host.stop)
        subprocess.run(["ssh-add", "-q", host.key], check=True, env=self.environment())
        return host

    def at(self, host, path):
        return f"ssh://127.0.0.1:{host.port}{path}"

    def tree(self, folder):
        """Path, kind and contents of all below a folder."""
        out = {}
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            if path.is_symlink():
                out[name] = os.readlink(path)
            else:
                out[name] = None if path.is_dir() else path.read_bytes()
        return out
