"""How every engine child starts: die with the parent, verify each file, hand out what was verified.

The parent writes one line of JSON (`ChildStart`) to standard input and keeps the pipe open; its end means that the
parent is gone, whatever killed it. On Linux the kernel tells as well (PR_SET_PDEATHSIG, prctl(2)).

Files are opened once (`modelota.runtime.opening`), verified through that descriptor, and loaded through
`/proc/<pid>/fd/<n>` of the same descriptor, so exchanging a file between check and use changes nothing. Writing into
the very same file afterwards is not prevented: slots are read-only, and whoever may write there may also stop this
process. Files of a sealed slot are memory files instead, which nobody can write.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from modelota.runtime.opening import DamagedFileError, open_files
from modelota.runtime.protocol import EngineSpec

START_MAX_BYTES: Final = 64 << 20  # a specification of FILES_MAX files with long paths
REPORT: Final = "modelota-child: "  # starts the one line on standard error that the parent reads as data

# Exit statuses with a meaning for the parent; the ranges of shells (126…) and sysexits.h (64…78) stay free.
EXIT_DAMAGED: Final = 90  # a file is not what its manifest promised
EXIT_NOT_STARTED: Final = 91  # the engine refuses: model, options, missing library
EXIT_SPEC: Final = 92  # the specification cannot be read

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


class ChildStart(msgspec.Struct, frozen=True, kw_only=True):
    """The line on standard input: the specification, and who waits for this child.

    `report` is the descriptor that takes the stamps of the verified files (JSON, by path); it is closed before any
    engine runs.
    """

    spec: EngineSpec
    parent_pid: int
    report: int | None = None


class ChildReport(msgspec.Struct, frozen=True, kw_only=True):
    """Why a child gives up; `path` is the damaged file, relative to nothing: as the specification has it."""

    detail: str
    path: str | None = None


class Opened:
    """The verified files of a specification, held open for the life of this process."""

    def __init__(self, spec: EngineSpec, descriptors: dict[str, int]) -> None:
        self.spec = spec
        self._descriptors = descriptors

    def path(self, original: str) -> str:
        """Where this process and its children read the verified `original`.

        Raises:
            KeyError: the specification does not list it.
        """
        return f"/proc/{os.getpid()}/fd/{self._descriptors[original]}"

    def folder(self) -> Path:
        """A folder of links to the verified files under their own names, for runtimes that open siblings by name."""
        base = Path(os.path.commonpath([str(Path(path).parent) for path in self._descriptors]))
        folder = Path(self.spec.work_dir) / "files"
        for original in self._descriptors:
            link = folder / Path(original).relative_to(base)
            link.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(self.path(original))
        return folder

    def entry(self) -> str:
        """Where to read the entry file: under its own name if it has siblings, else the bare descriptor."""
        if len(self._descriptors) == 1:
            return self.path(self.spec.entry)
        base = os.path.commonpath([str(Path(path).parent) for path in self._descriptors])
        return str(self.folder() / Path(self.spec.entry).relative_to(base))


def begin(*, death_signal: signal.Signals = signal.SIGKILL, on_parent_end: Callable[[], None] | None = None) -> Opened:
    """Start an engine child: read the specification, tie its life to the parent's, verify and open its files.

    Args:
        death_signal: what the kernel sends when the parent dies.
        on_parent_end: called in a thread when standard input ends; None ends this process at once.

    Returns:
        The opened files. Ends the process with `EXIT_SPEC` or `EXIT_DAMAGED` instead when it must not go on.
    """
    start = _read_start()
    die_with_parent(death_signal)
    if os.getppid() != start.parent_pid:  # it died before the kernel was told to watch
        os._exit(0)
    watch = threading.Thread(target=_watch_input, args=(on_parent_end or _exit_now,), name="parent-watch", daemon=True)
    watch.start()
    return _open_verified(start)


def die_with_parent(death_signal: signal.Signals) -> None:
    """Ask the kernel to send `death_signal` to this process when its parent's thread ends. Linux; a no-op elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that none escapes. Linux; a no-op elsewhere."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def give_up(status: int, detail: str, path: str | None = None) -> NoReturn:
    """Tell the parent why, and end this process without running anything else."""
    line = REPORT + msgspec.json.encode(ChildReport(detail=detail[:1000], path=path)).decode() + "\n"
    os.write(2, line.encode())
    os._exit(status)


def _read_start() -> ChildStart:
    line = bytearray()
    # Descriptor 0 itself, unbuffered: the watching thread reads the same descriptor later.
    while not line.endswith(b"\n"):
        data = os.read(0, 65_536)
        if not data:
            os._exit(0)
        line += data
        if len(line) > START_MAX_BYTES:
            give_up(EXIT_SPEC, "specification too large")
    try:
        return msgspec.json.decode(line, type=ChildStart)
    except msgspec.MsgspecError as error:
        give_up(EXIT_SPEC, str(error))


def _watch_input(on_end: Callable[[], None]) -> None:
    while os.read(0, 4096):
        pass  # nothing is expected; only the end counts
    on_end()


def _exit_now() -> None:
    os._exit(0)


def _open_verified(start: ChildStart) -> Opened:
    spec = start.spec
    try:
        opened = open_files(spec)
    except DamagedFileError as error:
        give_up(EXIT_DAMAGED, error.detail, error.path)
    missing = {spec.entry, *spec.adapters} - opened.keys()
    if missing:
        give_up(EXIT_SPEC, f"not among the files: {min(missing)}")
    if start.report is not None:
        stamps = {path: file.stamp for path, file in opened.items() if file.stamp is not None}
        os.write(start.report, msgspec.json.encode(stamps))
        os.close(start.report)
    return Opened(spec, {file.path: opened[file.path].descriptor for file in spec.files})
