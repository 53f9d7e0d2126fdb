"""Shared by the tests of what is shipped: the gateway's program, and scripts of tools/ as modules."""

import importlib.machinery
import importlib.util
import os
import pathlib

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
