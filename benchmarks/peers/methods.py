"""The methods that are compared: how each is called, and whether it is here."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

CHILD = Path(__file__).with_name("child.py")
Command = list[str]
Make = Callable[[Path, Path, Path, Path], Command]

XDELTA_WINDOW_MIN_BYTES = 1 << 19
OURS = "modelota"
OURS_NUMPY = "modelota, NumPy alone"
FULL = "full package"
EMULATION = "XOR + planes + zstd-3 (emulation of BitX)"


@dataclass(frozen=True)
class Method:
    """One way to make and apply a delta.

    Attributes:
        encode: command for (base, target, patch, report).
        apply: command for (base, patch, out, report).
        reports: whether the command writes its own seconds and memory to `report`.
        missing: what must be installed first, or "".
    """

    name: str
    encode: Make
    apply: Make
    reports: bool
    missing: str = ""


def _program(name: str, package: str) -> str:
    return "" if shutil.which(name) else f"{name} is not installed (Debian: apt-get install {package})"


def _module(name: str) -> str:
    return "" if importlib.util.find_spec(name) else f"{name} is not installed (pip install {name})"


def _xdelta3(*, decode: bool) -> Make:
    def command(base: Path, read: Path, written: Path, _report: Path) -> Command:
        # The whole base may be referred to; the default of 64 MiB would leave the larger pairs at a disadvantage.
        window = ["-B", str(max(XDELTA_WINDOW_MIN_BYTES, base.stat().st_size))]
        return ["xdelta3", *(["-d"] if decode else ["-e", "-9"]), "-f", *window, "-s", *map(str, (base, read, written))]

    return command


def _zstd(*, decode: bool) -> Make:
    def command(base: Path, read: Path, written: Path, _report: Path) -> Command:
        how = ["-d", "--memory=2048MB"] if decode else ["-19"]
        return ["zstd", *how, "--long=31", f"--patch-from={base}", "-q", "-f", str(read), "-o", str(written)]

    return command


def in_child(name: str, *, missing: str = "") -> Method:
    """A method that is a Python library or our own code: `child.py` knows it by this name."""

    def command(step: str) -> Make:
        return lambda *paths: [sys.executable, str(CHILD), name, step, *map(str, paths)]

    return Method(name, command("encode"), command("apply"), reports=True, missing=missing)


def methods() -> list[Method]:
    """Every method, in the order of the report."""
    programs = [
        ("xdelta3 -9", _xdelta3, _program("xdelta3", "xdelta3")),
        ("zstd --patch-from -19 --long=31", _zstd, _program("zstd", "zstd")),
    ]
    return [
        in_child(OURS),
        in_child(OURS_NUMPY),
        in_child(FULL),
        *(
            Method(name, make(decode=False), make(decode=True), reports=False, missing=missing)
            for name, make, missing in programs
        ),
        in_child("bsdiff4", missing=_module("bsdiff4")),
        in_child("HDiffPatch", missing=_module("hdiffpatch")),
        in_child(EMULATION),
    ]
