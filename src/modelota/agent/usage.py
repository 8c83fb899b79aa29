"""What one job of the worker used: time, processor, memory, disk; by its own measure (requirement 7.1.2-c)."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Awaitable
from itertools import islice
from pathlib import Path
from typing import Any, Final

from modelota.storage.space import inodes
from modelota.telemetry.memory import tree_memory

SAMPLE_S: Final = 0.25
_SEEN_FILES_MAX: Final = 100_000  # a tree of more is not walked four times a second
_IO: Final = Path("/proc/self/io")


async def measured(work: Awaitable[object], directory: Path | None) -> object:
    """Carry out a job; a result that is a dictionary gets `usage` beside what it says.

    `usage` has `wall_s`, `cpu_s` (this process and its ended children), `peak_pss_bytes` (of this process and its
    children; sampled, so a peak shorter than the interval is not seen), `read_bytes` and `written_bytes` (storage),
    `disk_before_bytes` and `disk_peak_bytes` (allocated below `directory`). What cannot be told is None.
    """
    meter = _Meter(directory)
    sampling = asyncio.create_task(meter.sample())
    try:
        result = await work
    finally:
        sampling.cancel()
        await asyncio.gather(sampling, return_exceptions=True)
    if not isinstance(result, dict):
        return result
    meter.look()
    return {**result, "usage": meter.figures()}


class _Meter:
    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._started = time.monotonic()
        self._cpu_s = _cpu_s()
        self._io = _io()
        self._disk_before = self._disk_peak = _allocated_bytes(directory)
        self._peak_pss: int | None = None

    async def sample(self) -> None:
        """Look again and again, in a thread: what is looked at may be slow."""
        while True:
            await asyncio.to_thread(self.look)
            await asyncio.sleep(SAMPLE_S)

    def look(self) -> None:
        """Look once."""
        pss = tree_memory(os.getpid()).pss_bytes
        if pss is not None:
            self._peak_pss = max(pss, self._peak_pss or 0)
        disk = _allocated_bytes(self._directory)
        if disk is not None:
            self._disk_peak = max(disk, self._disk_peak or 0)

    def figures(self) -> dict[str, Any]:
        """The figures up to now."""
        read, written = (
            None if now is None or then is None else now - then for now, then in zip(_io(), self._io, strict=True)
        )
        return {
            "wall_s": round(time.monotonic() - self._started, 3),
            "cpu_s": round(_cpu_s() - self._cpu_s, 3),
            "peak_pss_bytes": self._peak_pss,
            "read_bytes": read,
            "written_bytes": written,
            "disk_before_bytes": self._disk_before,
            "disk_peak_bytes": self._disk_peak,
        }


def _cpu_s() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def _io() -> tuple[int | None, int | None]:
    """Bytes that this process caused to be read from and written to storage (proc_pid_io(5))."""
    try:
        pairs = (line.partition(": ") for line in _IO.read_text(encoding="ascii").splitlines())
        fields = {name: int(value) for name, _, value in pairs}
    except (OSError, ValueError):
        return None, None
    return fields.get("read_bytes"), fields.get("write_bytes")


def _allocated_bytes(directory: Path | None) -> int | None:
    """Allocated blocks below `directory`, each inode once; None without one, or when there is too much to look at."""
    if directory is None:
        return None
    taken = tuple(islice(inodes(directory), _SEEN_FILES_MAX + 1))
    return None if len(taken) > _SEEN_FILES_MAX else sum(taken)
