"""What the room measures with, all of its own making: tree hashes, entropy, known plaintext, processes, disk."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple, Self

import blake3
import zstandard

BLOCK_BYTES: Final = 64 * 1024
PAGE_BYTES: Final = 4096
WINDOW_BYTES: Final = 24
WINDOWS: Final = 400
_WINDOW_LOG_MIN: Final = 20
_SAMPLE_EVERY_S: Final = 0.08
_IOPRIO_WHO_PROCESS: Final = 1
_SYS_IOPRIO_GET: Final = {"x86_64": 252, "aarch64": 31}


def tree_hash(directory: Path) -> str:
    """SHA-256 over names, modes and bytes of everything below `directory`."""
    digest = hashlib.sha256()
    for path in sorted(directory.rglob("*")):
        digest.update(f"{path.relative_to(directory)}\0{path.lstat().st_mode:o}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(file_hash(path).encode())
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def blake3_hash(path: Path) -> str:
    """BLAKE3 of a file."""
    return blake3.blake3(path.read_bytes()).hexdigest()


def patch_from_bytes(old: bytes, new: bytes) -> int:
    """What zstd needs to get from `old` to `new`, as `zstd -19 --long --patch-from` does it; proven by undoing it."""
    base = zstandard.ZstdCompressionDict(old, dict_type=zstandard.DICT_TYPE_RAWCONTENT)
    window_log = max(_WINDOW_LOG_MIN, (len(old) + len(new)).bit_length())
    parameters = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=window_log, enable_ldm=True, source_size=len(new), dict_size=len(old)
    )
    patch = zstandard.ZstdCompressor(dict_data=base, compression_params=parameters).compress(new)
    undone = zstandard.ZstdDecompressor(dict_data=base, max_window_size=1 << window_log).decompress(patch)
    if undone != new:
        raise ValueError("zstd did not give back what it was given")
    return len(patch)


def entries_below(directory: Path) -> list[Path]:
    """Everything below `directory`, in order; none when it is not there.

    What is removed meanwhile may or may not be among it, and is no error: `Path.rglob` would fail there.
    """
    return sorted(Path(folder, name) for folder, folders, files in os.walk(directory) for name in (*folders, *files))


def files_below(directory: Path) -> list[Path]:
    """Regular files below `directory`, in order; none when it is not there."""
    return [path for path in entries_below(directory) if path.is_file() and not path.is_symlink()]


def allocated_bytes(directory: Path) -> int:
    """Bytes that the file system has allocated below `directory`; each inode once."""
    seen: dict[tuple[int, int], int] = {}
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                found = os.lstat(os.path.join(folder, name))  # noqa: PTH118  as os.walk gives them
            except FileNotFoundError:
                continue
            seen[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(seen.values())


class Entry(NamedTuple):
    """Something on the disk, as lstat(2) shows it: its inode, and the bytes that are allocated for it."""

    inode: tuple[int, int]
    size_bytes: int


Census = dict[Path, Entry]


def census(directory: Path) -> Census:
    """`directory` and everything below it, no link followed; nothing when it is not there."""
    found: Census = {}
    for path in (directory, *entries_below(directory)):
        with contextlib.suppress(FileNotFoundError):  # it went meanwhile
            seen = path.lstat()
            found[path] = Entry((seen.st_dev, seen.st_ino), seen.st_blocks * 512)
    return found


def census_bytes(entries: Census, below: Path) -> int:
    """Allocated bytes of `below` and what is below it; each inode once."""
    of_inode = {each.inode: each.size_bytes for path, each in entries.items() if path == below or below in path.parents}
    return sum(of_inode.values())


def entropy_bits(block: bytes) -> float:
    """Shannon entropy of the bytes of `block`, in bits per byte."""
    total = len(block)
    return -sum(count / total * math.log2(count / total) for count in Counter(block).values())


def entropy_floor_bits(size_bytes: int) -> float:
    """What a block of random bytes practically never falls below: the expected bias (Miller and Madow), three times."""
    return 8 - 3 * 255 / (2 * size_bytes * math.log(2))


def written_pages(data: bytes) -> bytes:
    """A file's bytes without pages of zeros: space that was set aside and not written yet holds nothing."""
    pages = (data[start : start + PAGE_BYTES] for start in range(0, len(data), PAGE_BYTES))
    return b"".join(page for page in pages if any(page))


def low_entropy_blocks(data: bytes) -> tuple[int, int, float]:
    """How many blocks of `data` look less than random: (blocks, of which low, lowest entropy)."""
    low, lowest, count = 0, 8.0, 0
    for start in range(0, len(data), BLOCK_BYTES):
        block = data[start : start + BLOCK_BYTES]
        if len(block) < BLOCK_BYTES // 8:  # too short to tell
            continue
        bits = entropy_bits(block)
        count += 1
        low += bits < entropy_floor_bits(len(block))
        lowest = min(lowest, bits)
    return count, low, lowest


