"""Sections of docs/benchmarks.md, each written by the benchmark that measured it."""

import os
import pathlib
import platform

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/benchmarks.md"


def computer():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo")
                  if line.startswith("model name")), platform.machine())
    return f"{os.cpu_count()} cores of {model}, Linux {platform.release()}"


def read_sections():
    """The page by headings; "" is what comes before the first."""
    sections, title = {"": ""}, ""
    for line in PAGE.read_text().splitlines(keepends=True) if PAGE.exists() else []:
        if line.startswith("## "):
            title = line[3:].strip()
            sections[title] = ""
        else:
            sections[title] += line
    return sections


def write_section(title, text):
    sections = read_sections()
    sections[title] = text.strip("\n") + "\n"
    parts = [("## " + name + "\n\n" if name else "") + body.strip("\n") + "\n"
             for name, body in sections.items()]
    PAGE.write_text("\n".join(parts))
