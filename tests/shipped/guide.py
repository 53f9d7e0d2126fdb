"""Reads the commands and the conversations of a guide, and runs them in a folder that looks like a clone."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import stat
import subprocess

from support import ROOT, gateway

# A command that serves until it is stopped: the gateway without a verb, with variables before it and flags behind it.
SERVES = re.compile(r"^(?:[A-Z_]+=\S+ )*(?:cargo run --release|seawall)(?: --[a-z-]+(?: [^-]\S*)?)*$")
FENCE = re.compile(r"^```(\w*)$")


class Block:
    """A block of a guide: its language, its lines, and where it begins."""

    def __init__(self, language, lines, line):
        self.language, self.lines, self.line = language, lines, line

    def is_conversation(self):
        return any(line.startswith(("> {", "< {")) for line in self.lines)


def blocks(path):
    """The fenced blocks of a guide, in order."""
    found, opened = [], None
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if opened is None:
            if fence := FENCE.match(line.strip()):
                opened = Block(fence.group(1), [], number)
        elif line.strip() == "```":
            found.append(opened)
            opened = None
        else:
            opened.lines.append(line)
    assert opened is None, f"{path}: the block of line {opened and opened.line} has no end"
    return found


def commands(block):
    """The commands of a block: all lines, or with prompts the ones behind them. A backslash continues a line."""
    joined = "\n".join(block.lines).replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in joined):
        return [line[2:].strip() for line in joined if line.startswith("$ ")]
    return [line.strip() for line in joined if line.strip() and not line.startswith("#")]


def executable(path, text):
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


class Clone:
    """A fresh folder with the files of the repository, and programs that stand in for what a test cannot do.

    `cargo build` and `cargo run` give the program that is being tested, `sudo` runs a command as it is, and `install` into
    /usr/local/bin installs into a folder that only this test has.
    """

    def __init__(self, folder, settings):
        self.folder, self.bin = folder / "clone", folder / "bin"
        self.folder.mkdir()
        self.bin.mkdir()
        for entry in subprocess.check_output(["git", "ls-tree", "--name-only", "HEAD"], cwd=ROOT, text=True).split():
            (self.folder / entry).symlink_to(ROOT / entry)
        program, place = gateway(), self.folder / "target" / "release"
        executable(self.bin / "cargo", f'''#!/bin/sh
mkdir -p {place} && ln -sf {program} {place}/seawall
case "$1 $2" in "build --release") ;; "run --release") exec {place}/seawall ;; *) exit 1 ;; esac
''')
        executable(self.bin / "sudo", '#!/bin/sh\n[ "$1" = -u ] && shift 2\nexec "$@"\n')
        executable(self.bin / "install", f'#!/bin/sh\n[ "$2" = /usr/local/bin/ ] && ln -sf "$(realpath "$1")" {self.bin}/\n')
        path = f"{self.bin}:{os.environ['PATH']}"
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEAWALL_", "PG"))}
        self.settings = kept | {"PATH": path, "HOME": str(folder)} | settings

    def run(self, command):
        """Runs a command of a person, whose `export` and `unset` hold for the next one; returns what it printed."""
        if found := re.match(r"(export|unset) (\w+)=?(.*)$", command):
            verb, name, value = found.groups()
            if verb == "unset":
                self.settings.pop(name, None)
            else:
                self.settings[name] = value
            return 0, ""
        run = subprocess.run(
            ["bash", "-c", command], cwd=self.folder, env=self.settings, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=180,
        )
        return run.returncode, run.stdout

    @contextlib.contextmanager
    def serving(self, command):
        """A command that serves, and the file of its output."""
        log = self.folder / "served"
        with open(log, "wb") as out:
            command = re.sub(r"(^| )(seawall|cargo)\b", r"\1exec \2", command, count=1)
            served = subprocess.Popen(
                ["bash", "-c", command], cwd=self.folder, env=self.settings, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            )
        try:
            yield served, log
        finally:
            served.kill()
            served.wait()


def shape(value):
    """The names in a value and the types of the others: what must not differ between a guide and an answer."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list):
        return [shape(each) for each in value[:1]]
    return type(value).__name__


def labels(lines):
    """The fixed beginnings of lines that a program prints: up to two spaces, a colon, or a number."""
    return [label for line in lines if (label := re.split(r"\s{2,}|:|\d", line.strip())[0].strip())]


def as_user(user):
    """The beginning of a command that runs as another user, if we are root."""
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"] if os.geteuid() == 0 else []


@contextlib.contextmanager
def postgres(folder, port):
    """A PostgreSQL server with its commands: `start` and `stop`."""
    places = [*pathlib.Path("/usr/lib/postgresql").glob("*/bin"), *filter(None, [shutil.which("initdb") and pathlib.Path(shutil.which("initdb")).parent])]
    binaries, data = places[0], folder / "postgres"
    data.mkdir()
    if os.geteuid() == 0:
        shutil.chown(data, "postgres", "postgres")
    own = as_user("postgres")
    initdb = [*own, binaries / "initdb", "-D", data, "-U", "postgres", "--auth=trust", "--no-sync", "--encoding=UTF8", "--locale=C"]
    subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, cwd="/")
    options = f"-p {port} -k {data} -c listen_addresses=127.0.0.1"
    pg_ctl = [*own, binaries / "pg_ctl", "-D", data, "-w", "-t", "180", "-l", data / "log", "-o", options]

    def control(verb):
        mode = ["-m", "fast"] if verb == "stop" else []
        subprocess.run([*pg_ctl, *mode, verb], check=True, stdout=subprocess.DEVNULL, cwd="/")

    control("start")
    try:
        yield control
    finally:
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")


def frames(block):
    """The steps of a conversation: each is a sign (`>`, `<` or `$`) and a frame or a command."""
    for line in block.lines:
        sign, _, rest = line.partition(" ")
        if sign in (">", "<") and rest.startswith("{"):
            yield sign, json.loads(rest)
        elif sign == "$":
            yield sign, rest
