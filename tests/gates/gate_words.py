"""One word for each idea: docs/design/words.md says which are never used, and where one may be."""

import re

from gate import Example, Gate

LIST = "docs/design/words.md"
ROW = re.compile(r"^\|(.+)\|$")
STRING = re.compile(r'"((?:[^"\\\n]|\\.)*)"|\'((?:[^\'\\\n]|\\.)*)\'|\[\[(.*?)\]\]')
LUA_NAME = re.compile(r"[A-Za-z_]\w*")


def read_rows(text, heading):
    """Cells of the table under the heading that has a column of this name."""
    rows, inside = [], False
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if ROW.match(line) else None
        if cells is None:
            inside = False
        elif heading in cells:
            inside = True
        elif inside and not set("".join(cells)) <= set("-: "):
            rows.append(cells)
    return rows


def read_list(text):
    """({word never used: word to use}, [(where, word)] allowed)."""
    never = {}
    for cells in read_rows(text, "never"):
        good = cells[0].strip("* ")
        for word in filter(None, (part.strip() for part in cells[2].split(","))):
            never.setdefault(word.lower(), good)
    allowed = [(cells[0].strip("`"), cells[1]) for cells in read_rows(text, "because")]
    return never, allowed


def read_people_text(tree, path):
    """(number, text) of what people read: all of a page, the strings of code."""
    if path.endswith(".md"):
        inside = False
        for number, line in tree.lines(path):
            inside ^= line.lstrip().startswith("```")
            if not (inside and path.startswith("docs/design/")):  # code for those who build it
                yield number, line
        return
    for number, line in tree.lines(path):
        if path.endswith(".lua") and line.lstrip().startswith("--"):
            continue
        if line.startswith("#include"):
            continue
        for found in STRING.findall(line.split("//")[0] if path.endswith(".cc") else line):
            yield number, " ".join(found)


def check_words(tree):
    if not tree.exists(LIST):
        yield f"{LIST}: is missing"
        return
    never, allowed = read_list(tree.read(LIST))
    if not never:
        yield f"{LIST}: lists no word that is never used"
        return
    words = "|".join(re.escape(word) for word in never)
    pattern = re.compile(rf"\b({words})s?\b", re.IGNORECASE)
    used = set()

    def is_allowed(path, word):
        for where, which in allowed:
            if path.startswith(where) and which in ("all", word.lower()):
                used.add((where, which))
                return True
        return False

    pages = tree.paths("docs/guide/*.md", "docs/reference/*.md", "docs/design/*.md", "README.md")
    sources = tree.paths("stdlib/**/*.lua", "runtime/**/*.cc")
    for path in pages + sources:
        for number, text in read_people_text(tree, path):
            for found in pattern.findall(text):
                if not is_allowed(path, found):
                    yield f"{path}:{number}: \"{found}\" is \"{never[found.lower()]}\" in choline"
    for path in tree.paths("stdlib/**/*.lua"):
        for number, line in tree.lines(path):
            code = STRING.sub('""', line.split("--")[0])
            for name in LUA_NAME.findall(code):
                for part in name.lower().split("_"):
                    if part in never and not is_allowed(path, part):
                        yield f"{path}:{number}: the name {name}: \"{part}\" is \"{never[part]}\""
    if len(tree.paths("**/*")) > 20:  # the project itself, not an example of this gate
        for where, which in allowed:
            if (where, which) not in used:
                yield f"{LIST}: \"{which}\" is allowed in {where}, which has no need of it"


WORDS = "| word | means | never |\n|---|---|---|\n| **run** | x | job, session |\n"
ALLOWED = "\n| where | word | because |\n|---|---|---|\n| docs/guide | job | y |\n"
GATES = [
    Gate("words", check_words, [
        Example("the right word", {LIST: WORDS + "\nrun\n", "docs/guide/a.md": "a run\n"},
                "\"job\" is \"run\""),  # the list itself names them, and allows itself on its page
        Example("a wrong one in a page",
                {LIST: WORDS, "docs/guide/a.md": "start\nthe jobs\n"}, "docs/guide/a.md:2: \"jo"),
        Example("a wrong one in a message",
                {LIST: WORDS, "stdlib/core/a.lua": 'fail("no session")\n'}, "a.lua:1: \"session\""),
        Example("a wrong one in a name",
                {LIST: WORDS, "stdlib/core/a.lua": "local job_count = 1\n"}, "the name job_count"),
        Example("a comment may explain",
                {LIST: WORDS + ALLOWED.replace("docs/guide", LIST).replace("job", "all"),
                 "stdlib/core/a.lua": "-- not a job\nlocal run = 1\n"}, None),
        Example("where it is allowed",
                {LIST: WORDS + ALLOWED.replace("docs/guide", "docs").replace("job", "all"),
                 "docs/guide/a.md": "a job\n"}, None),
    ]),
]
