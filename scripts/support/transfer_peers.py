"""The tools that `scripts/bench transfer` measures, and the host that they reach: an sshd on this
computer, by loopback or through a line with 50 ms of round trip."""

import getpass
import os
import pathlib
import shlex
import shutil
import sqlite3
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cases"))
GCM = "aes128-gcm@openssh.com"
PATIENCE = 150  # seconds that a tool may take


class Failed(Exception):
    pass


class Line:
    """A way to the host: its port, and a configuration for ssh with three names for it."""

    def __init__(self, name, title, host, port, folder):
        self.name = name
        self.title = title
        self.host = host
        self.port = port
        self.config = folder / f"ssh-{name}"
        known = folder / f"known-{name}"
        known.write_text(f"[127.0.0.1]:{port} " + (host.folder / "host.pub").read_text())
        self.config.write_text(
            f"Host far aes shared\n  HostName 127.0.0.1\n  Port {port}\n"
            f"  IdentityFile {host.key}\n  IdentitiesOnly yes\n  UserKnownHostsFile {known}\n"
            f"  LogLevel ERROR\nHost aes shared\n  Ciphers {GCM}\n"
            f"Host shared\n  ControlMaster auto\n  ControlPath {folder}/control-{name}\n"
            "  ControlPersist 900\n")
        self.rclone = (f":sftp,host=127.0.0.1,port={port},user={getpass.getuser()},"
                       f"key_file={host.key},known_hosts_file={known},shell_type=unix:")

    def ssh(self, name, *words):
        return shlex.join(["ssh", "-F", str(self.config), name, *words])

    def share(self, on):
        """Opens the connection that others share, or closes it."""
        words = ["true"] if on else []
        command = ["ssh", "-F", self.config, *([] if on else ["-O", "exit"]), "shared", *words]
        subprocess.run(command, check=on, stdin=subprocess.DEVNULL, capture_output=True)


def rsync(name, *options):
    def command(line, way, source, target):
        ssh = shlex.quote(f"ssh -F {line.config}")
        here, there = (source, target) if way == "up" else (target, source)
        places = [f"{here}/", f"{name}:{there}/"]
        if way == "down":
            places.reverse()
        return f"rsync -a {' '.join(options)} -e {ssh} {' '.join(places)}"

    return command


def scp(line, way, source, target):
    places = (source, f"aes:{target}") if way == "up" else (f"aes:{source}", target)
    return f"scp -q -r -p -F {line.config} {places[0]} {places[1]}"


def tar(pack="", unpack=""):
    def command(line, way, source, target):
        send = f"tar -C {source} -cf - .{pack}"
        take = f"mkdir -p {target}; {unpack}tar -C {target} -xf -"
        if way == "up":
            return f"{send} | {line.ssh('aes', take)}"
        return f"{line.ssh('aes', send)} | ({take})"

    return command


def rclone(line, way, source, target):
    there = f"{line.rclone}{target if way == 'up' else source}"
    places = [source, there] if way == "up" else [there, target]
    return shlex.join(["rclone", "copy", "--config", "/dev/null", *map(str, places)])


def plain_copy(line, way, source, target):
    return f"cp -r {source} {target}"


