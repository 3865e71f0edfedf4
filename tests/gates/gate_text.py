"""Plain checks on text: who raises, lines and blanks, sizes of files, paths of machines, links."""

import os
import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts" / "support"))
import format_lua
from gate import Example, Gate

CODE = ("runtime/**/*.h", "runtime/**/*.cc", "tests/native/**/*.cc", "tests/native/**/*.h")
LUA = ("stdlib/**/*.lua", "tests/stdlib/**/*.lua", "examples/**/*.lua", "stdlib/*.lua")
WRITTEN = ("**/*.md", "**/*.py", "**/*.lua", "**/*.cc", "**/*.h", "**/*.sh", "**/*.cmake",
           "**/CMakeLists.txt", "scripts/*", ".ci/*")
RAISING = re.compile(
    r"\b(lua_error|luaL_error|luaL_argerror|luaL_typeerror|luaL_check\w+|lua_yieldk?)\b")
# Longer than the house allows, with the reason. Nothing else may join them without one.
# Made of other files, or of a kind that cannot be divided.
LONG_FILES = {"stdlib/meta/choline.lua"}
MACHINE_PATHS = re.compile(r"(?<![\w:.}~-])/(?:root|home/(?!USER|you|me\b)\w+)/[\w.]")


# An annotation is one line whatever its length, and an address cannot be broken.
UNBREAKABLE = re.compile(r"^\s*---@|https?://")


def check_raises(tree):
    for path in tree.paths("runtime/**/*.h", "runtime/**/*.cc"):
        if path.startswith("runtime/lua/"):
            continue
        for number, line in tree.lines(path):
            found = RAISING.search(line.split("//")[0])
            if found:
                yield f"{path}:{number}: {found.group(1)} belongs into runtime/lua alone"


def check_blanks(tree):
    for path in tree.paths(*WRITTEN):
        text = tree.read(path)
        if "\r" in text:
            yield f"{path}: has carriage returns"
        if text and not text.endswith("\n"):
            yield f"{path}: does not end with a line end"
        if text.endswith("\n\n"):
            yield f"{path}: ends with empty lines"
        wide = not path.endswith((".md", ".cc", ".h"))  # clang-format sees to C++
        for number, line in tree.lines(path):
            if "\t" in line and not path.endswith(".md"):
                yield f"{path}:{number}: a tab"
            if line != line.rstrip():
                yield f"{path}:{number}: blanks at the end of the line"
            if wide and len(line) > 100 and not UNBREAKABLE.search(line):
                if not path.endswith(".lua") or format_lua.format_lines([line]) != [line]:
                    yield f"{path}:{number}: {len(line)} columns, more than 100"
                elif len(line) > 110:
                    yield f"{path}:{number}: {len(line)} columns that scripts/format cannot break"
    for path in tree.paths(*LUA):
        yield from check_indentation(tree, path)


def check_indentation(tree, path):
    """Lua is indented by two spaces; lines inside long strings and comments are left alone."""
    closing = None
    for number, line in tree.lines(path):
        if closing is None:
            indent = len(line) - len(line.lstrip(" "))
            follows_up = line.lstrip().startswith(("..", "and ", "or "))
            if line.strip() and indent % 2 and not follows_up:
                yield f"{path}:{number}: indented by {indent} blanks, not by twos"
            opened = re.search(r"\[(=*)\[(?!.*\]\1\])", line)
            if opened:
                closing = "]" + opened.group(1) + "]"
        elif closing in line:
            closing = None


def check_sizes(tree):
    for path in tree.paths("runtime/**/*.h", "runtime/**/*.cc", "stdlib/**/*.lua", "stdlib/*.lua",
                           "scripts/**/*.py", "tests/**/*.py", "tests/**/*.lua", "tests/**/*.cc"):
        count = tree.read(path).count("\n")
        if path in LONG_FILES:
            if count <= 500:
                yield f"{path}: {count} lines; it needs no exception in tests/gates/gate_text.py"
        elif count > 500:
            yield f"{path}: {count} lines, more than 500; something in it wants a room of its own"


def check_machine_paths(tree):
    for path in tree.paths("**/*", "*"):
        if path.endswith((".gz", ".zst", ".png")) or path == "tests/gates/gate_text.py":
            continue
        for number, line in tree.lines(path):
            found = MACHINE_PATHS.search(line)
            if found or str(tree.root) + os.sep in line:
                yield f"{path}:{number}: a path of one machine: {line.strip()[:80]}"


def check_links(tree):
    """Links between pages lead somewhere."""
    for path in tree.paths("**/*.md", "*.md"):
        inside = False
        for number, line in tree.lines(path):
            inside ^= line.startswith("```")
            if inside:
                continue
            for target in re.findall(r"\]\(([^)\s]+)\)", line):
                target = target.split("#")[0]
                if not target or "://" in target or target.startswith("mailto:"):
                    continue
                if not (tree.root / path).parent.joinpath(target).exists():
                    yield f"{path}:{number}: the link to {target} leads nowhere"


GATES = [
    Gate("raises", check_raises, [
        Example("the border may raise", {"runtime/lua/a.cc": "lua_error(L);\n"}, None),
        Example("a native module may not", {"runtime/native/a.cc": "  luaL_checkstring(L, 1);\n"},
                "runtime/native/a.cc:1: luaL_checkstring"),
        Example("nor may one yield", {"runtime/io/a.h": "return lua_yieldk(L);\n"}, "lua_yieldk"),
    ]),
    Gate("blanks", check_blanks, [
        Example("good text", {"stdlib/core/a.lua": "if x then\n  y()\nend\n"}, None),
        Example("a long string is left alone", {"stdlib/core/a.lua": "x = [[\n   odd\n]]\n"}, None),
        Example("a tab", {"runtime/base/a.cc": "\tx\n"}, "a tab"),
        Example("blanks at the end", {"scripts/a.py": "x \n"}, "blanks at the end"),
        Example("a line of 101", {"stdlib/core/a.lua": f"f({'x' * 48}, {'y' * 48})\n"}, "101 col"),
        Example("a text that cannot be broken",
                {"stdlib/core/a.lua": f"x(\"{'y' * 98}\")\n"}, None),
        Example("three spaces", {"stdlib/core/a.lua": "do\n   x()\nend\n"}, "indented by 3"),
        Example("no line end", {"stdlib/core/a.lua": "x()"}, "does not end"),
    ]),
    Gate("sizes", check_sizes, [
        Example("500 lines are fine", {"stdlib/core/a.lua": "x()\n" * 500}, None),
        Example("501 are not", {"stdlib/core/a.lua": "x()\n" * 501}, "501 lines"),
    ]),
    Gate("machine-paths", check_machine_paths, [
        Example("a place on an instance is fine", {"a.lua": 'to = "gpu:/work/x"\n'}, None),
        Example("someone's home is not", {"a.md": "see " + "/ho" + "me/anna/x\n"}, "a.md:1"),
        Example("nor is root's", {"a.md": "cd " + "/ro" + "ot/x\n"}, "a.md:1"),
    ]),
    Gate("links", check_links, [
        Example("a page that is there", {"a.md": "[b](b.md#top)\n", "b.md": "\n"}, None),
        Example("a page that is not", {"docs/a.md": "[b](b.md)\n"}, "docs/a.md:1: the link"),
    ]),
]
