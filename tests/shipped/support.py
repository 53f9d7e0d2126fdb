"""Shared by the tests of what is shipped: the gateway's program, and scripts of tools/ as modules."""

import contextlib
import importlib.machinery
import importlib.util
import os
import pathlib
import random
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def gateway():
    """The path of the program: that in SEAWALL_BINARY, or the one that `cargo build` makes."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
    path = pathlib.Path(os.environ.get("SEAWALL_BINARY", target / "debug" / "seawall"))
    assert path.exists(), f"{path} is missing: run `cargo build` first, or set SEAWALL_BINARY"
    return path


def tool(name):
    """A script of tools/ as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(ROOT / "tools" / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


# The ports that were given away, each once.
GIVEN = set()


def free_port():
    """A port of this machine that nothing used a moment ago, and that was not returned before.

    The system gives ports of its own range to connections and to servers with port 0, so that another test could have this one before
    its server starts or while it is down. Below that range nothing is given away.
    """
    while True:
        port = random.randrange(15000, 32000)
        if port in GIVEN:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            GIVEN.add(port)
            return port


def until(what, condition, seconds=60):
    """Waits until a condition holds; it may raise OSError meanwhile."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            if condition():
                return
        assert time.monotonic() < end, f"{what}: not after {seconds} s"
        time.sleep(0.05)


def environment():
    """Our environment without SEAWALL_ variables, which would be settings of the gateway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SEAWALL_")}


@contextlib.contextmanager
def process(command, folder, settings=None):
    """A running program, whose output is in `log` of its folder. It gets no variable of ours for the gateway."""
    kept = environment()
    with open(folder / "log", "wb") as log:
        running = subprocess.Popen(
            command, cwd=folder, env=kept | (settings or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        )
    try:
        yield running
    except BaseException:
        print((folder / "log").read_text(errors="replace"), file=sys.stderr)
        raise
    finally:
        # A drain takes seconds, and no client is left.
        running.kill()
        running.wait()
