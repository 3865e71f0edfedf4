"""Sources of a folder can be compiled as one, as the builds for clang-tidy, clang and the
sanitizers do: what one of them hides in an anonymous namespace is the only one of its name and
parameters in the folder, and none has the name of a system call, whose place it would take."""

import pathlib
import re

from gate import Example, Gate

OPENED = re.compile(r"^namespace \{")
CLOSED = re.compile(r"^\}\s*// namespace$")
FUNCTION = re.compile(r"^(?!using|typedef|static_assert|struct|class|enum|template|namespace)"
                      r"[A-Za-z_][\w:<>,*& ]*?[ *&](\w+)\(((?:[^()]|\([^()]*\))*)\)[^;=]*\{",
                      re.MULTILINE)
THING = re.compile(r"^(?:(?:struct|class|enum class|enum) (\w+)\b[^;(]*\{|"
                   r"(?:inline )?const(?:expr|init)? [\w:<>,*& ]*?\b(\w+)(?:\[\w*\])? ?[={])",
                   re.MULTILINE)
CALLS = set("""
accept access bind chdir chmod close connect dup exec fork fsync ftruncate getenv kill link listen
open pipe poll read recv remove rename rmdir select send setenv shutdown signal socket splice stat
sync time truncate unlink usleep wait waitpid write
""".split())
APART = ("runtime/app",)  # each of their sources is compiled alone


def hidden_parts(text):
    """The texts of the anonymous namespaces at the top of a source."""
    part = None
    for line in text.splitlines():
        if OPENED.match(line):
            part = []
        elif CLOSED.match(line) and part is not None:
            yield "\n".join(part)
            part = None
        elif part is not None:
            part.append(line)


def type_of(parameter):
    parameter = re.sub(r"\s*=.*", "", " ".join(parameter.split()))
    return re.sub(r"(?<=[\w>*& ])\s*\b(?<!:)[a-z]\w*$", "", parameter).strip() or parameter


def names_of(part):
    for found in FUNCTION.finditer(part):
        types = [type_of(each) for each in found.group(2).split(",")]
        yield found.group(1), f"{found.group(1)}({', '.join(types)})"
    for found in THING.finditer(part):
        name = found.group(1) or found.group(2)
        yield name, name


def check_hidden(tree):
    seen = {}
    for path in tree.paths("runtime/**/*.cc", "tests/native/**/*.cc"):
        folder = str(pathlib.PurePath(path).parent)
        if folder in APART:
            continue
        here = {}
        for part in hidden_parts(tree.read(path)):
            here.update((full, name) for name, full in names_of(part))
        for full, name in here.items():
            if name in CALLS and full != name and "(Services&" not in full:
                yield f"{path}: {full} is hidden there and has the name of a system call"
            other = seen.setdefault((folder, full), path)
            if other != path:
                yield f"{path}: {full} is hidden there and in {other}, too"


def source(text):
    return "namespace choline {\nnamespace {\n\n" + text + "\n}  // namespace\n}  // namespace x\n"


ONE = source("int half(const std::string& text) {\n  return 1;\n}\n")
GATES = [
    Gate("hidden", check_hidden, [
        Example("one name with other parameters, or in another folder",
                {"runtime/io/a.cc": ONE, "runtime/base/a.cc": ONE,
                 "runtime/io/b.cc": source("int half(int number) {\n  return 1;\n}\n")}, None),
        Example("two of one name and parameters",
                {"runtime/io/a.cc": ONE, "runtime/io/b.cc": ONE.replace("text", "name")},
                "runtime/io/b.cc: half(const std::string&) is hidden there and in runtime/io/a.cc"),
        Example("two constants", {"runtime/io/a.cc": source("constexpr int kMost = 1;\n"),
                                  "runtime/io/b.cc": source("constexpr size_t kMost = 2;\n")},
                "kMost is hidden there and in"),
        Example("two types", {"runtime/io/a.cc": source("struct End {\n  int a;\n};\n"),
                              "runtime/io/b.cc": source("struct End {\n  int b;\n};\n")},
                "End is hidden there and in"),
        Example("a name of a system call",
                {"runtime/io/a.cc": source("int read(int from, char* to, size_t most) {\n}\n")},
                "has the name of a system call"),
    ]),
]
