#!/usr/bin/env python3
"""Builds all test targets and runs them several at a time, since most of them wait most of the time: for servers, outages
and timeouts.

Of a target that passes it prints one line. With the first that fails it prints what that said and ends; who started it ends
what still runs, which is in its process group.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

AT_ONCE = 3
# The longest begin first, so that none of them is alone at the end; then all others.
LONGEST = ["servers", "program", "seawall (lib)", "probes", "simulation", "power_loss"]


def built():
    """The name, the executable and the folder of each test target."""
    command = ["cargo", "test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"]
    build = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if build.returncode != 0:
        sys.exit(build.returncode)
    targets = []
    for line in build.stdout.splitlines():
        message = json.loads(line)
        if message.get("executable") and message["profile"]["test"]:
            folder = pathlib.Path(message["manifest_path"]).parent
            kind = message["target"]["kind"][0]
            name = message["target"]["name"] if kind == "test" else f"{message['target']['name']} ({kind})"
            member = "" if folder == pathlib.Path.cwd() else f"{folder.name}: "
            targets.append((member + name, message["executable"], folder))
    return targets


def run(target):
    name, executable, folder = target
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        environment = os.environ | {"CARGO_MANIFEST_DIR": str(folder)}
        status = subprocess.call(
            [executable], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
    took = f"{time.monotonic() - start:4.0f} s"
    results = [line for line in text.splitlines() if line.startswith("test result: ")]
    if status != 0 or not results:
        print(f"{text}\n{took}  {name}: FAILED (status {status})", flush=True)
        # Not an exception: it would wait for the others.
        os._exit(1)
    print(f"{took}  {name}: {results[-1].removeprefix('test result: ').split('; 0 measured')[0]}", flush=True)


def main():
    start = time.monotonic()
    place = {name: at for at, name in enumerate(LONGEST)}
    targets = sorted(built(), key=lambda target: place.get(target[0], len(place)))
    print(f"{len(targets)} targets, built in {time.monotonic() - start:.0f} s; {AT_ONCE} at a time", flush=True)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as at_once:
        for done in [at_once.submit(run, target) for target in targets]:
            done.result()


main()
