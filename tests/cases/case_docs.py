"""Every block of code in README.md and docs/guide that is a cholfile or a command is tried.

A page is one newcomer in one folder: its blocks are tried in order.

- ```lua blocks are cholfiles: written to Cholfile.lua (or to the name in a first line
  `-- recipes/spot.lua`) and checked.
- ```console blocks: lines with `$ ` are commands that must exit 0; lines after one are what it
  prints, where `…` stands for anything. A command that must fail is followed by a line `exit N`.
- `<!-- folder: examples/quickstart -->` fills the folder with a copy of it.
- `<!-- host: gpu1.lab -->` starts an sshd, which `hosts = "gpu1.lab"` of later cholfiles leads to.
- `<!-- vast: ~/vast.key -->` starts a fake Vast.ai, and puts the key of its account into that file.
- `<!-- not run: REASON -->` before a block exempts it; the reason is for the reader of the source.
- Blocks of another language than these and text, json, toml are an error: nothing is untried
  without a reason.
"""

import re
import shutil
import subprocess
import sys

from harness import CHOLINE, PATIENCE, ROOT, Case
from sshd import Sshd

sys.path.insert(0, str(ROOT / "tests" / "fakes"))
from vast import Vast, offer

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/guide").glob("*.md"))]
FENCE = re.compile(r"^```(\S*)\s*$")
REMARK = re.compile(r"^<!-- (folder|host|vast|not run): (.*) -->$")
PLAIN = {"text", "json", "toml", "mermaid"}


class Block:
    def __init__(self, kind, line, lines, reason):
        self.kind, self.line, self.lines, self.reason = kind, line, lines, reason


def read_blocks(text):
    """Blocks of a page, with ("folder", path) and its like among them, in order."""
    found, inside, reason = [], None, None
    for number, line in enumerate(text.splitlines(), 1):
        fence, remark = FENCE.match(line), REMARK.match(line)
        if inside is None and fence:
            inside = Block(fence.group(1), number, [], reason)
        elif inside is not None and line == "```":
            found.append(inside)
            inside = reason = None
        elif inside is not None:
            inside.lines.append(line)
        elif remark and remark.group(1) in ("folder", "host", "vast"):
            found.append(remark.groups())
        elif remark:
            reason = remark.group(2)
    return found


def read_commands(lines):
    """[(command, expected lines, exit)] of a console block."""
    commands = []
    for line in lines:
        if line.startswith("$ "):
            commands.append([line[2:], [], 0])
        elif commands and commands[-1][0].endswith("\\") and line.startswith("  "):
            commands[-1][0] += "\n" + line
        elif re.fullmatch(r"exit \d+", line):
            commands[-1][2] = int(line.split()[1])
        elif commands:
            commands[-1][1].append(line)
    return commands


def matches(expected, printed):
    """Whether the lines expected come in this order; `…` is anything within a line or any lines."""
    rest = printed
    for line in expected:
        if line.strip() in ("…", ""):
            continue
        parts = [r"\s+".join(map(re.escape, part.split())) for part in line.strip().split("…")]
        hit = re.search(r"\s*.*?\s*".join(parts), rest, re.DOTALL)
        if not hit:
            return line
        rest = rest[hit.end():]
    return None


class Docs(Case):
    def try_page(self, page):
        tried = 0
        self.hosts = {}
        tools = self.sandbox / "bin"
        tools.mkdir()
        (tools / "choline").symlink_to(CHOLINE)
        for block in read_blocks(page.read_text()):
            if isinstance(block, tuple) and block[0] == "host":
                host = Sshd(self.sandbox / block[1])
                self.addCleanup(host.stop)
                self.hosts[f'hosts = "{block[1]}"'] = (
                    f'hosts = "127.0.0.1:{host.port}", key = "{host.key}"')
                continue
            if isinstance(block, tuple) and block[0] == "vast":
                self.rent_from_a_fake(block[1])
                continue
            if isinstance(block, tuple):
                self.assertTrue((ROOT / block[1]).is_dir(), f"{page.name}: no folder {block[1]}")
                shutil.copytree(ROOT / block[1], self.work, dirs_exist_ok=True,
                                ignore=shutil.ignore_patterns("checkpoints", "Cholfile.lua"))
                continue
            where = f"{page.name}:{block.line}"
            if block.reason or block.kind in PLAIN:
                continue
            tried += 1
            if block.kind == "lua":
                self.try_cholfile(where, block.lines)
            elif block.kind == "console":
                self.try_commands(where, block.lines, tools)
            else:
                self.fail(f"{where}: a block of `{block.kind}` is neither tried nor exempt")
        return tried

    def rent_from_a_fake(self, key):
        fake = Vast(self.sandbox / "vast", offers=[
            offer(101), offer(102, dph_base=0.5, geolocation="Lund, SE")])
        self.addCleanup(fake.close)
        (self.home / key.removeprefix("~/")).write_text(fake.key + "\n")
        self.clouds = {"VAST_URL": fake.url, "CHOLINE_PACE": "0.02"}

    def environment(self, **more):
        return super().environment(**getattr(self, "clouds", {}), **more)

    def try_cholfile(self, where, lines):
        named = re.fullmatch(r"-- (\S+\.lua)", lines[0]) if lines else None
        name = named.group(1) if named else "Cholfile.lua"
        text = "\n".join(lines) + "\n"
        for written, real in self.hosts.items():
            text = text.replace(written, real)
        self.write(name, text)
        if name.endswith("Cholfile.lua"):
            result = self.choline("check", name, code=None)
            self.assertEqual(result.code, 0, f"{where}: this cholfile does not check\n{result}")

    def try_commands(self, where, lines, tools):
        for command, expected, code in read_commands(lines):
            self.given.update(re.findall(r"\b([A-Z_]+)=(\S+) choline", command))
            done = subprocess.run(
                ["bash", "-c", command], cwd=self.work, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                timeout=PATIENCE * 3,
                env=self.environment(PATH=f"{tools}:{self.environment()['PATH']}"))
            shown = f"{where}: $ {command}\nexit {done.returncode}\n{done.stdout}"
            self.assertEqual(done.returncode, code, shown)
            missing = matches(expected, done.stdout)
            self.assertIsNone(missing, f"not printed: {missing}\n{shown}")


class Reading(Case):
    """The reader of pages itself can fail: a page with a fault is told apart from one without."""

    def test_commands_and_what_they_print_are_told_apart(self):
        self.assertEqual(read_commands(["$ a \\", "  b", "out", "exit 3", "$ c"]),
                         [["a \\\n  b", ["out"], 3], ["c", [], 0]])

    def test_what_is_not_printed_is_found(self):
        self.assertIsNone(matches(["run … done", "…", "last"], "run r1  done\nmore\nlast\n"))
        self.assertEqual(matches(["first", "last"], "last\nfirst\n"), "last")

    def test_a_block_with_a_reason_is_told_apart(self):
        blocks = read_blocks("<!-- not run: why -->\n```lua\nx\n```\n```lua\ny\n```\n")
        self.assertEqual([block.reason for block in blocks], ["why", None])


def name_of(page):
    return re.sub(r"\W+", "_", str(page.relative_to(ROOT).with_suffix("")).lower())


def test_of(page):
    return lambda self: self.assertGreater(self.try_page(page), 0, f"{page.name} tries nothing")


for each in PAGES:
    setattr(Docs, f"test_{name_of(each)}", test_of(each))