def windows_of(plain: bytes) -> tuple[bytes, ...]:
    """Windows spread over `plain` that are worth searching: none with fewer than eight different bytes."""
    step = max(1, (len(plain) - WINDOW_BYTES) // WINDOWS)
    found = (plain[start : start + WINDOW_BYTES] for start in range(0, len(plain) - WINDOW_BYTES, step))
    return tuple(window for window in found if len(set(window)) >= 8)


def windows_found(data: bytes, windows: Iterable[bytes]) -> int:
    """How many of `windows` occur in `data`."""
    return sum(window in data for window in windows)


def flip_byte(path: Path, offset: int) -> None:
    """Change one byte of a file, whatever its mode says."""
    mode = path.stat().st_mode & 0o777
    path.chmod(mode | 0o200)
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)
        file.seek(offset)
        file.write(bytes([byte[0] ^ 0xFF]))
    path.chmod(mode)


@dataclass(frozen=True)
class Process:
    """One process as /proc shows it."""

    pid: int
    command: str
    parent: int

    @property
    def role(self) -> str:
        """What it is to the product, by its command line."""
        if "modelota.agent.worker" in self.command:
            return "worker"
        if "modelota.runtime." in self.command or "modelota.testing.engine" in self.command:
            return "engine"
        return "supervisor"


def descendants(root_pid: int) -> list[Process]:
    """The process `root_pid` and everything below it."""
    processes: dict[int, Process] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile
        processes[int(entry.name)] = Process(int(entry.name), command, parent)
    return list(_below(root_pid, processes))


def _below(pid: int, processes: dict[int, Process]) -> Iterator[Process]:
    if pid in processes:
        yield processes[pid]
        for process in processes.values():
            if process.parent == pid:
                yield from _below(process.pid, processes)


def open_names(pid: int) -> set[str]:
    """Paths of files that a process holds open."""
    names = set()
    for entry in _entries(Path(f"/proc/{pid}/fd")):
        try:
            names.add(str(entry.readlink()))
        except OSError:
            continue
    return names


def listening_names(pid: int) -> set[str]:
    """Names of Unix sockets that a process listens on (proc_pid_net(5): the flag 00010000)."""
    own = {name.removeprefix("socket:[").rstrip("]") for name in open_names(pid) if name.startswith("socket:[")}
    try:
        lines = Path(f"/proc/{pid}/net/unix").read_text(encoding="utf-8", errors="replace").splitlines()[1:]
    except OSError:
        return set()
    rows = [line.split() for line in lines]
    return {row[7] for row in rows if len(row) > 7 and row[6] in own and row[3] == "00010000"}


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def pss_bytes(pid: int) -> int | None:
    """Proportional set size of a process; None when it ended or may not be read."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in text.splitlines() if line.startswith("Pss:")), None)


def niceness(pid: int) -> int | None:
    """Nice value of a process."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except OSError:
        return None


def io_class(pid: int) -> tuple[int, int] | None:
    """Class and level of a process's I/O priority (ioprio_get(2)): 0 none, 2 best effort, 3 idle."""
    number = _SYS_IOPRIO_GET.get(os.uname().machine)
    if number is None:
        return None
    value = ctypes.CDLL(None, use_errno=True).syscall(number, _IOPRIO_WHO_PROCESS, pid)
    return None if value < 0 else (value >> 13, value & 0x1FFF)


def thread_priorities(pid: int) -> dict[str, tuple[int | None, tuple[int, int] | None]]:
    """Nice value and I/O priority of each thread of a process, by the thread's name and number."""
    found = {}
    for entry in _entries(Path(f"/proc/{pid}/task")):
        try:
            name = (entry / "comm").read_text(encoding="utf-8", errors="replace").strip()
        except OSError:  # it ended
            continue
        found[f"{name} {entry.name}"] = (niceness(int(entry.name)), io_class(int(entry.name)))
    return found


@dataclass
class Sampler:
    """Watches a process tree and a directory while something happens; use as a context manager.

    Attributes:
        agent_pid: tells the root of the tree; an agent that was killed and started again has another.
        directory: whose allocated bytes are watched.
        peak_pss_bytes: highest reading per role, summed over the processes of the role.
        peak_disk_bytes: highest reading.
        nice: nice values seen per role.
        worker_io: I/O priorities that workers were seen with.
        samples: how many readings were taken.
    """

    agent_pid: Callable[[], int]
    directory: Path
    peak_pss_bytes: dict[str, int] = field(default_factory=dict)
    peak_disk_bytes: int = 0
    nice: dict[str, set[int]] = field(default_factory=dict)
    worker_io: set[tuple[int, int]] = field(default_factory=set)
    samples: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._watch, name="sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)

    def _watch(self) -> None:
        while not self._stop.wait(_SAMPLE_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        totals: dict[str, int] = {}
        agent_pid = self.agent_pid()
        for process in descendants(agent_pid):
            if process.role == "supervisor" and process.pid != agent_pid:
                continue  # a child between vfork and exec: it still is the agent, and would count twice
            totals[process.role] = totals.get(process.role, 0) + (pss_bytes(process.pid) or 0)
            nice = niceness(process.pid)
            if nice is not None:
                self.nice.setdefault(process.role, set()).add(nice)
            io = io_class(process.pid) if process.role == "worker" else None
            self.worker_io |= {io} if io is not None else set()
        for role, total in totals.items():
            self.peak_pss_bytes[role] = max(total, self.peak_pss_bytes.get(role, 0))
        self.peak_disk_bytes = max(self.peak_disk_bytes, allocated_bytes(self.directory))
        self.samples += 1
