"""How much of the processors others took while something was measured. Linux; None elsewhere.

The kernel counts the time of all processors (`/proc/stat`) and of each process with the children it has collected
(`/proc/<pid>/stat`). Between two readings, what was busy and was not the measured tree is what disturbed it; time that
a hypervisor took away counts as others'.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from modelota.telemetry.memory import process_tree

_PROC: Final = Path("/proc")
_IDLE: Final = (3, 4)  # idle, iowait among the columns of proc_stat(5)
_COLUMNS: Final = 8  # user … steal; guest times are in user and nice already


class ProcessorTime(NamedTuple):
    """Ticks since some moment: all processors, of those busy, and of one process tree."""

    all_ticks: int
    busy_ticks: int
    own_ticks: int


def processor_time(pid: int, *, proc: Path = _PROC) -> ProcessorTime | None:
    """Read now; None where the system does not tell.

    Args:
        pid: root of the tree that is measured.
        proc: where procfs is mounted.
    """
    try:
        words = (proc / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()[1 : _COLUMNS + 1]
        ticks = [int(word) for word in words]
    except (OSError, ValueError):
        return None
    if len(ticks) < _COLUMNS:
        return None
    busy = sum(ticks) - sum(ticks[column] for column in _IDLE)
    return ProcessorTime(sum(ticks), busy, sum(_own_ticks(member, proc) for member in process_tree(pid, proc=proc)))


def share_of_others(before: ProcessorTime | None, after: ProcessorTime | None) -> float | None:
    """Part of all processors' time, 0 to 1, that neither idled nor was the tree's; None when it can't be told."""
    if before is None or after is None or after.all_ticks <= before.all_ticks:
        return None
    busy, own = after.busy_ticks - before.busy_ticks, after.own_ticks - before.own_ticks
    return min(1.0, max(0.0, (busy - own) / (after.all_ticks - before.all_ticks)))


def _own_ticks(pid: int, proc: Path) -> int:
    """User and system time of a process, and of its children that ended and were collected."""
    try:
        fields = (proc / str(pid) / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return sum(int(field) for field in fields[11:15])
    except (OSError, ValueError):  # it ended meanwhile: its parent collects its time
        return 0