class Peer:
    """`lines` and `rows`: where it is measured; a tool that pays a round trip for each file is not
    asked to move thousands over the far line. `warm`: it has a connection that is open already."""

    def __init__(self, name, command, needs, rows, lines=("near", "far"), floor=False, warm=False):
        self.name = name
        self.command = command
        self.needs = needs
        self.rows = rows
        self.lines = lines
        self.floor = floor
        self.warm = warm

    def fits(self, row, line):
        return (row in self.rows and line in self.lines and
                all(shutil.which(need) for need in self.needs) and
                not (line == "far" and row == "small" and self.name in ("scp aes", "rclone")))

    def measure(self, line, way, source, target):
        words = ["bash", "-c", "set -o pipefail; " + self.command(line, way, source, target)]
        began = time.monotonic()
        try:
            done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=PATIENCE)
        except subprocess.TimeoutExpired as expired:
            raise Failed(f"{self.name} took more than {PATIENCE} s") from expired
        took = time.monotonic() - began
        if done.returncode:
            raise Failed(f"{self.name} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
        return took


COPIES = ("bulk", "far-bulk", "small", "mixed")
CHANGES = ("changed", "in-place", "inserted", "nothing")
SHRINKS = ("small", "mixed", "changed", "in-place", "inserted")
PEERS = (
    Peer("rsync", rsync("far"), ["rsync"], COPIES + CHANGES),
    Peer("rsync aes", rsync("aes"), ["rsync"], COPIES + CHANGES),
    Peer("rsync -z", rsync("aes", "-z"), ["rsync"], SHRINKS, ("far",)),
    Peer("rsync --inplace", rsync("aes", "--inplace"), ["rsync"], ("in-place",)),
    Peer("rsync shared", rsync("shared"), ["rsync"], ("small",) + CHANGES, warm=True),
    Peer("scp aes", scp, ["scp"], COPIES),
    Peer("tar \\| ssh", tar(), ["tar"], COPIES),
    Peer("tar \\| zstd \\| ssh", tar(" | zstd -1 -q", "zstd -d -q -c | "), ["tar", "zstd"],
         ("small", "mixed")),
    Peer("rclone", rclone, ["rclone"], COPIES + ("changed", "nothing")),
    Peer("cp", plain_copy, ["cp"], COPIES, ("near",), floor=True),
)


class Keys:
    """An agent of ssh that has the key of the host, as a person's would."""

    def __init__(self, host, folder):
        self.socket = folder / "keys"
        self.process = subprocess.Popen(["ssh-agent", "-D", "-a", self.socket],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while not self.socket.exists():
            if time.monotonic() > end:
                raise Failed("ssh-agent did not start")
            time.sleep(0.02)
        subprocess.run(["ssh-add", "-q", host.key], check=True, stdin=subprocess.DEVNULL,
                       env={**os.environ, "SSH_AUTH_SOCK": str(self.socket)}, capture_output=True)

    def stop(self):
        self.process.terminate()
        self.process.wait()


class Choline:
    """`push` and `pull` to the bare host, each by a link of its own; and a run that holds an
    instance there, whose pipeline moves files over the link that it has."""

    def __init__(self, program, line, folder, keys):
        self.program = program
        self.line = line
        self.folder = folder / f"choline-{line.name}"
        self.round = 0
        home = self.folder / "home"
        home.mkdir(parents=True)
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C.UTF-8",
                            "TZ": "UTC", "TMPDIR": str(self.folder),
                            "SSH_AUTH_SOCK": str(keys.socket)}
        self.store = home / ".local/state/choline/store.db"
        (self.folder / "Cholfile.lua").write_text(
            'local box = instance "box" { from = { ssh {\n'
            f'  hosts = {{ "127.0.0.1:{line.port}" }}, key = "{line.host.key}", places = 9\n'
            '} } }\n'
            'pipeline "moves" (function()\n'
            '  local one <close> = box:acquire()\n  local number = 0\n  while true do\n'
            '    number = number + 1\n'
            f'    local order = "{self.folder}/order-" .. number\n'
            '    one:run("until test -e " .. order .. "; do sleep 0.02; done")\n'
            '    local way, from, to = one:exec("cat " .. order).out:match("(%S+) (%S+) (%S+)")\n'
            '    if way == "up" then one:push(from, to) end\n'
            '    if way == "down" then one:pull(from, to) end\n'
            '    if way == "end" then return end\n'
            '  end\nend)\n')
        self.process = None

    def meet(self):
        """The agent goes there once, and is found there from then on."""
        (self.folder / "hello").write_text("hello\n")
        self.cold("up", self.folder / "hello", self.folder / "met")

    def start(self, root):
        """Begins the run; `root` becomes /t on its instance."""
        with open(self.folder / "log", "wb") as log:
            self.process = subprocess.Popen(
                [self.program, "run", "--plain"], cwd=self.folder, env=self.environment,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        instances = self.line.host.home / ".choline/instances"
        known = set(instances.iterdir()) if instances.exists() else set()
        self.wait(lambda: instances.exists() and set(instances.iterdir()) - known, "its instance")
        [place] = set(instances.iterdir()) - known
        (place / "t").symlink_to(root)
        self.wait(lambda: self.rows("SELECT 1 FROM step WHERE verb = 'instance.wait'"), "its wait")

    def wait(self, is_so, what):
        end = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > end or self.process.poll() is not None:
                log = (self.folder / "log").read_text()[-500:]
                raise Failed(f"choline: {what} never came: {log}")
            time.sleep(0.02)

    def rows(self, query, *values):
        try:
            with sqlite3.connect(f"file:{self.store}?mode=ro", uri=True) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:  # not made yet
            return []

    def cold(self, way, source, target):
        host = f"ssh://127.0.0.1:{self.line.port}"
        places = (source, f"{host}{target}") if way == "up" else (f"{host}{source}", target)
        verb = "push" if way == "up" else "pull"
        began = time.monotonic()
        done = subprocess.run([self.program, verb, *map(str, places)], cwd=self.folder,
                              env=self.environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=PATIENCE)
        took = time.monotonic() - began
        if done.returncode:
            raise Failed(f"choline {verb} ended with {done.returncode}: {done.stderr[-300:]}")
        return took

    def warm(self, way, source, target):
        """By the times in the journal, from the step's begin to its end."""
        if not self.process:
            raise Failed("choline has no run that holds a link")
        self.order(f"{way} {source} {target}")
        query = ("SELECT done_at - intent_at FROM step WHERE verb = 'transfer.sync' AND "
                 "key LIKE '%#' || ? AND done_at IS NOT NULL")
        self.wait(lambda: self.rows(query, self.round - 1), "the end of a warm transfer")
        return self.rows(query, self.round - 1)[0][0]

    def order(self, text):
        self.round += 1
        path = self.folder / f"order-{self.round}"
        path.with_suffix(".new").write_text(text + "\n")
        path.with_suffix(".new").rename(path)

    def stop(self):
        if not self.process or self.process.poll() is not None:
            return
        try:
            self.order("end - -")
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def far_place(path, root):
    """What the instance calls a path below `root`."""
    return "/t/" + str(path.relative_to(root))
