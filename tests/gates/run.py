"""Runs the gates: each on the project, and each on the examples that prove it can fail.

    tests/gates/run.py [--quick] [GATE ...]

Ends with `N passed, N failed`.
"""

import argparse
import importlib
import pathlib
import sys
import time

FOLDER = pathlib.Path(__file__).resolve().parent
ROOT = FOLDER.parents[1]
sys.path.insert(0, str(FOLDER))
import gate as gates


def load_gates():
    modules = [importlib.import_module(path.stem) for path in sorted(FOLDER.glob("gate_*.py"))]
    return {each.name: each for module in modules for each in module.GATES}


def main():
    there = load_gates()
    parser = argparse.ArgumentParser(description=__doc__, epilog="gates: " + ", ".join(there))
    parser.add_argument("--quick", action="store_true", help="leave out the slow gates")
    parser.add_argument("gates", nargs="*")
    options = parser.parse_args()
    for name in options.gates:
        if name not in there:
            parser.error(f"no gate \"{name}\"; there are {', '.join(there)}")
    tree = gates.Tree(ROOT)
    passed = failed = 0
    for name, each in there.items():
        if options.gates and name not in options.gates or options.quick and each.slow:
            continue
        began = time.monotonic()
        problems = list(each.check(tree))
        for problem in problems:
            print(f"{name}: {problem}")
        wrong = 0
        for example in each.examples:
            answer = gates.try_example(each, example)
            if answer:
                print(f"{name}: the gate itself is wrong: {example.name}: {answer}")
                wrong += 1
        if not any(example.problem for example in each.examples):
            print(f"{name}: the gate itself is wrong: no example proves that it can fail")
            wrong += 1
        passed += (not problems) + len(each.examples) - min(wrong, len(each.examples))
        failed += bool(problems) + wrong
        print(f"   {name}: {len(problems)} problems, {time.monotonic() - began:.1f} s", flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
