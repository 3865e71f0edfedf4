"""Registered = declared = documented: native functions and the words of the language."""

import re
import shutil
import subprocess

from gate import Example, Gate

META = "stdlib/meta/native.lua"
DECLARED = re.compile(r"^function native\.(\w+)\.(\w+)\s*\(", re.MULTILINE)
MODULE = re.compile(r"\bNativeModule\s+(\w+)_module\s*\(\s*\)\s*\{")
FUNCTION = re.compile(r'\{\s*"(\w+)"\s*,')

# Given by the border itself, which needs a Lua state for them: runtime/lua registers these.
BORDER = "runtime/lua"


def read_declared(text):
    return {f"{module}.{name}" for module, name in DECLARED.findall(text)}


def read_registered(tree):
    """From `return {"fs", {{"read", read}, ...}}` in each file of runtime/native."""
    found = {}
    for path in tree.paths("runtime/native/*.cc"):
        text = tree.read(path)
        for module in MODULE.finditer(text):
            body = text[module.end():]
            end = re.search(r"^\}", body, re.MULTILINE)
            body = body[:end.start()] if end else body
            for name in FUNCTION.findall(body):
                if name != module.group(1):
                    found[f"{module.group(1)}.{name}"] = path
    return found


def check_native(tree):
    if not tree.exists(META):
        yield f"{META}: is missing"
        return
    declared, registered = read_declared(tree.read(META)), read_registered(tree)
    if not declared:
        yield f"{META}: declares no function"
    border = "\n".join(tree.read(path) for path in tree.paths(f"{BORDER}/*.cc", f"{BORDER}/*.lua"))
    for name in sorted(declared - set(registered)):
        module, function = name.split(".")
        if not re.search(rf'"{function}"|\b{module}\.{function}\b', border):
            yield f"{META}: native.{name} is declared and not registered"
    for name, path in sorted(registered.items()):
        if name not in declared:
            yield f"{path}: native.{name} is registered and not declared in {META}"


def check_reference(tree):
    """docs/reference and stdlib/meta are what the tables of words give now."""
    if not tree.exists("scripts/reference"):
        yield "scripts/reference: is missing"
        return
    if not shutil.which("lua5.4"):
        yield "lua5.4 is missing"
        return
    done = subprocess.run([str(tree.root / "scripts/reference"), "--check"], cwd=tree.root,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True)
    yield from (line for line in done.stderr.splitlines() if line.strip())
    if done.returncode and not done.stderr.strip():
        yield f"scripts/reference --check: exit {done.returncode}: {done.stdout.strip()[:300]}"


NATIVE = 'NativeModule fs_module() {\n  return {"fs", {{"read", read}, {"write", write}}};\n}\n'
BOTH = "native.fs = {}\nfunction native.fs.read(path) end\nfunction native.fs.write(path) end\n"
FAILING = "#!/bin/sh\necho 'docs/reference/task.md differs' >&2\nexit 1\n"
GATES = [
    Gate("registered", check_native, [
        Example("both", {"runtime/native/fs.cc": NATIVE, META: BOTH}, None),
        Example("only registered",
                {"runtime/native/fs.cc": NATIVE.replace("write", "erase"), META: BOTH},
                "native.fs.erase is registered and not declared"),
        Example("only declared",
                {"runtime/native/fs.cc": NATIVE, META: BOTH + "function native.fs.gone() end\n"},
                "native.fs.gone is declared and not registered"),
    ]),
    Gate("reference", check_reference, [
        Example("the generator finds a difference", {"scripts/reference": FAILING},
                "docs/reference/task.md differs"),
        Example("the generator is content", {"scripts/reference": "#!/bin/sh\n"}, None),
        Example("no generator", {"a.md": "\n"}, "scripts/reference: is missing"),
    ]),
]
