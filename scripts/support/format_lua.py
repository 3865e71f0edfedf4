"""Brings lines of Lua files within 100 columns: `format_lua.py [--check] FILE...`.

A comment that stands alone is filled again from its first line that is too long to the end of its
paragraph; one behind code goes onto a line of its own above it. A block on one line is opened, and
what is still too long is broken at the least nested comma or operator. Lines that fit stay.
"""

import re
import sys

WIDTH = 100
ALONE = re.compile(r"^(\s*)(---?)(\s+)(\S.*)$")
LIST = re.compile(r"^([-*•]|\d+\.|@|\|)")
TOKEN = re.compile(
    r"""--.*|\[\[.*?\]\]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_]\w*|\.\.\.?|\s+|.""")
OPEN, CLOSE = set("([{"), set(")]}")
BLOCK = {"function", "then", "do", "repeat"}
LONG_TEXT = re.compile(r"\[(=*)\[(?!.*\]\1\])")


def read_alone(line):
    """(indent, dashes, gap, words) of a line of a comment that may be filled again, or None."""
    found = ALONE.match(line)
    if not found or found.group(4).startswith("@") or line.rstrip().endswith("--"):
        return None
    return found.groups()


def fill(indent, dashes, gap, words):
    lines, line = [], indent + dashes + gap
    empty = line
    for word in words:
        if line != empty and len(line) + len(word) > WIDTH:
            lines.append(line.rstrip())
            line = empty
        line += word + " "
    return [*lines, line.rstrip()]


def read_tokens(line):
    """[(start, text, depth)]: how many brackets and blocks are open around each token."""
    tokens, depth = [], 0
    for found in TOKEN.finditer(line):
        text = found.group()
        if text in CLOSE or text in ("end", "until", "elseif"):
            depth -= 1
        tokens.append((found.start(), text, depth))
        if text in OPEN or text in BLOCK:
            depth += 1
    return tokens, depth


def open_block(line, indent):
    """`if a then b end` as three lines; None for anything else."""
    tokens, left = read_tokens(line)
    words = [token for token in tokens if not token[1].isspace()]
    if left != 0 or not words or words[-1][1] != "end" or words[-1][2] != 0:
        return None
    opening = next((token for token in words if token[1] in BLOCK and token[2] == 0), None)
    if not opening or opening[1] == "repeat" or words[0][1] not in ("if", "for", "while", "local",
                                                                     "function", "return"):
        return None
    if any(token[1] in ("else", "elseif") and token[2] <= 1 for token in words):
        return None
    head = opening[0] + len(opening[1])
    if opening[1] == "function":
        closing = next((token for token in words if token[0] > head and token[1] == ")"
                        and token[2] == 1), None)
        head = closing[0] + 1 if closing else len(line)
    body = line[head:words[-1][0]].strip()
    if not body or any(token[1] == "end" and token[2] == 0 for token in words[:-1]):
        return None
    return [line[:head].rstrip(), indent + "  " + body, indent + "end"]


def break_code(line, indent):
    """Two lines, broken at the least nested place that fits; None where there is none."""
    places = []
    tokens, _ = read_tokens(line)
    is_item = line.endswith(",")  # of a table that was opened above
    for start, text, depth in tokens:
        if text == ",":
            places.append((depth, -(start + 1), start + 1, "" if depth == 0 and is_item else "  "))
        elif text in ("and", "or", "..") and start > len(indent):
            places.append((depth + 0.5, -start, start, "  "))
        elif text == "=" and depth == 0 and not is_item and line[start + 1:start + 2] == " ":
            places = [place for place in places if place[0] > 0]  # names to assign stay together
            places.append((0.4, -(start + 1), start + 1, "  "))
    places = [place for place in places if len(indent) + 10 < place[2] <= WIDTH
              and line[place[2]:].strip()]
    if not places:
        return None
    _, _, at, more = min(places)
    return line[:at].rstrip(), indent + more + line[at:].strip()


def format_code(line):
    indent = line[:len(line) - len(line.lstrip())]
    tokens, _ = read_tokens(line)
    comment = next((token for token in tokens if token[1].startswith("--")), None)
    if comment:
        text = comment[1].removeprefix("--").strip()
        line = line[:comment[0]].rstrip()
        return [*fill(indent, "--", " ", text.split()), *format_code(line)]
    if len(line) <= WIDTH:
        return [line]
    opened = open_block(line, indent)
    if opened:
        return [part for each in opened for part in format_code(each)]
    broken = break_code(line, indent)
    if not broken:
        return [line]
    first, rest = broken
    lines = [first]
    while len(rest) > WIDTH:
        broken = break_code(rest, indent)
        if not broken:
            break
        lines.append(broken[0])
        rest = broken[1]
    return [*lines, rest]


def format_lines(lines):
    result, index, closing = [], 0, None
    while index < len(lines):
        line = lines[index]
        index += 1
        opened = LONG_TEXT.search(line)
        if closing or opened or len(line) <= WIDTH or re.match(r"^\s*---@", line):
            result.append(line)
            if closing and closing in line:
                closing = None
            elif opened and not closing:
                closing = "]" + opened.group(1) + "]"
            continue
        alone = read_alone(line)
        if alone:
            words = alone[3].split()
            while index < len(lines):
                below = read_alone(lines[index])
                if not below or below[:3] != alone[:3] or LIST.match(below[3]):
                    break
                words += below[3].split()
                index += 1
            result += fill(*alone[:3], words)
        elif line.lstrip().startswith("--"):
            result.append(line[:WIDTH] if re.fullmatch(r"\s*--.*[^-]-+", line) else line)
        else:
            result += format_code(line)
    return result


def main():
    check, paths = "--check" in sys.argv, [word for word in sys.argv[1:] if word != "--check"]
    differs = False
    for path in paths:
        with open(path, encoding="utf-8") as file:
            text = file.read()
        formatted = "\n".join(format_lines(text.split("\n")))
        if formatted != text:
            differs = True
            print(f"{path}: {'would be' if check else 'was'} changed", file=sys.stderr)
            if not check:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(formatted)
    return 1 if check and differs else 0


if __name__ == "__main__":
    sys.exit(main())
