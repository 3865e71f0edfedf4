"""A real sshd on loopback with a home of its own, for hosts that cases reach by ssh."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")


class Sshd:
    """One host: its keys, its configuration and its home lie in `folder`. `host_key` is the type of
    its key; `wrap` begins the command that starts it; `address` is where it listens."""

    def __init__(self, folder, *lines, host_key="ed25519", wrap=(), address="127.0.0.1",
                 port=None):
        self.folder = pathlib.Path(folder)
        self.host_key, self.wrap, self.address = host_key, list(wrap), address
        self.home = self.folder / "home"
        self.home.mkdir(parents=True)
        self.key = self.folder / "login"
        self.make_key(self.key)
        self.new_host_key()
        self.port = port or free_port()
        config = [
            f"Port {self.port}", f"ListenAddress {address}", f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.key}.pub", "PidFile none", "StrictModes no", "UsePAM no",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "MaxStartups 100",
            f"SetEnv HOME={self.home}"]
        # The first line for a setting counts.
        config = [*lines, *config]
        (self.folder / "config").write_text("\n".join(config) + "\n")
        self.process = None
        self.start()

    @staticmethod
    def make_key(path, kind="ed25519", passphrase=""):
        size = ["-b", "2048"] if kind == "rsa" else []
        subprocess.run(["ssh-keygen", "-q", "-t", kind, *size, "-N", passphrase, "-f", path],
                       check=True)

    def new_host_key(self):
        for path in self.folder.glob("host*"):
            path.unlink()
        self.make_key(self.folder / "host", self.host_key)

    def known_host_line(self, name=None):
        """As known_hosts has it."""
        kind, key, *_ = (self.folder / "host.pub").read_text().split()
        return f"{name or f'[{self.address}]:{self.port}'} {kind} {key}\n"

    def fingerprint(self):
        words = ["ssh-keygen", "-l", "-f", self.folder / "host.pub"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[1]

    @property
    def name(self):
        return f"{self.address}:{self.port}"

    def start(self):
        if os.geteuid() == 0:
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        log = open(self.folder / "sshd.log", "ab")
        self.process = subprocess.Popen(
            [*self.wrap, SSHD, "-D", "-e", "-f", self.folder / "config"], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, cwd=self.folder)
        log.close()
        end = time.monotonic() + 20
        while not answers(self.port, self.address):
            if time.monotonic() > end or self.process.poll() is not None:
                raise RuntimeError(f"sshd: {(self.folder / 'sshd.log').read_text()}")
            time.sleep(0.02)

    def sessions(self):
        """The processes that serve a login each."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def cut(self):
        """Ends every connection, as a network that breaks does for both sides."""
        for pid in self.sessions():
            try:
                os.kill(pid, 9)
            except ProcessLookupError:
                pass

    def stop(self):
        """The host is off: nothing listens, and no login is left."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)  # no new session while those are ended
            self.cut()
            self.process.kill()
            self.process.wait()

    def places(self):
        folder = self.home / ".choline/places"
        return sorted(os.readlink(place) for place in folder.iterdir()) if folder.exists() else []

    def folders(self):
        folder = self.home / ".choline/instances"
        return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port, address="127.0.0.1"):
    try:
        with socket.create_connection((address, port), timeout=1) as probe:
            return probe.recv(4) == b"SSH-"
    except OSError:
        return False
