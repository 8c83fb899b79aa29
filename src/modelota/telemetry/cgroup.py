"""Limits that control groups put on this process, versions 2 and 1. No limit is None; so is no control group."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_UNLIMITED_V1_BYTES: Final = 1 << 60  # version 1 writes "no limit" as a huge number near 2^63


def cpu_quota(proc: Path, sys: Path) -> float | None:
    """Processors' worth of time the tightest enclosing group allows, or None without a limit."""
    quotas: list[float] = []
    for folder in _folders(proc, sys, "cpu"):
        limit = _words(folder / "cpu.max")
        if len(limit) == 2 and limit[0] != "max":
            quotas.append(int(limit[0]) / int(limit[1]))
        quota, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
        if quota is not None and period and quota > 0:
            quotas.append(quota / period)
    return min(quotas, default=None)


def memory_limit_bytes(proc: Path, sys: Path) -> int | None:
    """Bytes of memory the tightest enclosing group allows, or None without a limit."""
    return min((limit for _, limit in _memory_limits(proc, sys)), default=None)


def memory_room_bytes(proc: Path, sys: Path) -> int | None:
    """Bytes still free below the limits, counting page cache that could be dropped as free; None without a limit."""
    rooms: list[int] = []
    for folder, limit in _memory_limits(proc, sys):
        used = _number(folder / "memory.current")
        used = _number(folder / "memory.usage_in_bytes") if used is None else used
        if used is not None:
            reclaimable = _stat(folder / "memory.stat", ("inactive_file", "total_inactive_file"))
            rooms.append(max(0, limit - max(0, used - reclaimable)))
    return min(rooms, default=None)


def _memory_limits(proc: Path, sys: Path) -> list[tuple[Path, int]]:
    found: list[tuple[Path, int]] = []
    for folder in _folders(proc, sys, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limit = _number(folder / name)
            if limit is not None and limit < _UNLIMITED_V1_BYTES:
                found.append((folder, limit))
    return found


def _folders(proc: Path, sys: Path, controller: str) -> list[Path]:
    """The groups of this process that `controller` may limit, innermost first."""
    mount = sys / "fs/cgroup"
    found: list[Path] = []
    try:
        lines = (proc / "self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return found
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            bases = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            bases = [mount / controller, mount / controllers]
        else:
            continue
        for base in bases:
            inner = base / group.lstrip("/")
            # Inside a container the path may be the host's: then only the mount itself, which is ours, exists.
            chain = [inner, *(parent for parent in inner.parents if parent.is_relative_to(base))]
            found.extend(folder for folder in chain if folder.is_dir() and folder not in found)
    return found


def _words(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").split()
    except OSError:
        return []


def _number(path: Path) -> int | None:
    words = _words(path)
    return int(words[0]) if len(words) == 1 and words[0].lstrip("-").isdigit() else None


def _stat(path: Path, names: tuple[str, ...]) -> int:
    words = _words(path)
    values = dict(zip(words[::2], words[1::2], strict=False))
    return max((int(values[name]) for name in names if values.get(name, "").isdigit()), default=0)
