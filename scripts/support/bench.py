"""Runs the benchmarks and writes docs/benchmarks.md: `bench.py BUILD [--dry]`.

Each figure stands next to a peer that was measured in the same run, and next to the most that the
architecture allows, where it says so.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time

import page

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 20_000
BRANCHES = 100  # of a pipeline, so that the steps share commits while they are recorded

TOP = """# Benchmarks

Written by `scripts/bench`. Each figure stands next to a peer that was measured in the same run; the
ratio is what to look at, since computers differ and are busy.

"""


class Bench:
    def __init__(self, build, folder):
        self.build = build
        self.folder = folder
        self.choline = build / "choline"
        self.rows = []
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC",
            "XDG_STATE_HOME": str(folder / "state"), "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"), "TMPDIR": str(folder)}

    def row(self, what, value, limit="", peer=""):
        self.rows.append((what, value, limit, peer))
        print(f"{what}: {value}" + (f" (at most {limit})" if limit else "") +
              (f"; {peer}" if peer else ""), flush=True)

    def run(self, *words, **options):
        options = {"env": self.environment, "cwd": self.folder, "check": True, **options}
        return subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, **options)

    def own(self, *words):
        """Figures of choline_bench, by name."""
        out = self.run(self.build / "tests" / "choline_bench", *words).stdout
        return {figure["name"]: figure["value"] for figure in map(json.loads, out.splitlines())}

    def times(self, *commands):
        """Medians in milliseconds, start to end, measured in turns by hyperfine."""
        result = self.folder / "times.json"
        self.run("hyperfine", "-N", "--warmup", 5, "--runs", 50, "--style", "none",
                 "--export-json", result, *commands)
        return [each["median"] * 1000 for each in json.loads(result.read_text())["results"]]

    def start_and_end(self):
        version, python, lua = self.times(f"{self.choline} --version", "python3 -c ''",
                                          "lua5.4 -e ''")
        self.row("`choline --version`, start to end", f"{version:.1f} ms", "10 ms",
                 f"`python3 -c ''` {python:.1f} ms ({python / version:.1f} ×), "
                 f"`lua5.4 -e ''` {lua:.1f} ms")

    def check(self):
        lines = ['local box = instance "box" { from = { here {} } }']
        lines += [f'task "t{number}" {{ on = box, run = "echo {number}", timeout = "5m" }}'
                  for number in range(999)]
        path = self.folder / "big.lua"
        path.write_text("\n".join(lines) + "\n")
        checked, parsed = self.times(f"{self.choline} check {path}", f"luac5.4 -p {path}")
        self.row("`check` of a cholfile of 1,000 lines", f"{checked:.1f} ms", "",
                 f"`luac5.4 -p` of it {parsed:.1f} ms")

    def listing(self):
        folder = self.folder / "state/choline"
        self.own("fill", folder)
        [status] = self.times(f"{self.choline} ls")
        self.row("`ls` over 12,500 runs", f"{status:.1f} ms", "100 ms")
        shutil.rmtree(folder)

    def waits(self):
        found = self.own("wait")
        self.row("a wait of Lua, loop included", f"{found['wait.wall']:.2f} µs", "10 µs",
                 f"{found['wait.processor']:.2f} µs of processor time")
        found = self.own("tasks")
        self.row("a waiting task, of 100,000", f"{found['tasks.bytes'] / 1024:.2f} KiB", "4 KiB")

    def commits(self):
        found = self.own("commits")
        one, many, peer = (found[f"commit.{name}"] for name in ("one", "together", "peer"))
        self.row("commits of the journal, one after the other", f"{1e6 / one:,.0f} per second", "",
                 f"`write` and `fdatasync` of 4 KiB {1e6 / peer:,.0f} per second "
                 f"({peer / one:.2f} ×)")
        self.row("commits of the journal, as they come", f"{1e6 / many:,.0f} per second")

    def http(self):
        nginx = self.folder / "nginx"
        (nginx / "logs").mkdir(parents=True)
        config = nginx / "nginx.conf"
        config.write_text(
            "daemon off; worker_processes 1; pid nginx.pid; error_log stderr crit;\n"
            "events { worker_connections 4096; }\n"
            "http { access_log off; keepalive_requests 1000000; client_body_temp_path body;\n"
            "proxy_temp_path proxy; fastcgi_temp_path fcgi; uwsgi_temp_path uwsgi;\n"
            "scgi_temp_path scgi; server { listen 127.0.0.1:18347; return 200 'hello'; } }\n")
        server = subprocess.Popen(["nginx", "-p", nginx, "-c", config], env=self.environment,
                                  stdin=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            found = self.own("http", "http://127.0.0.1:18347/")
        finally:
            server.terminate()
            server.wait()
        self.row("HTTP requests by 1,000 tasks to a local nginx",
                 f"{found['http.lua']:,.0f} per second", "",
                 f"the same without Lua {found['http_requests_per_second']:,.0f} per second "
                 f"({found['http.lua'] / found['http_requests_per_second']:.2f} ×)")

    def replay(self):
        """A pipeline of many steps is killed in its last, which is over when it is resumed: so the
        resumed run takes what starting, replaying and ending take."""
        found = self.own("replay")
        self.row(f"replay of {STEPS:,} steps, the journal alone", f"{found['replay.20000']:.2f} s",
                 "0.5 s")
        folder = self.folder / "replay"
        folder.mkdir()
        (folder / "Cholfile.lua").write_text(
            'pipeline "p" (function()\n  local branch = {}\n'
            f'  for number = 1, {BRANCHES} do branch[number] = number end\n'
            '  parallel { branch = branch } (function()\n'
            f'    for _ = 1, {STEPS // BRANCHES} do sleep "0s" end\n  end)\n'
            '  log.info("all steps done")\n  sleep "1s"\nend)\n')
        began = time.monotonic()
        self.run_until_last_step(folder, "run")
        self.row(f"a step of a run, of {STEPS:,}: both its commits, Lua and the loop",
                 f"{(time.monotonic() - began) / STEPS * 1e6:.0f} µs")
        [run] = json.loads(self.run(self.choline, "ls", "--json").stdout)
        time.sleep(1.5)
        began = time.monotonic()
        self.run(self.choline, "resume", run["id"], cwd=folder)
        self.row(f"a run of {STEPS:,} steps resumed, from start to end",
                 f"{time.monotonic() - began:.2f} s")

    def run_until_last_step(self, folder, *words, text="all steps done"):
        log = folder / f"{words[0]}.log"
        with open(log, "wb") as file:
            process = subprocess.Popen([self.choline, *words], cwd=folder, env=self.environment,
                                       stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        end = time.monotonic() + 120
        while text not in log.read_text(errors="replace"):
            if time.monotonic() > end or process.poll() is not None:
                process.kill()
                raise RuntimeError(f"{words[0]}: \"{text}\" never came:\n{log.read_text()[-2000:]}")
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def recovery(self):
        """Killed while many commands live: how long until a new process waits for all of them."""
        found = {}
        for commands in (100, 1000):
            found[commands] = self.recover(commands)
        self.row("a run of 1,000 steps with 100 live commands, after kill -9: until all are waited "
                 "for again", f"{found[100]['seconds']:.2f} s", "1 s")
        for commands, figures in found.items():
            self.row(f"memory of a process with {commands:,} tasks that wait for commands",
                     f"{figures['memory'] / 1024:.0f} MiB", "",
                     f"its part of one task {figures['memory'] / commands:.0f} KiB")

    def recover(self, commands):
        folder = self.folder / f"recover-{commands}"
        folder.mkdir()
        (folder / "Cholfile.lua").write_text(
            'local box = instance "box" { from = { here {} } }\n'
            'pipeline "p" (function()\n  local boxes, at = {}, {}\n'
            f'  for number = 1, {max(1, commands // 100)} do boxes[number] = box:acquire() end\n'
            f'  for number = 1, {commands} do at[number] = number end\n'
            '  parallel { at = at } (function(point)\n'
            '    local one <const> = boxes[point.at % #boxes + 1]\n'
            f'    for _ = 1, {max(1, 800 // commands)} do sleep "0s" end\n'
            f'    one:run("until test -e {folder}/over; do sleep 5; done")\n'
            '  end)\nend)\n')
        store = self.folder / "state/choline/store.db"
        query = ("SELECT id, (SELECT count(*) FROM step WHERE run = id AND verb = 'instance.wait' "
                 "AND attempt = ?) FROM run ORDER BY created DESC LIMIT 1")

        def waits(attempt):
            try:
                with sqlite3.connect(f"file:{store}?mode=ro", uri=True) as db:
                    return db.execute(query, (attempt,)).fetchone() or ("", 0)
            except sqlite3.OperationalError:  # not made yet
                return "", 0

        process = self.begin(folder, "run", "--plain")
        self.wait_until(lambda: waits(1)[1] >= commands, f"{commands} commands")
        process.kill()
        process.wait()
        run = waits(1)[0]
        began = time.monotonic()
        process = self.begin(folder, "resume", run, "--plain")
        self.wait_until(lambda: waits(2)[1] >= commands, "the waits of the resumed run")
        seconds = time.monotonic() - began
        time.sleep(3)  # until its links and logs are there, too
        memory = next(int(line.split()[1]) for line in open(f"/proc/{process.pid}/status")
                      if line.startswith("VmRSS"))
        (folder / "over").touch()
        if process.wait() != 0:
            raise RuntimeError(f"the resumed run failed:\n{(folder / 'resume.log').read_text()}")
        return {"seconds": seconds, "memory": memory}

    def begin(self, folder, *words):
        with open(folder / f"{words[0]}.log", "wb") as log:
            return subprocess.Popen([self.choline, *words], cwd=folder, env=self.environment,
                                    stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until(self, is_so, what, seconds=300):
        end = time.monotonic() + seconds
        while not is_so():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} never came")
            time.sleep(0.01)

    def simulation(self):
        out = self.run(self.build / "tests" / "choline_sim", "--seeds", 2000).stdout
        found = re.search(r"([\d.]+) a second: (\d+) processes, (\d+) crashes.* ([\d.]+) virtual",
                          out)
        self.row("seeds of the simulation, on all cores", f"{found[1]} per second", "",
                 f"2,000 seeds are {int(found[2]):,} processes, {int(found[3]):,} crashes and "
                 f"{found[4]} hours")

    def agent(self):
        size = (self.build / "choline-agent").stat().st_size
        self.row("the agent", f"{size / 1024:.0f} KiB", "2 MiB")
        folder = self.folder / "first"
        folder.mkdir()
        (folder / "Cholfile.lua").write_text(
            'local box = instance "box" { from = { here {} } }\n'
            'task "t" { on = box, run = "true" }\n')
        began = time.monotonic()
        self.run(self.choline, "run", cwd=folder)
        self.row("a run of `true`: instance, first deployment of the agent, command, end",
                 f"{time.monotonic() - began:.2f} s")

    def write(self):
        text = TOP + f"Measured on {page.computer()}.\n\n"
        text += "| what | measured | at most | next to |\n|---|---|---|---|\n"
        text += "".join(f"| {' | '.join(row)} |\n" for row in self.rows)
        page.write_section("", text)


def main():
    build = pathlib.Path(sys.argv[1]).resolve()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="choline-bench-")).resolve()
    bench = Bench(build, folder)
    failed = []
    try:
        for measure in (bench.start_and_end, bench.check, bench.listing, bench.waits, bench.commits,
                        bench.http, bench.replay, bench.recovery, bench.simulation,
                        bench.agent):
            try:
                measure()
            except (subprocess.CalledProcessError, RuntimeError, OSError, KeyError) as error:
                failed.append(measure.__name__)
                said = getattr(error, "stderr", "") or ""
                print(f"{measure.__name__}: {error}\n{said}", flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if "--dry" not in sys.argv and not failed:
        bench.write()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
