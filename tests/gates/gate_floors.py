"""Who may use whom: a floor includes or requires floors below it alone."""

import re

from gate import Example, Gate

FLOOR = re.compile(r"^choline_floor\((\w+)((?:[^()]|\([^()]*\))*)\)", re.MULTILINE)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
REQUIRE = re.compile(r"""^[^"']*\brequire\s*\(?\s*["']([\w.]+)["']""")

# Folders of runtime/ that are programs or data rather than floors, and what they may include.
PROGRAMS = {
    "agent": {"base", "link", "transfer", "agent"},  # of link only the protocol: see PROTOCOL
    "app": None,  # everything
    "embed": {"embed"},
}
PROTOCOL = re.compile(r"link/(protocol|frame|wire)\w*\.h")

# Lua has no link lines, so this is the source. policy is pure: it waits for nothing, sees no world.
LUA_FLOORS = {
    "core": set(),
    "wait": {"core"},
    "talk": {"core", "wait"},
    "policy": {"core"},
    "flow": {"core", "wait", "talk", "policy"},
    "dsl": {"core", "wait", "talk", "policy", "flow"},
    "command": {"core", "wait", "talk", "policy", "flow", "dsl"},
    "meta": set(),
}

PURE = {"policy"}
PURE_EXCEPT = {"stdlib/policy/call.lua"}  # calls policies, and refuses those that wait


def read_floors(text):
    """From the link lines: each floor with all floors below it."""
    needs = {}
    for name, rest in FLOOR.findall(text):
        words = rest.split()
        below, key = set(), ""
        for word in words:
            if word in ("NEEDS", "LIBS"):
                key = word
            elif key == "NEEDS":
                below.add(word)
        needs[name] = below

    def all_below(name):
        found = set()
        for need in needs.get(name, ()):
            found |= {need} | all_below(need)
        return found

    return {name: all_below(name) for name in needs}


def check_runtime(tree):
    floors = read_floors(tree.read("CMakeLists.txt"))
    if not floors:
        yield "CMakeLists.txt: no choline_floor line was found"
    names = set(floors) | set(PROGRAMS)
    for path in tree.paths("runtime/**/*.h", "runtime/**/*.cc"):
        own = path.split("/")[1]
        if own not in names:
            yield f"{path}: runtime/{own} is no floor of CMakeLists.txt"
            continue
        for number, line in tree.lines(path):
            included = INCLUDE.match(line)
            if not included:
                continue
            target = included.group(1).split("/")[0]
            if "/" not in included.group(1) or target not in names:
                yield f"{path}:{number}: \"{included.group(1)}\" is not written as floor/file.h"
            elif own in PROGRAMS:
                allowed = PROGRAMS[own]
                if allowed is not None and target not in allowed:
                    yield f"{path}:{number}: {own} may not include {target}"
                if own == "agent" and target == "link" and not PROTOCOL.match(included.group(1)):
                    yield f"{path}:{number}: of link the agent may include the protocol alone"
            elif target != own and target not in floors[own]:
                yield f"{path}:{number}: {own} stands below {target} or beside it"


def check_stdlib(tree):
    for path in tree.paths("stdlib/**/*.lua"):
        parts = path.split("/")
        own = parts[1] if len(parts) > 2 else None
        if own and own not in LUA_FLOORS:
            yield f"{path}: stdlib/{own} is no floor of tests/gates/gate_floors.py"
            continue
        for number, line in tree.lines(path):
            if line.lstrip().startswith("--"):
                continue
            for name in REQUIRE.findall(line):
                target = name.split(".")[0]
                if target == "native":
                    if own in PURE and path not in PURE_EXCEPT:
                        yield f"{path}:{number}: {own} is pure and may not use native"
                elif target not in LUA_FLOORS:
                    yield f"{path}:{number}: \"{name}\" is no module of the stdlib"
                elif target == "meta":
                    yield f"{path}:{number}: meta files are for editors and are never loaded"
                elif own and target != own and target not in LUA_FLOORS[own]:
                    yield f"{path}:{number}: {own} stands below {target} or beside it"


CMAKE = """choline_floor(base LIBS a::b)
choline_floor(loop NEEDS base)
choline_floor(io NEEDS loop)
"""
GATES = [
    Gate("floors-runtime", check_runtime, [
        Example("a floor may include those below, at any depth",
                {"CMakeLists.txt": CMAKE, "runtime/io/a.cc": '#include "base/x.h"\n'}, None),
        Example("a floor may not include one above",
                {"CMakeLists.txt": CMAKE, "runtime/base/a.h": '#include "io/x.h"\n'},
                "runtime/base/a.h:1: base stands below io"),
        Example("the agent may not include the store's floor",
                {"CMakeLists.txt": CMAKE, "runtime/agent/a.cc": '#include "io/x.h"\n'},
                "agent may not include io"),
        Example("a folder that is no floor is said",
                {"CMakeLists.txt": CMAKE, "runtime/attic/a.cc": "\n"}, "runtime/attic is no floor"),
        Example("link lines must be there", {"CMakeLists.txt": "\n"}, "no choline_floor"),
    ]),
    Gate("floors-stdlib", check_stdlib, [
        Example("flow may require policy",
                {"stdlib/flow/a.lua": 'local x = require "policy.retry"\n'}, None),
        Example("policy may not require wait",
                {"stdlib/policy/a.lua": 'local x = require("wait.task")\n'},
                "policy stands below wait"),
        Example("policy may not reach native",
                {"stdlib/policy/a.lua": 'local native = require "native"\n'}, "may not use native"),
        Example("meta is never loaded",
                {"stdlib/core/a.lua": 'require "meta.native"\n'}, "never loaded"),
    ]),
]
