"""Each type of a namespace has one definition: two of one name, each in a file of its own, are
undefined behaviour that no compiler and no linker tells."""

import re

from gate import Example, Gate

TYPE = re.compile(r"^(?:template <.*>\s*)?(?:class|struct|enum class|enum|union)\s+"
                  r"(?:\[\[\w+\]\]\s*)?(\w+)\b(?!::)[^;({]*\{")
INNER = re.compile(r"^namespace (?:(\w[\w:]*) )?\{")

# The agent is a program of its own: what it defines itself meets only what it is built from.
AGENT = "runtime/agent/"
OF_AGENT = ("runtime/base/", "runtime/link/protocol", "runtime/transfer/", AGENT)


def read_types(text):
    """(namespace, type) of each definition at the top of a namespace that other files can see."""
    spaces = []
    for line in text.splitlines():
        opened = INNER.match(line)
        if opened:
            spaces.append(opened.group(1) or "")
        elif re.match(r"^\}\s*// namespace", line) and spaces:
            spaces.pop()
        elif "" not in spaces:
            found = TYPE.match(line)
            if found:
                yield "::".join(spaces), found.group(1)


def meet(one, other):
    if one.startswith(AGENT) == other.startswith(AGENT):
        return True
    return all(path.startswith(OF_AGENT) for path in (one, other))


def check_names(tree):
    seen = {}
    for path in tree.paths("runtime/**/*.h", "runtime/**/*.cc"):
        for name in read_types(tree.read(path)):
            for other in seen.setdefault(name, []):
                if other != path and meet(other, path):
                    yield f"{path}: {'::'.join(name)} is defined in {other}, too"
            seen[name].append(path)


ONE = "namespace choline {\n\nstruct Query {\n  int a;\n};\n\n}  // namespace choline\n"
HIDDEN = ONE.replace("struct", "namespace {\nstruct").replace("};\n", "};\n}  // namespace\n")
GATES = [
    Gate("names", check_names, [
        Example("one definition", {"runtime/base/a.h": ONE, "runtime/io/b.h": "struct Query;\n"},
                None),
        Example("two of one name", {"runtime/base/a.h": ONE, "runtime/io/b.h": ONE},
                "choline::Query is defined in runtime/base/a.h, too"),
        Example("one that no other file sees",
                {"runtime/base/a.h": ONE, "runtime/io/b.cc": HIDDEN}, None),
        Example("the agent's own and one that it is not built from",
                {"runtime/agent/a.h": ONE, "runtime/io/b.h": ONE}, None),
        Example("the agent's own and one of a floor below it",
                {"runtime/agent/a.h": ONE, "runtime/base/b.h": ONE}, "is defined in"),
    ]),
]
