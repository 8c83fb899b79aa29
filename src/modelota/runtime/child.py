"""How every engine child starts: die with the parent, verify each file, hand out what was verified.

The parent writes one line of JSON (`ChildStart`) to standard input and keeps the pipe open; its end means that the
parent is gone, whatever killed it. On Linux the kernel tells as well (PR_SET_PDEATHSIG, prctl(2)).

Files are opened once, hashed through that descriptor, and loaded through `/proc/<pid>/fd/<n>` of the same descriptor,
so exchanging a file between check and use changes nothing. Writing into the very same file afterwards is not
prevented: slots are read-only, and whoever may write there may also stop this process.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

import blake3
import msgspec

from modelota.runtime.protocol import EngineSpec

START_MAX_BYTES: Final = 64 << 20  # a specification of FILES_MAX files with long paths
REPORT: Final = "modelota-child: "  # starts the one line on standard error that the parent reads as data

# Exit statuses with a meaning for the parent; the ranges of shells (126…) and sysexits.h (64…78) stay free.
EXIT_DAMAGED: Final = 90  # a file is not what its manifest promised
EXIT_NOT_STARTED: Final = 91  # the engine refuses: model, options, missing library
EXIT_SPEC: Final = 92  # the specification cannot be read

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_READ_BYTES: Final = 8 << 20


class ChildStart(msgspec.Struct, frozen=True, kw_only=True):
    """The line on standard input: the specification, and who waits for this child."""

    spec: EngineSpec
    parent_pid: int


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
    return _open_verified(start.spec)


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


def _open_verified(spec: EngineSpec) -> Opened:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < len(spec.files) + 256 and (hard == resource.RLIM_INFINITY or soft < hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    descriptors: dict[str, int] = {}
    buffer = bytearray(_READ_BYTES)
    for file in spec.files:
        try:
            # Not through a link: the slot was written by us and has none.
            descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            size_bytes, digest = _hash(descriptor, buffer)
        except OSError as error:
            give_up(EXIT_DAMAGED, f"cannot be read: {type(error).__name__}", file.path)
        if size_bytes != file.size_bytes or digest != file.digest:
            give_up(EXIT_DAMAGED, f"expected {file.size_bytes} {file.digest}, found {size_bytes} {digest}", file.path)
        descriptors[file.path] = descriptor
    missing = {spec.entry, *spec.adapters} - descriptors.keys()
    if missing:
        give_up(EXIT_SPEC, f"not among the files: {min(missing)}")
    return Opened(spec, descriptors)


def _hash(descriptor: int, buffer: bytearray) -> tuple[int, str]:
    """Size and BLAKE3. Read, not mapped: a file cut short meanwhile must not end this process with SIGBUS."""
    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    view = memoryview(buffer)
    size_bytes = 0
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
            size_bytes += count
    return size_bytes, hasher.hexdigest()
