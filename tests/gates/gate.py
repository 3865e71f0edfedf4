"""What a gate is: a function from a tree of files to problems, with trees that prove it can fail.

    GATE = Gate("floors", check, [
        Example("a floor may use one below", {"path": "text"}, None),
        Example("a floor may not use one above", {"path": "text"}, "part of the problem"),
    ])

`check(tree)` gives sentences, each beginning with `path:line:` where there is one.
"""

import dataclasses
import pathlib
import subprocess
import tempfile


class Tree:
    """The files of a project: those git knows or would take, or all files of an example."""

    def __init__(self, root):
        self.root = pathlib.Path(root)
        self.texts = {}

    def paths(self, *patterns):
        """Sorted relative paths that match any of the patterns (`runtime/**/*.h`)."""
        if not hasattr(self, "all"):
            self.all = self.list_all()
        chosen = [path for path in self.all
                  if any(full_match(path, pattern) for pattern in patterns)]
        return sorted(set(chosen))

    def list_all(self):
        if (self.root / ".git").exists():
            listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=self.root,
                                    check=True, capture_output=True, text=True).stdout
            return [line for line in listed.splitlines() if (self.root / line).is_file()]
        return [str(path.relative_to(self.root)) for path in self.root.rglob("*") if path.is_file()]

    def read(self, path):
        if path not in self.texts:
            self.texts[path] = (self.root / path).read_text(encoding="utf-8", errors="replace")
        return self.texts[path]

    def lines(self, path):
        """(number, line) pairs, from 1."""
        return enumerate(self.read(path).splitlines(), 1)

    def exists(self, path):
        return (self.root / path).exists()


def full_match(path, pattern):
    """`**` stands for any folders, also none; `*` for a part of a name."""
    import re
    expression = re.escape(pattern).replace(r"\*\*/", "(?:.*/)?").replace(r"\*", "[^/]*")
    return re.fullmatch(expression, path) is not None


@dataclasses.dataclass
class Example:
    name: str
    files: dict
    problem: str | None  # a part of the problem expected; None: there must be none


@dataclasses.dataclass
class Gate:
    name: str
    check: object
    examples: list
    slow: bool = False  # left out by --quick


def try_example(gate, example):
    """Returns what is wrong with the gate's answer to this example, or None."""
    with tempfile.TemporaryDirectory(prefix="choline-gate-") as folder:
        for path, text in example.files.items():
            target = pathlib.Path(folder) / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
            target.chmod(0o755 if text.startswith("#!") else 0o644)
        problems = list(gate.check(Tree(folder)))
    if example.problem is None:
        return f"found {problems}" if problems else None
    if any(example.problem in problem for problem in problems):
        return None
    return f"expected a problem with {example.problem!r}, found {problems}"
