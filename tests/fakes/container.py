"""A container that a fake cloud has started: a real sshd as the first process of a pid namespace.

Needs root or user namespaces. Everything in it dies with its first process, as in a real one.
"""

import os
import pathlib
import shutil
import socket
import subprocess
import time

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/bin:/sbin")


class Container:
    def __init__(self, folder, environment, onstart, gpus=()):
        """`environment` is of the first process; `onstart` a script that runs before each
        start; `gpus` as nvidia-smi shows them there, each a name and its MiB."""
        self.folder = pathlib.Path(folder)
        self.home = self.folder / "home"
        self.home.mkdir(parents=True, exist_ok=True)
        self.environment = environment
        self.onstart = onstart
        self.process = None
        self.port = free_port()
        self.programs = self.folder / "bin"
        self.programs.mkdir(exist_ok=True)
        self.show_gpus(gpus)
        if not (self.folder / "host").exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f",
                            self.folder / "host"], check=True)
        (self.folder / "config").write_text("\n".join([
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {self.folder}/host",
            f"AuthorizedKeysFile {self.home}/.ssh/authorized_keys", "PidFile none",
            "StrictModes no", "UsePAM no", "PasswordAuthentication no",
            "KbdInteractiveAuthentication no", "MaxStartups 100",
            f"SetEnv HOME={self.home} PATH={self.programs}:{os.environ['PATH']}"]) + "\n")

    def show_gpus(self, gpus):
        """What nvidia-smi says from now on."""
        rows = "".join(f"echo '{name}, {memory}, 550.54.15'\n" for name, memory in gpus)
        tool = self.programs / "nvidia-smi"
        tool.write_text("#!/bin/sh\n" + (rows or "echo No devices were found; exit 6\n"))
        tool.chmod(0o755)

    def host_key(self):
        return (self.folder / "host.pub").read_text().rsplit(" ", 1)[0]

    def start(self):
        if os.geteuid() == 0:
            pathlib.Path("/run/sshd").mkdir(exist_ok=True)
        environment = {"PATH": f"{self.programs}:{os.environ['PATH']}", "HOME": str(self.home),
                       **self.environment}
        subprocess.run(["sh", "-c", self.onstart or ":"], env=environment, cwd=self.home,
                       check=False, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL)
        apart = ["unshare", "--fork", "--kill-child", "--pid", "--mount-proc"]
        if os.geteuid() != 0:
            apart += ["--user", "--map-root-user"]
        with open(self.folder / "sshd.log", "ab") as log:
            self.process = subprocess.Popen(
                # sshd writes over its environment, and the first process's is to be read.
                [*apart, "sh", "-c", '"$@" & wait', "sh", SSHD, "-D", "-e", "-f",
                 self.folder / "config"], env=environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder)

    def is_ready(self):
        if self.process is None or self.process.poll() is not None:
            return False
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
                return probe.recv(4) == b"SSH-"
        except OSError:
            return False

    def stop(self):
        """Kills all in it; its files stay."""
        if self.process is None:
            return
        self.process.kill()
        self.process.wait()
        # The namespace dies with its first process, a moment after its parent.
        end = time.monotonic() + 10
        while time.monotonic() < end and not is_free(self.port):
            time.sleep(0.01)
        self.process = None

    def remove(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_free(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) != 0
