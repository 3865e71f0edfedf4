"""Checks that a tool makes: formatting and lint of C++ and Lua, headers that compile alone."""

import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor

from gate import Example, Gate

CORES = os.cpu_count() or 2
CODE = ("runtime/**/*.h", "runtime/**/*.cc", "tests/native/**/*.cc", "tests/native/**/*.h",
        "tests/native/*.cc")
ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("CHOLINE_BUILD", ROOT / "build"))


def run(words, tree):
    return subprocess.run([str(word) for word in words], cwd=tree.root, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace")


def in_parts(paths, size):
    return [paths[start:start + size] for start in range(0, len(paths), size)]


def check_format(tree):
    paths = tree.paths(*CODE)
    style = (ROOT / ".clang-format").resolve()

    def run_part(part):
        return run(["clang-format", f"--style=file:{style}", "--dry-run", "-Werror", *part], tree)

    with ThreadPoolExecutor(CORES) as pool:
        for done in pool.map(run_part, in_parts(paths, 8)):
            found = sorted(set(re.findall(r"^(\S+?):(\d+):\d+: error", done.stderr, re.MULTILINE)))
            first = {}
            for path, line in found:
                first[path] = min(int(line), first.get(path, 1 << 30))
            for path, line in first.items():
                yield f"{path}:{line}: not as clang-format writes it; run scripts/format"
            if done.returncode and not first:
                yield f"clang-format: {done.stderr.strip()[:300]}"


def is_close(tree, warning):
    """A variable is used by being closed: `local x <close> = …`, which luacheck does not know."""
    found = re.match(r"(\S+?):(\d+):\d+: \(W211\) unused variable '(\w+)'", warning)
    if not found:
        return False
    line = tree.read(found.group(1)).splitlines()[int(found.group(2)) - 1]
    return re.search(rf"\b{found.group(3)}\s*<close>", line) is not None


def check_luacheck(tree):
    paths = tree.paths("stdlib/**/*.lua", "stdlib/*.lua", "tests/**/*.lua", "examples/**/*.lua")
    if not paths:
        return
    done = run(["luacheck", "--no-color", "--codes", "--formatter", "plain", "--config",
                ROOT / ".luacheckrc", *paths], tree)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    yield from (line for line in lines if not is_close(tree, line))
    if done.returncode and not done.stdout.strip():
        yield f"luacheck: {done.stderr.strip()[:300]}"


def compile_flags():
    """How the build compiles: of a file of runtime/native, which sees every floor, or of any."""
    commands = json.loads((BUILD / "compile_commands.json").read_text())
    chosen = [each for each in commands if "/runtime/" in each["file"]]
    chosen.sort(key=lambda each: "/runtime/native/" not in each["file"])
    words = shlex.split(chosen[0]["command"])
    kept, skip = [], False
    for word in words[1:]:
        if skip or word in ("-c", "-o") or word.endswith((".cc", ".o")):
            skip = word == "-o"
        elif not word.startswith(("-O", "-g")) and not word.endswith(("g++", "c++", "ccache")):
            kept.append(word)
    return kept


def check_headers(tree):
    if not (BUILD / "compile_commands.json").exists():
        yield f"there is no {BUILD / 'compile_commands.json'}; build first"
        return
    flags = [word for word in compile_flags() if word != f"-I{ROOT}/runtime"]
    compiler = ["ccache", "g++"] if shutil.which("ccache") else ["g++"]
    with tempfile.TemporaryDirectory(prefix="choline-headers-") as folder, \
            ThreadPoolExecutor(CORES) as pool:

        def compile_alone(path):
            name = path.removeprefix("runtime/")
            source = pathlib.Path(folder) / (name.replace("/", "-") + ".cc")
            source.write_text(f'#include "{name}"\n')
            words = [*compiler, f"-I{tree.root}/runtime", *flags, "-O0", "-c", source]
            return path, run([*words, "-o", source.with_suffix(".o")], tree)

        for path, done in pool.map(compile_alone, tree.paths("runtime/**/*.h")):
            if done.returncode:
                said = [line for line in done.stderr.splitlines() if "error" in line]
                yield f"{path}: does not compile alone: {(said or ['?'])[0][:200]}"
        for path in tree.paths("runtime/**/*.h"):
            if "#pragma once" not in tree.read(path):
                yield f"{path}: has no #pragma once"


TIDY = re.compile(r"^(\S+?):(\d+):\d+: (?:error|warning): (.*)$", re.MULTILINE)


def run_tidy(tree, flags, folder, paths):
    """[(path, line, words)] for these sources, read as one: their headers are then read once. What
    cannot stand in one with the others (a name that two of them hide) is read alone."""
    source = pathlib.Path(folder) / (paths[0].replace("/", "-") + f"-{len(paths)}.cc")
    source.write_text("".join(f'#include "{tree.root / path}"\n' for path in paths))
    words = ["clang-tidy", f"--config-file={ROOT / '.clang-tidy'}", "--quiet",
             "--checks=-bugprone-suspicious-include", source, "--"]
    done = run([*words, f"-I{tree.root}/runtime", *flags], tree)
    prefix = str(tree.root) + "/"
    found = [(path.removeprefix(prefix), line, said)
             for path, line, said in TIDY.findall(done.stdout)]
    broken = {path for path, _, said in found if "clang-diagnostic-error" in said}
    guilty = sorted(broken & set(paths))
    if guilty and len(paths) > 1:
        rest = [path for path in paths if path not in guilty]
        parts = [*([rest] if rest else []), *([path] for path in guilty)]
        return [each for part in parts for each in run_tidy(tree, flags, folder, part)]
    if done.returncode and not found:
        found.append((paths[0], 0, f"clang-tidy ended with {done.returncode}: {done.stderr[:300]}"))
    return found


def check_tidy(tree):
    """clang-tidy on every source of the runtime, with the flags of the build."""
    if not (BUILD / "compile_commands.json").exists():
        yield f"there is no {BUILD / 'compile_commands.json'}; build first"
        return
    flags = [word for word in compile_flags() if not word.startswith("-fmacro-prefix-map")]
    flags.append('-DCHOLINE_VERSION="0"')
    floors = {}
    for path in tree.paths("runtime/**/*.cc"):
        floors.setdefault(pathlib.PurePath(path).parent, []).append(path)
    floors = sorted(floors.values(), key=len, reverse=True)
    with tempfile.TemporaryDirectory(prefix="choline-tidy-") as folder, \
            ThreadPoolExecutor(CORES) as pool:
        results = pool.map(lambda paths: run_tidy(tree, flags, folder, paths), floors)
        found = {each for result in results for each in result}
    for path, line, said in sorted(found):
        yield f"{path}:{line}: {said}"


FORMATTED = "int main() {\n  return 0;\n}\n"
GATES = [
    Gate("format", check_format, [
        Example("as clang-format writes it", {"runtime/base/a.cc": FORMATTED}, None),
        Example("not so", {"runtime/base/a.cc": "int main( ) {return 0 ;}\n"}, "a.cc:1: not as"),
    ]),
    Gate("luacheck", check_luacheck, [
        Example("clean", {"stdlib/core/a.lua": "local M = {}\n\nreturn M\n"}, None),
        Example("a global", {"stdlib/core/a.lua": "x = 1\n"}, "a.lua:1"),
        Example("something that is closed",
                {"stdlib/core/a.lua": "local x <close> = nil\n"}, None),
        Example("something unused", {"stdlib/core/a.lua": "local x = 1\n"}, "unused"),
    ]),
    Gate("headers", check_headers, [
        Example("alone",
                {"runtime/base/a.h": "#pragma once\n#include <string>\nstd::string a();\n"}, None),
        Example("not alone", {"runtime/base/a.h": "#pragma once\nstd::vector<int> a();\n"},
                "a.h: does not compile alone"),
        Example("no guard", {"runtime/base/a.h": "int a();\n"}, "no #pragma once"),
    ], slow=True),
    Gate("tidy", check_tidy, [
        Example("clean", {"runtime/base/a.cc": "int twice(int x) { return 2 * x; }\n"}, None),
        Example("an integer division lost in a double",
                {"runtime/base/a.cc": "double half(int x) { return x / 2; }\n"},
                "runtime/base/a.cc:1: result of integer division"),
        Example("two that hide the same name, one of them with a fault",
                {"runtime/base/a.cc": "static int half() { return 1; }\nint a = half();\n",
                 "runtime/base/b.cc": "static double half(int x) { return x / 2; }\n"
                                      "double b = half(1);\n"},
                "runtime/base/b.cc:1: result of integer division"),
    ], slow=True),
]
