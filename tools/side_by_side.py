#!/usr/bin/env python3
"""Builds all test targets and runs each as soon as it is built, several at a time. The page is tested at the same time.

Most tests wait most of the time, for servers, outages and timeouts, and leave the processors to the compiler. The target with the
most servers and deadlines runs last and alone; BUILDER names a process group that is stopped meanwhile. A target that passes
prints one line. On the first failure this script prints that target's output and exits; its caller must then end the
process group, in which other targets may still be running.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

# Benches are built as well, so that they are linted.
BUILD = ["cargo", "test", "--workspace", "--all-targets", "--no-run", "--message-format", "json-render-diagnostics"]
# The number of waiting targets that run at a time, in addition to one computing target and the page's tests.
AT_ONCE = 2
# Targets that compute without waiting. They run with a lower priority than the others, whose tests have deadlines.
COMPUTING = {"pure", "simulation"}
# The target that runs alone: its tests start many gateways and servers, and have deadlines.
ALONE = "servers"
# The least number of tests of a target that run at a time. Other targets run one for each processor.
TESTS_AT_ONCE = {"servers": 5, "program": 3}
# The niceness of the compiler and the computing targets.
NICE = 5
# The lines of panics that are repeated at the end of a failed target's output.
PANIC_LINES = 60
START = time.monotonic()


class Job:
    """A command whose output is shown when it fails."""

    def __init__(self, name, command, folder, settings):
        self.name, self.command, self.folder, self.settings = name, command, folder, settings

    def run(self):
        start = time.monotonic()
        with tempfile.TemporaryFile() as output:
            status = subprocess.call(
                self.command, cwd=self.folder, env=os.environ | self.settings, stdin=subprocess.DEVNULL, stdout=output,
                stderr=output,
            )
            output.seek(0)
            text = output.read().decode(errors="replace")
        took = f"{time.monotonic() - start:4.0f} s"
        if status != 0:
            print(f"{text}\n{panics(text)}\n{took}  {self.name}: FAILED (status {status})", flush=True)
            # Not an exception, which would wait for the other targets.
            os._exit(1)
        results = [line for line in text.splitlines() if line.startswith(("test result: ", "Ran "))]
        result = results[-1].removeprefix("test result: ").split("; 0 measured")[0] if results else "ok"
        print(f"{took}  {self.name}: {result}", flush=True)
        # Tests that could not run say so on such a line.
        for line in dict.fromkeys(line for line in text.splitlines() if line.startswith("SKIPPED: ")):
            print(f"        {line}", flush=True)


def panics(text):
    """The messages of the panics of failed tests: last, because a record of a run may be cut at its beginning."""
    _, _, failures = text.partition("\nfailures:\n")
    found = []
    is_message = False
    for line in failures.splitlines():
        if " panicked at " in line and line.startswith("thread '"):
            is_message = True
        elif line.startswith(("stack backtrace:", "note: ", "---- ")) or not line:
            is_message = False
        if is_message:
            found.append(line)
    return "\n".join(found[:PANIC_LINES])


def test_job(message):
    """The job of a test target, and whether it computes."""
    folder = pathlib.Path(message["manifest_path"]).parent
    kind, target = message["target"]["kind"][0], message["target"]["name"]
    name = target if kind == "test" else f"{target} ({kind})"
    member = "" if folder == pathlib.Path.cwd() else f"{folder.name}: "
    settings = {"CARGO_MANIFEST_DIR": str(folder)}
    if not member and name in TESTS_AT_ONCE:
        settings["RUST_TEST_THREADS"] = str(max(TESTS_AT_ONCE[name], os.cpu_count()))
    computes = not member and name in COMPUTING
    command = (["nice", "-n", str(NICE)] if computes else []) + [message["executable"]]
    return Job(member + name, command, folder, settings), computes


@contextlib.contextmanager
def builder_stopped():
    """Stops the process group of a build, if there is one."""
    group = int(os.environ.get("BUILDER") or 0)

    def send(number):
        # It may have ended.
        with contextlib.suppress(ProcessLookupError):
            if group:
                os.killpg(group, number)

    send(signal.SIGSTOP)
    try:
        yield
    finally:
        send(signal.SIGCONT)


def main():
    pool = concurrent.futures.ThreadPoolExecutor
    with pool(AT_ONCE) as waiting, pool(1) as computing, pool(1) as page:
        build = subprocess.Popen(["nice", "-n", str(NICE), *BUILD], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True)
        jobs, last = [], []
        # Test targets that may start the gateway wait for it: cargo reports them as soon as they are linked themselves.
        held, gateway_is_built = [], False
        for line in build.stdout:
            message = json.loads(line)
            if not message.get("executable"):
                continue
            kind, name = message["target"]["kind"][0], message["target"]["name"]
            if message["profile"]["test"] and message["target"]["test"]:
                job, computes = test_job(message)
                lane = computing if computes else waiting
                if kind == "test" and name == ALONE:
                    last.append(job)
                elif kind == "test" and not gateway_is_built:
                    held.append((lane, job))
                else:
                    jobs.append(lane.submit(job.run))
            elif kind == "bin" and name == "seawall":
                gateway_is_built = True
                jobs += [lane.submit(job.run) for lane, job in held]
                job = Job("web", ["tools/web", "--test"], pathlib.Path.cwd(), {"SEAWALL_BINARY": message["executable"]})
                jobs.append(page.submit(job.run))
                command = [sys.executable, "-m", "unittest", "discover", "-s", "tests/shipped"]
                job = Job("shipped", command, pathlib.Path.cwd(), {"SEAWALL_BINARY": message["executable"]})
                jobs.append(waiting.submit(job.run))
        if build.wait() != 0:
            os._exit(build.returncode)
        print(f"{len(jobs) + len(last)} targets, built in {time.monotonic() - START:.0f} s", flush=True)
        for job in jobs:
            job.result()
        with builder_stopped():
            for job in last:
                job.run()


main()
