"""Memory of a process tree: the sum of PSS, read from `/proc/<pid>/smaps_rollup`.

PSS, because a page shared by n processes counts 1/n in each: resident sizes count mapped weights once per process, and
unique sizes not at all as soon as two processes map them. Reading walks the page tables under the process's memory
lock (about 3.6 ms for 512 MB), so ask every few seconds at most. Only the standard library: the supervisor asks, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from modelota.telemetry import cgroup

_ROOT: Final = Path("/")
_PROC: Final = _ROOT / "proc"
_KIB: Final = 1024
_PARTS: Final = ("Rss", "Pss", "Pss_Anon", "Pss_File", "Pss_Shmem")


class MemoryReading(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of a process tree in bytes, or None with the reason why it cannot be told.

    Attributes:
        pss_bytes: proportional share of everything resident.
        anon_bytes: its part that only swap could free.
        file_bytes: its part that is mapped files (weights): reclaimable, but needed.
        shmem_bytes: its part that is shared memory, with what memory files hold that no process has mapped: a sealed
            slot is opened into such files.
        rss_bytes: everything resident, shared pages counted once per process: does not change when another process
            maps the same files, so it compares two versions where `pss_bytes` says what this one costs now.
        processes: how many were summed.
        reason: why the figures are None, or None.
    """

    pss_bytes: int | None = None
    anon_bytes: int | None = None
    file_bytes: int | None = None
    shmem_bytes: int | None = None
    rss_bytes: int | None = None
    processes: int = 0
    reason: str | None = None


def tree_memory(pid: int, *, proc: Path = _PROC) -> MemoryReading:
    """Sum the PSS of process `pid` and all its descendants.

    A descendant that ends while it is read counts nothing; one that may not be read makes the whole sum unknown,
    because a sum that silently lacks a part is a wrong figure.

    Args:
        pid: root of the tree.
        proc: where procfs is mounted.
    """
    sums = dict.fromkeys(_PARTS, 0)
    counted = 0
    memory_files: dict[tuple[int, int], int] = {}
    for member in process_tree(pid, proc=proc):
        try:
            parts = _rollup((proc / str(member) / "smaps_rollup").read_text(encoding="ascii"))
        except (FileNotFoundError, ProcessLookupError):
            if member == pid:
                alive = (proc / str(pid)).exists()
                return MemoryReading(reason="kernel without smaps_rollup" if alive else "no such process, or no procfs")
            continue
        except (PermissionError, OSError) as error:
            return MemoryReading(reason=f"process {member} cannot be read: {type(error).__name__}")
        if parts is None:
            if member == pid:
                return MemoryReading(reason="process has no memory: it ended")
            continue
        counted += 1
        for name in _PARTS:
            sums[name] += parts[name]
        memory_files |= _memory_files(proc / str(member) / "fd")
    unmapped = max(0, sum(memory_files.values()) - sums["Pss_Shmem"])
    for name in ("Rss", "Pss", "Pss_Shmem"):
        sums[name] += unmapped
    return MemoryReading(
        pss_bytes=sums["Pss"],
        anon_bytes=sums["Pss_Anon"],
        file_bytes=sums["Pss_File"],
        shmem_bytes=sums["Pss_Shmem"],
        rss_bytes=sums["Rss"],
        processes=counted,
    )


def room_beside(pid: int, *, base: Path = _ROOT) -> int | None:
    """Bytes that a further process can have without swapping, and without taking from process `pid` what it maps.

    The kernel counts mapped files as available, because it could drop them; a model that is in use needs them.

    Returns:
        None where it cannot be told.
    """
    available_bytes = _available_bytes(base / "proc/meminfo")
    if available_bytes is None:
        return None
    room_bytes = cgroup.memory_room_bytes(base / "proc", base / "sys")
    free_bytes = max(0, available_bytes - (tree_memory(pid, proc=base / "proc").file_bytes or 0))
    return free_bytes if room_bytes is None else min(free_bytes, room_bytes)


def _available_bytes(path: Path) -> int | None:
    try:
        lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    words = next((line.split() for line in lines if line.startswith("MemAvailable:")), [])
    return int(words[1]) * _KIB if len(words) == 3 and words[1].isdigit() else None


def _memory_files(folder: Path) -> dict[tuple[int, int], int]:
    """Bytes that each memory file (memfd_create(2)) which a process holds open takes, by device and inode."""
    found: dict[tuple[int, int], int] = {}
    try:
        for entry in folder.iterdir():
            if str(entry.readlink()).startswith("/memfd:"):
                status = entry.stat()
                found[status.st_dev, status.st_ino] = status.st_blocks * 512
    except OSError:  # it ended, or closed one meanwhile: what was seen counts
        return found
    return found


def process_tree(pid: int, *, proc: Path = _PROC) -> list[int]:
    """`pid` and all its descendants, parents first, as far as they live now."""
    members, next_index = [pid], 0
    parents: dict[int, list[int]] | None = None
    while next_index < len(members):
        member = members[next_index]
        next_index += 1
        children = _children(member, proc)
        if children is None:  # a kernel without CONFIG_PROC_CHILDREN: one scan of all processes instead
            parents = _by_parent(proc) if parents is None else parents
            children = parents.get(member, [])
        members.extend(child for child in children if child not in members)
    return members


def _children(pid: int, proc: Path) -> list[int] | None:
    found: list[int] = []
    try:
        threads = list((proc / str(pid) / "task").iterdir())
    except OSError:
        return []  # ended, or not ours to see: its memory cannot be read either, which is reported there
    for thread in threads:
        try:
            found.extend(int(word) for word in (thread / "children").read_text(encoding="ascii").split())
        except FileNotFoundError:
            if thread.exists():
                return None
        except (ProcessLookupError, PermissionError):
            continue
    return found


def _by_parent(proc: Path) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        # the command in parentheses may hold spaces and parentheses itself (proc(5)); the parent is second after it
        fields = stat.rpartition(")")[2].split()
        if len(fields) > 1:
            found.setdefault(int(fields[1]), []).append(int(entry.name))
    return found


def _rollup(text: str) -> dict[str, int] | None:
    """The parts in bytes; None for a process without memory (a zombie reads as empty)."""
    parts: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        if name in _PARTS:
            parts[name] = int(rest.split()[0]) * _KIB
    return {name: parts.get(name, 0) for name in _PARTS} if "Pss" in parts else None
