"""Shared by tools/bench, tools/soak and tools/callgrind: finds programs and peers, and starts a server on its own core."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
STOP_S = 15
NAMES = ("seawall", "seawall-load", "seawall-floor")
PEERS = ROOT / "tools" / "peers"
BUILD = f"cargo build --release -p {' -p '.join(NAMES)}"
PINNED_REACTORS = {"SEAWALL_SERVER_PIN_REACTORS": "true"}
# A disk in memory, for everything but durable publishes, which measure the disk.
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


class Failure(Exception):
    """An error that ends the script, described in one sentence."""


def programs(names=NAMES):
    """The paths of the programs of the release profile, or of the profile that tools/test builds."""
    profile = os.environ.get("SEAWALL_TEST_PROFILE", "release")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    paths = {name: target / profile / name for name in names}
    missing = [str(path) for path in paths.values() if not path.exists()]
    if missing:
        raise Failure(f"missing {', '.join(missing)}: run `{BUILD}` first")
    return paths


def tokio_tungstenite():
    """Builds the peer on tokio-tungstenite and returns its command."""
    folder = PEERS / "tokio-tungstenite"
    prepared(["cargo", "build", "--release", "--locked"], folder)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    return [str(folder / target / "release" / "seawall-peer-tokio-tungstenite")]


def bun():
    """Installs the peer on Bun if needed and returns its command. No package script runs, so the program stays there."""
    folder = PEERS / "bun"
    lock, installed = folder / "package-lock.json", folder / "node_modules" / ".package-lock.json"

    def program():
        found = folder.glob("node_modules/@oven/bun-linux-*/bin/bun")
        return min(found, key=lambda path: "musl" in str(path), default=None)

    if not program() or not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        prepared(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    if not program():
        raise Failure(f"{folder}: npm did not install bun for this machine")
    return [str(program()), str(folder / "server.ts")]


def prepared(command, folder):
    """Runs the preparation of a peer, with its output on stderr."""
    sys.stderr.write(f"{folder.name}: {' '.join(command)}\n")
    try:
        run = subprocess.run(command, cwd=folder, stdout=sys.stderr, stdin=subprocess.DEVNULL)
    except OSError as error:
        raise Failure(f"{command[0]}: {error.strerror}") from None
    if run.returncode != 0:
        raise Failure(f"`{' '.join(command)}` exited with {run.returncode}")


def environment():
    """Our environment without SEAWALL_ variables, without the limits that one busy connection would reach, and with a very short
    drain."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEAWALL_")}
    drain = {"ACCEPT": 0, "SPREAD": 20, "CLOSE": 50, "EXIT": 1950}
    drain = {f"SEAWALL_DRAIN_{name}_MS": str(ms) for name, ms in drain.items()}
    rates = ("PUBLISHES", "COMMANDS", "SIGNALS", "READ_BYTES")
    return kept | drain | {f"SEAWALL_LIMITS_{rate}_PER_S": "0" for rate in rates}


def core(wanted):
    """The core with this index among those we may use, or the last one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[min(wanted, len(cores) - 1)]


def first(pid):
    """Raises the priority of a session over others, because `nice` has no effect between sessions. Needs root."""
    try:
        pathlib.Path(f"/proc/{pid}/autogroup").write_text("-10")
        return True
    except OSError:
        return False


def pinned(cpu):
    return lambda: os.sched_setaffinity(0, {cpu})


class Server:
    """A server with fresh data and its own session, on one core or (`cpu=None`) on any core. A context manager."""

    def __init__(self, command, data_in=MEMORY, cpu=0, settings=None, config=None):
        self.folder = tempfile.mkdtemp(prefix="seawall-bench-", dir=data_in)
        self.command = [part.replace("DATA", f"{self.folder}/data") for part in command]
        if config:
            file = pathlib.Path(self.folder, "bench.toml")
            file.write_text(config, encoding="utf-8")
            self.command += ["--config", str(file)]
        self.pin = (lambda: None) if cpu is None else pinned(core(cpu))
        self.settings = settings or {}

    def __enter__(self):
        said = pathlib.Path(self.folder, "stderr")
        try:
            with open(said, "wb") as stderr:
                self.process = subprocess.Popen(
                    self.command, stdout=subprocess.PIPE, stderr=stderr, stdin=subprocess.DEVNULL, cwd=self.folder,
                    env=environment() | self.settings, start_new_session=True, preexec_fn=self.pin, text=True,
                )
        except OSError as error:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise Failure(f"{self.command[0]}: {error.strerror}") from None
        first(self.process.pid)
        line = self.process.stdout.readline()
        found = re.search(r"ws://[0-9.:\[\]]+/ws", line)
        if not found:
            why = said.read_text(errors="replace").strip()[-400:] or "no reason given"
            self.__exit__()
            raise Failure(f"{' '.join(map(str, self.command))}: did not print its address: {why}")
        self.target, self.pid = found.group(0), self.process.pid
        return self

    def api(self):
        """The address of the server API, from the banner. Call it once."""
        for line in self.process.stdout:
            found = re.search(r"server API +https?://([0-9.:]+)/v1/", line)
            if found:
                return found.group(1)
        raise Failure(f"{' '.join(self.command)}: did not print the address of its API")

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        shutil.rmtree(self.folder, ignore_errors=True)


def seawall(program):
    return [str(program), "--listen", "127.0.0.1:0", "--reactors", "1", "--echo", "--data", "DATA", "--log-level", "error"]


SECRET = "bench-0123456789012345678901234567890123456"
# The server API with one key.
API = f"""[api]
listen = "127.0.0.1:0"
[[api.keys]]
name = "bench"
secret = "{SECRET}"
rights = ["publish"]
channels = ["backend-*"]
"""


def floor(program, *flags):
    return [str(program), "--listen", "127.0.0.1:0", *flags]


def peer(command):
    return [*command, "--listen", "127.0.0.1:0"]


def generator(program, server, arguments, pid=True):
    """Starts the generator on another core."""
    command = [str(program), "--target", server.target, *arguments] + (["--pid", str(server.pid)] if pid else [])
    run = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, preexec_fn=pinned(core(1)),
        text=True,
    )
    first(run.pid)
    return run


def generate(program, server, arguments, timeout_s=120, pid=True):
    """Runs the generator. Returns its JSON line as text, and True if everything was as expected."""
    run = generator(program, server, arguments, pid)
    try:
        out, err = run.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(run.args)}: still running after {timeout_s} s") from None
    finally:
        # It has a session of its own, so a signal that ends this script does not reach it.
        if run.poll() is None:
            run.kill()
            run.communicate()
    if run.returncode == 2:
        raise Failure(err.strip())
    return out.strip(), run.returncode == 0


def batch(server):
    """The average number of appends per commit, over the server's life."""
    address = server.target.replace("ws://", "http://").replace("/ws", "/metrics")
    with urllib.request.urlopen(address, timeout=STOP_S) as answer:
        text = answer.read().decode()
    appends, commits = (
        float(re.search(rf"^seawall_store_{name}_total (\S+)$", text, re.MULTILINE).group(1)) for name in ("batched", "batches")
    )
    return max(1, round(appends / max(1, commits)))


def say(text):
    """Shows a line of progress if stderr is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r{text}\x1b[K")
        sys.stderr.flush()


def busy():
    """The load average of the last minute."""
    return os.getloadavg()[0]


def settle():
    """Waits between two runs, so that closed sockets and written pages settle."""
    time.sleep(0.2)
