#!/usr/bin/env python3
"""Runs the tests whose names contain NAME, and builds only the targets that have one.

The names come from the source, so that a unit test waits for no other target, and a name that no test has is refused
before anything is compiled.
"""

import difflib
import json
import pathlib
import re
import subprocess
import sys

MODULE = re.compile(r"^\s*(?:pub(?:\([a-z:_ ]+\))? )?mod (\w+)( \{|;)")
PATH = re.compile(r'^\s*#\[path = "(.+)"\]')
FUNCTION = re.compile(r"^\s*(?:pub(?:\([a-z:_ ]+\))? )?fn (\w+)")
TEST = "#[test]"
NEAREST = 3


def targets():
    """Of each target with tests: its flags for cargo, its name, and its root file."""
    command = ["cargo", "metadata", "--no-deps", "--format-version", "1"]
    described = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    for package in described["packages"]:
        for target in package["targets"]:
            kind = target["kind"][0]
            if kind in ("lib", "bin", "test"):
                flags = ["--lib"] if kind == "lib" else [f"--{kind}", target["name"]]
                yield flags, f"{package['name']} {' '.join(flags)}", pathlib.Path(target["src_path"])


def tests(file, modules=(), is_root=True):
    """The full names of the tests in a file and in the modules below it."""
    # A file that is named for its module has its children in a folder of that name.
    own = file.parent if is_root or file.name == "mod.rs" else file.parent / file.stem
    inline, path, is_test = [], None, False
    for line in file.read_text(encoding="utf-8").splitlines():
        indent = len(line) - len(line.lstrip())
        if inline and line.strip() == "}" and indent == inline[-1][0]:
            inline.pop()
        within = [name for _, name in inline]
        if found := PATH.match(line):
            path = found.group(1)
        elif found := MODULE.match(line):
            name, opens = found.groups()
            if opens == " {":
                inline.append((indent, name))
                continue
            folder = own.joinpath(*within)
            places = [file.parent / path] if path else [folder / f"{name}.rs", folder / name / "mod.rs"]
            for place in places:
                if place.exists():
                    yield from tests(place, (*modules, *within, name), is_root=path is not None)
            path = None
        elif line.strip() == TEST:
            is_test = True
        elif is_test and (found := FUNCTION.match(line)):
            is_test = False
            yield "::".join((*modules, *within, found.group(1)))


def shipped_tests():
    """The names of the tests of what is shipped, which are Python."""
    for file in sorted(pathlib.Path("tests/shipped").glob("test_*.py")):
        yield from re.findall(r"^    def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)


def run_shipped(wanted):
    """Builds the gateway, and runs the tests of what is shipped with this name."""
    built = subprocess.call(["cargo", "build", "--workspace", "--bin", "seawall"], stdin=subprocess.DEVNULL)
    command = [sys.executable, "-m", "unittest", "discover", "-s", "tests/shipped", "-k", wanted]
    return built or subprocess.call(command, stdin=subprocess.DEVNULL)


def nearest(wanted, names):
    """The names that are most like what was asked for, whole or in their last part."""
    def likeness(name):
        parts = {name, name.rsplit("::", 1)[-1]}
        return max(difflib.SequenceMatcher(None, wanted, part).ratio() for part in parts)

    return sorted(names, key=likeness, reverse=True)[:NEAREST]


def run(wanted, chosen):
    """Runs the chosen targets, and passes on what they print; the exit status, and how many tests ran."""
    flags = list(dict.fromkeys(tuple(flags) for flags, _ in chosen))
    # All packages: a selection of its own has other features, and would compile dependencies again.
    command = ["cargo", "test", "--workspace", *(part for flag in flags for part in flag), "--", wanted]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
    ran = 0
    for line in process.stdout:
        print(line, end="", flush=True)
        if found := re.match(r"running (\d+) tests?$", line):
            ran += int(found.group(1))
    return process.wait(), ran


def main():
    wanted = sys.argv[1]
    chosen, names = [], set()
    for flags, target, root in targets():
        found = set(tests(root))
        if any(wanted in name for name in found):
            chosen.append((flags, target))
        names |= found
    shipped = set(shipped_tests())
    is_shipped = any(wanted in name for name in shipped)
    names |= shipped
    if is_shipped and not chosen:
        sys.exit(run_shipped(wanted))
    if not chosen:
        print(f"No test has a name that contains {wanted}. The nearest are:", *nearest(wanted, names), sep="\n    ", file=sys.stderr)
        sys.exit(1)
    print(f"in {', '.join(target for _, target in chosen)}", flush=True)
    status, ran = run(wanted, chosen)
    if status == 0 and ran == 0:
        print(f"No test ran: none of these targets has one that is named {wanted}.", file=sys.stderr)
        sys.exit(1)
    sys.exit(status or (run_shipped(wanted) if is_shipped else 0))


if __name__ == "__main__":
    main()
