#!/usr/bin/env python3
"""Builds all test targets and runs each as soon as it is built, several at a time. The page is tested at the same time.

Most tests wait most of the time, for servers, outages and timeouts, and leave the processors to the compiler. The target with the
most servers runs in two halves: one like the other targets, and last the one whose tests bound many times, with no other target that has
deadlines. IDLE is a command that runs another one only while the processors have nothing else to do: computing targets and the documentation
run with it, also during the last half. Without it, they end before that begins. BUILDER names a process group of a build: from then on it
has the lowest priority, which is still above IDLE, because the end of a build uses one processor, and computing targets can use the other.
Without IDLE, it is stopped meanwhile.

A test that cannot run prints a line that begins with SKIPPED. These lines are listed at the end; if SEAWALL_TEST_ALL is set, they fail
the run, because a check that checks nothing must not look like one that passed.

A Rust test that failed because a deadline passed runs once more, alone, when its target has ended: tools/late.py says which. The page's
tests do the same (web/tests/run.mjs). The end of the run lists the tests that passed only then.

A target that passes prints one line. On the first failure this script prints that target's output and exits; its caller must then end
the process group, in which other targets may still be running.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import late  # noqa: E402

# Benches are built as well, so that they are linted.
BUILD = ["cargo", "test", "--workspace", "--all-targets", "--no-run", "--message-format", "json-render-diagnostics"]
# The number of waiting targets that run at a time, in addition to one computing target and the page's tests.
AT_ONCE = 2
# Targets that compute without waiting. They run with a lower priority than the others, whose tests have deadlines.
COMPUTING = {"pure", "simulation"}
# The target with the most servers, and its modules that run at the same time as other targets. The others run last.
LAST = "servers"
EARLY_OF_LAST = ("auth_service::", "bus::", "cluster::")
# Targets that run once the build has ended: one builds the previous release, for which it would wait, and one needs the programs of two
# packages.
AFTER_BUILD = {"upgrade", "generator"}
# The least number of tests of a target that run at a time. Other targets run one for each processor.
TESTS_AT_ONCE = {"servers": 5, "program": 3}
# The niceness of the compiler.
NICE = 5
# The command in front of computing targets.
IDLE = os.environ.get("IDLE", "").split()
COMPUTE = IDLE or ["nice", "-n", str(NICE)]
# The lines of panics that are repeated at the end of a failed target's output.
PANIC_LINES = 60
# A test that was late once, as late.py and the runner of the page's tests print it.
LATE_ONCE = re.compile(rf"^{late.PREFIX}(.+)$", re.MULTILINE)
# The cause on a line of a test that cannot run, as Rust's tests print it, and as Python's unittest does.
SKIPPED = re.compile(r"(?:^|skipped ['\"])SKIPPED: (.+?)['\"]?$", re.MULTILINE)
START = time.monotonic()


class Job:
    """A command whose output is shown when it fails."""

    def __init__(self, name, command, folder, settings):
        self.name, self.command, self.folder, self.settings = name, command, folder, settings
        # The causes why some of its tests did not run, and its tests that were late once.
        self.skipped, self.late = [], []

    def once(self, command):
        """Runs a command; its status, output, and the seconds of a processor that it took."""
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | self.settings, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )
            _, raw, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(raw)
            output.seek(0)
            return process.returncode, output.read().decode(errors="replace"), used.ru_utime + used.ru_stime

    def run(self):
        start = time.monotonic()
        status, text, used = self.once(self.command)
        if status != 0 and (lines := late.again(text, lambda name: self.once([*self.command, "--exact", name])[:2])):
            text, status = "\n".join([text, *lines]), 0
        took = f"{time.monotonic() - start:4.0f} s, {used:4.0f} s of a processor"
        if status != 0:
            print(f"{text}\n{panics(text)}\n{took}  {self.name}: FAILED (status {status})", flush=True)
            # Not an exception, which would wait for the other targets.
            os._exit(1)
        self.late = LATE_ONCE.findall(text)
        results = [line for line in text.splitlines() if line.startswith(("test result: ", "Ran "))]
        result = results[-1].removeprefix("test result: ").split("; 0 measured")[0] if results else "ok"
        if self.late:
            result = f"ok, {len(self.late)} late once"
        print(f"{took}  {self.name}: {result}", flush=True)
        self.skipped = causes_of_skips(text)
        return self


def causes_of_skips(text):
    """The different causes for which tests in this output did not run."""
    return list(dict.fromkeys(SKIPPED.findall(text)))


def report_late(jobs):
    """Lists the tests that were late once: each passed alone, but a deadline can also hide a message that is lost now and then."""
    lines = [f"{late.PREFIX}{job.name}: {test}" for job in jobs for test in job.late]
    if lines:
        print(f"Tests that were late, and passed once more alone: {len(lines)}", *lines, sep="\n    ", flush=True)


def report_skips(jobs, must_run_all):
    """Lists the tests that did not run; the exit status."""
    skips = [f"SKIPPED: {job.name}: {cause}" for job in jobs for cause in job.skipped]
    if not skips:
        return 0
    print("Some tests did not run:", *skips, sep="\n    ", flush=True)
    if must_run_all:
        print("FAILED: SEAWALL_TEST_ALL is set, so every test must run.", flush=True)
    return int(must_run_all)


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
    command = (COMPUTE if computes else []) + [message["executable"]]
    return Job(member + name, command, folder, settings), computes


def halves(job):
    """Two jobs of a target: its modules that run early, and all others. What one selects, the other leaves out."""
    early = [*job.command, *EARLY_OF_LAST]
    rest = [*job.command, *(f"--skip={module}" for module in EARLY_OF_LAST)]
    return Job(f"{job.name}, early", early, job.folder, job.settings), Job(f"{job.name}, last", rest, job.folder, job.settings)


def documentation():
    """The job of the documentation: its examples, and no warning. `cargo doc` would compile every dependency once more."""
    command = [*COMPUTE, "cargo", "test", "--quiet", "--workspace", "--doc"]
    return Job("documentation", command, pathlib.Path.cwd(), {"RUSTDOC": str(pathlib.Path("tools/rustdoc").resolve())})


@contextlib.contextmanager
def builder_held_back():
    """Leaves the processors to the tests: the process group of a build, if there is one, gets the lowest priority, or is stopped."""
    group = int(os.environ.get("BUILDER") or 0)
    if IDLE:
        if group:
            # Processes that these start inherit it.
            subprocess.call(["renice", "-n", "19", "-g", str(group)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        yield
        return

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
        jobs, computed, last, after_build = [], [], [], []
        # Test targets may start their package's program, and wait for it: cargo reports them as soon as they are linked themselves.
        held, built = [], set()
        for line in build.stdout:
            message = json.loads(line)
            if not message.get("executable"):
                continue
            kind, name = message["target"]["kind"][0], message["target"]["name"]
            if message["profile"]["test"] and message["target"]["test"]:
                job, computes = test_job(message)
                if computes:
                    computed.append(computing.submit(job.run))
                    continue
                if kind == "test" and name == LAST:
                    job, rest = halves(job)
                    last.append(rest)
                if kind == "test" and name in AFTER_BUILD:
                    after_build.append(job)
                elif kind == "test" and job.folder not in built:
                    held.append(job)
                else:
                    jobs.append(waiting.submit(job.run))
            elif kind == "bin":
                folder = pathlib.Path(message["manifest_path"]).parent
                built.add(folder)
                jobs += [waiting.submit(job.run) for job in held if job.folder == folder]
                held = [job for job in held if job.folder != folder]
            if kind == "bin" and name == "seawall" and not message["profile"]["test"]:
                job = Job("web", ["tools/web", "--test"], pathlib.Path.cwd(), {"SEAWALL_BINARY": message["executable"]})
                jobs.append(page.submit(job.run))
                command = [sys.executable, "-m", "unittest", "discover", "-v", "-s", "tests/shipped"]
                job = Job("shipped", command, pathlib.Path.cwd(), {"SEAWALL_BINARY": message["executable"]})
                jobs.append(waiting.submit(job.run))
        if build.wait() != 0:
            os._exit(build.returncode)
        jobs += [waiting.submit(job.run) for job in held + after_build]
        computed.append(computing.submit(documentation().run))
        count = len(jobs) + len(computed) + len(last)
        print(f"{count} targets, built in {time.monotonic() - START:.0f} s", flush=True)
        done = [job.result() for job in (jobs if IDLE else jobs + computed)]
        with builder_held_back():
            done += [job.run() for job in last]
        done += [job.result() for job in computed]
    report_late(dict.fromkeys(done))
    sys.exit(report_skips(dict.fromkeys(done), bool(os.environ.get("SEAWALL_TEST_ALL"))))


if __name__ == "__main__":
    main()
