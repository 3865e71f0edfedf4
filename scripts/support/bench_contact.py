"""Measures the first contact with hosts by ssh: `bench_contact.py BUILD [--dry]`.

From a listening sshd on this computer to the first answer of an agent there, choline's own start
and end included; each figure next to one `ssh HOST true`, measured in turns with it.
"""

import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/cases"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import page
from sshd import Sshd, free_port

TURNS = 15
HOSTS, SERVERS = 100, 7  # one sshd listens at 16 addresses at most
# Runs a command on all the places that are given, at once; gives how many did not answer.
VISITS = """
local native, argv = ...
local task = require "wait.task"
local children = {}
for number, place in ipairs(argv) do
  children[number] = { name = "host" .. number, fn = function()
    return native.instance.exec(place, { shell = "true" }).code
  end }
end
local failed = 0
for number, each in ipairs(task.all(children)) do
  if not each.ok or each.value ~= 0 then
    failed = failed + 1
    native.sys.write(2, argv[number] .. ": " .. tostring(each.value) .. "\\n")
  end
end
return failed
"""


class Contact:
    def __init__(self, build, folder):
        self.choline, self.folder = build / "choline", folder
        self.home = folder / "home"
        stdlib = folder / "stdlib"
        shutil.copytree(ROOT / "stdlib", stdlib)
        (stdlib / "main.lua").write_text(VISITS)
        self.home.mkdir()
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(self.home), "LC_ALL": "C.UTF-8", "TZ": "UTC"}
        self.key = self.run(self.choline, "key").stdout
        self.environment["CHOLINE_STDLIB"] = str(stdlib)
        self.rows = []

    def run(self, *words):
        return subprocess.run([str(word) for word in words], env=self.environment, check=True,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True)

    def host(self, name, *lines, **more):
        host = Sshd(self.folder / name, *lines, **more)
        (host.folder / "login.pub").write_text(self.key)
        return host

    def visit(self, *places):
        began = time.monotonic()
        self.run(self.choline, *(f"ssh://{place}" for place in places))
        return time.monotonic() - began

    def ssh(self, host):
        began = time.monotonic()
        self.run("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
                 "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                 "-i", self.home / ".config/choline/ssh/id_ed25519", "-p", host.port,
                 host.address, "true")
        return time.monotonic() - began

    def row(self, what, seconds, limit, peer=None):
        shown = f"`ssh HOST true` {peer:.2f} s" if peer else ""
        self.rows.append(f"| {what} | {seconds:.2f} s | {limit} | {shown} |")
        print(self.rows[-1], flush=True)

    def one(self):
        host = self.host("one")
        config = self.home / ".ssh/config"
        config.parent.mkdir(mode=0o700)
        times = {name: [] for name in ("cold", "warm", "program", "ssh")}
        try:
            for _ in range(TURNS):
                shutil.rmtree(host.home / ".choline", ignore_errors=True)
                times["cold"].append(self.visit(host.name))
                times["warm"].append(self.visit(host.name))
                config.write_text("Host *\n  Ciphers aes128-ctr\n")  # for the ssh program alone
                times["program"].append(self.visit(host.name))
                config.unlink()
                times["ssh"].append(self.ssh(host))
        finally:
            host.stop()
        median = {name: statistics.median(each) for name, each in times.items()}
        self.row("one host, the agent is sent", median["cold"], "1 s", median["ssh"])
        self.row("one host, the agent is there", median["warm"], "0.3 s", median["ssh"])
        self.row("the same by the ssh program", median["program"], "", median["ssh"])

    def many(self):
        addresses = [f"127.0.1.{number}" for number in range(1, HOSTS + 1)]
        port = free_port()
        hosts = []
        try:
            for number in range(SERVERS):
                mine = addresses[number::SERVERS]
                lines = [f"ListenAddress {address}" for address in mine[1:]]
                hosts.append(self.host(f"many{number}", *lines, address=mine[0], port=port))
            places = [f"{address}:{port}" for address in addresses]
            self.row(f"{HOSTS} hosts at once, the agents are sent", self.visit(*places), "5 s")
            self.row(f"{HOSTS} hosts at once, the agents are there", self.visit(*places), "5 s")
        finally:
            for host in hosts:
                host.stop()


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory(prefix="choline-contact-") as folder:
        contact = Contact(build, pathlib.Path(folder))
        contact.one()
        contact.many()
    if "--dry" not in sys.argv:
        page.write_section("First contact", "\n".join([
            "`scripts/bench contact`, on " + page.computer() + ". From a listening sshd on this "
            "computer to the first answer of", "an agent there, with choline's start and end.", "",
            "| what | measured | at most | peer |", "|---|---|---|---|", *contact.rows]))


if __name__ == "__main__":
    main()
