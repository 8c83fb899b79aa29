"""The methods that are compared: how each is called, and whether it is here."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import modelota

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
        made_of: files and directories of code that decide what the method does.
    """

    name: str
    encode: Make
    apply: Make
    reports: bool
    missing: str = ""
    made_of: tuple[Path, ...] = ()


def _program(name: str, package: str) -> str:
    return "" if shutil.which(name) else f"{name} is not installed (Debian: apt-get install {package})"


def _program_files(name: str) -> tuple[Path, ...]:
    found = shutil.which(name)
    return (Path(found),) if found else ()


def _module(name: str) -> str:
    return "" if importlib.util.find_spec(name) else f"{name} is not installed (pip install {name})"


def _module_files(name: str) -> tuple[Path, ...]:
    found = importlib.util.find_spec(name)
    return (Path(found.origin).parent,) if found and found.origin else ()


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


def in_child(name: str, *, missing: str = "", made_of: tuple[Path, ...]) -> Method:
    """A method that is a Python library or our own code: `child.py` knows it by this name."""

    def command(step: str) -> Make:
        return lambda *paths: [sys.executable, str(CHILD), name, step, *map(str, paths)]

    return Method(name, command("encode"), command("apply"), reports=True, missing=missing, made_of=made_of)


def methods() -> list[Method]:
    """Every method, in the order of the report."""
    programs = (("xdelta3 -9", "xdelta3", _xdelta3), ("zstd --patch-from -19 --long=31", "zstd", _zstd))
    rooms = (Path(modelota.__file__).with_name(room) for room in ("content", "repository", "storage"))
    product = (*rooms, CHILD.with_name("ours.py"))
    return [
        *(in_child(name, made_of=product) for name in (OURS, OURS_NUMPY, FULL)),
        *(
            Method(
                name,
                make(decode=False),
                make(decode=True),
                reports=False,
                missing=_program(program, program),
                made_of=_program_files(program),
            )
            for name, program, make in programs
        ),
        *(
            in_child(name, missing=_module(module), made_of=_module_files(module))
            for name, module in (("bsdiff4", "bsdiff4"), ("HDiffPatch", "hdiffpatch"))
        ),
        in_child(EMULATION, made_of=(CHILD.with_name("bitx.py"),)),
    ]
