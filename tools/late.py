#!/usr/bin/env python3
"""Runs a Rust test target. A test that failed because a deadline passed runs once more, alone, at the end.

    tools/late.py cargo test --test TARGET -- FLAG... NAME...

On a machine that is busy for seconds, a test can miss a deadline and nothing is wrong. A test that failed for another reason does not
run again: a wrong value, a panic of a thread, a crash or a leak. Neither does one that was late twice, nor any if more than AGAIN_MAX
were late. What was late once is printed on a line that begins with `late once: `.
"""

import re
import subprocess
import sys

# The most tests of a target that run again: if more are late, it is not the machine.
AGAIN_MAX = 3
# The most characters of a message that are printed again.
MESSAGE_MAX = 160
# Begins the message of a test whose deadline passed (`support::wait::LATE`), ends that of a channel whose sender was late, or is that of
# a call of the store whose time limit passed.
LATE = re.compile(r"not in time|: Timeout$|: CallFault \{.*(?: within \d+ ms|due to (?:statement|lock) timeout)")
# Panics of a test whose thread panicked: the cause has a message of its own.
CONSEQUENCE = re.compile(r": Any \{ \.\. \}$|^a scoped thread panicked$")
# A table whose late rows ran again themselves.
RAN_AGAIN = re.compile(r"^.+: once more, alone$", re.MULTILINE)
PANIC = re.compile(r"^thread '.*' .*panicked at .*:\n(.*)$", re.MULTILINE)
RESULT = re.compile(r"^test result: (ok|FAILED)\. (\d+) passed; (\d+) failed;", re.MULTILINE)
SECTION = re.compile(r"^---- (\S+) stdout ----$", re.MULTILINE)
PREFIX = "late once: "


def late_tests(text):
    """The failed tests of a target with this output, each with its message, if all were late and nothing else is wrong; else none."""
    results = RESULT.findall(text)
    if len(results) != 1 or results[0][0] != "FAILED":
        return {}
    _, _, failures = text.partition("\nfailures:\n")
    failures, _, _ = failures.rpartition("\nfailures:\n")
    _, *parts = SECTION.split(failures)
    late = {}
    for name, section in zip(parts[::2], parts[1::2]):
        causes = [message for message in PANIC.findall(section) if not CONSEQUENCE.search(message)]
        if not causes or RAN_AGAIN.search(section) or not all(LATE.search(message) for message in causes):
            return {}
        late[name] = causes[0]
    return late if len(late) == int(results[0][2]) else {}


def again(text, run):
    """
    Runs the late tests of a target with this output once more, each alone: `run` runs the one of a name, and returns its status and
    output. Returns the lines about them if all of them pass, else nothing.
    """
    late = late_tests(text)
    if not 0 < len(late) <= AGAIN_MAX:
        return []
    lines = []
    for name, message in late.items():
        status, output = run(name)
        if status != 0 or RESULT.findall(output) != [("ok", "1", "0")]:
            print(f"{output}\n{name} was late ({message}), and failed once more alone", flush=True)
            return []
        lines.append(f"{PREFIX}{name} ({message[:MESSAGE_MAX]})")
    return lines


def main():
    if "--" not in sys.argv:
        sys.exit(__doc__)
    split = sys.argv.index("--") + 1
    before, arguments = sys.argv[1:split], sys.argv[split:]
    flags = [argument for argument in arguments if argument.startswith("-")]

    def run(*arguments):
        process = subprocess.Popen(
            [*before, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        )
        kept = []
        for line in process.stdout:
            print(line, end="", flush=True)
            kept.append(line)
        return process.wait(), "".join(kept)

    status, text = run(*arguments)
    if status == 0:
        return
    lines = again(text, lambda name: run(*flags, "--exact", name))
    print(*lines, sep="\n", flush=True)
    sys.exit(0 if lines else status)


if __name__ == "__main__":
    main()
