"""A temporary PostgreSQL for a measurement: created in a temporary folder, synced to disk, and removed afterwards."""

import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import rig

# The user `nobody` on every Linux. PostgreSQL refuses to run as root.
NOBODY = 65534
START_S = 30
NAME = "seawall"
# Differences from the defaults, and `fsync` and `synchronous_commit`, which must be on. The log has room for a whole run, because
# a checkpoint in the middle would be noise.
SETTINGS = {
    "fsync": "on", "synchronous_commit": "on", "listen_addresses": "127.0.0.1", "max_wal_size": "4GB", "logging_collector": "off",
}


def program(name):
    """The path of a program of the newest PostgreSQL on this machine."""
    def version(path):
        return [int(part) for part in re.findall(r"\d+", path.parts[-3])]

    found = sorted(pathlib.Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=version)
    place = found[-1] if found else shutil.which(name)
    if not place:
        raise rig.Failure(f"`{name}` is not installed: apt-get install --no-install-recommends postgresql")
    return str(place)


def as_nobody():
    """The prefix of a command that root must not run."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--"]


def ran(command, what, **others):
    run = subprocess.run(command, capture_output=True, text=True, **others)
    if run.returncode != 0:
        raise rig.Failure(f"{what}: {(run.stderr or run.stdout).strip()[-400:]}")


def free_port():
    """A port that nothing used a moment ago, below the range for connections and for servers with port 0."""
    while True:
        port = random.randrange(15000, 32000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Cluster:
    """A running server with an empty database, on one core or (`cpu=None`) on any core. A context manager."""

    def __init__(self, disk, cpu=None, settings=SETTINGS):
        self.settings = settings
        self.pin = (lambda: None) if cpu is None else rig.pinned(rig.core(cpu))
        self.folder = tempfile.mkdtemp(prefix="seawall-bench-pg-", dir=disk)
        self.process = None

    def __enter__(self):
        try:
            self.make()
            self.create()
        except BaseException:
            self.__exit__()
            raise
        return self

    def make(self):
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        ran([*as_nobody(), program("initdb"), "-U", NAME, "-A", "trust", "-E", "UTF8", "--locale", "C", "--no-instructions",
             "-D", f"{self.folder}/data"], "initdb", cwd=self.folder)

    def create(self):
        """Starts it for the first time, on a free port, and creates the database."""
        self.port = free_port()
        self.start()
        ran([program("psql"), "-X", "-q", "-h", self.folder, "-p", str(self.port), "-U", NAME, "-d", "postgres",
             "-c", f"CREATE DATABASE {NAME}"], "CREATE DATABASE")

    def start(self):
        """Starts it on its port, for the first time or again."""
        command = [*as_nobody(), program("postgres"), "-D", f"{self.folder}/data", "-k", self.folder, "-p", str(self.port)]
        for name, value in self.settings.items():
            command += ["-c", f"{name}={value}"]
        with open(f"{self.folder}/log", "wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder,
                                            start_new_session=True, preexec_fn=self.pin)
        rig.first(self.process.pid)
        self.wait()

    def wait(self):
        ready = [program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until = time.monotonic() + START_S
        while subprocess.run(ready).returncode != 0:
            if self.process.poll() is not None or time.monotonic() > until:
                said = pathlib.Path(self.folder, "log").read_text(errors="replace").strip()[-400:]
                raise rig.Failure(f"PostgreSQL did not start: {said}")
            time.sleep(0.05)

    def children(self):
        """Its processes, each of which has its own session."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def first(self):
        """Raises the priority of each of its processes."""
        for pid in self.children():
            rig.first(pid)

    def signal_all(self, number):
        """Sends a signal to all of its processes."""
        for pid in [self.process.pid, *self.children()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def kill(self):
        """Kills all of its processes, as a crash of the machine does."""
        self.signal_all(signal.SIGSTOP)
        self.signal_all(signal.SIGKILL)
        self.process.wait()

    @property
    def url(self):
        return f"postgres://{NAME}@127.0.0.1:{self.port}/{NAME}?sslmode=disable"

    def __exit__(self, *_):
        if self.process:
            # A fast shutdown, which disconnects sessions.
            self.process.send_signal(signal.SIGINT)
            try:
                self.process.wait(rig.STOP_S)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)
