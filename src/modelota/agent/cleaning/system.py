"""What a cleaning asks the system for: mounts, packages, open files, entries that are no files, programs."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

from modelota.agent.cleaning.bystanders import OpenFiles, Packages, in_store
from modelota.agent.cleaning.entries import Entries, Run, all_entries, run_command
from modelota.agent.cleaning.mounts import Mounts, read_mounts
from modelota.clock import Clock, SystemClock

_IOPRIO_SET: Final = {"x86_64": 251, "aarch64": 30}
_IDLE: Final = 3 << 13
_NICENESS: Final = 19

T = TypeVar("T")


@dataclass(frozen=True)
class System:
    """The system as a cleaning sees it; tests put others in their place.

    Attributes:
        mounts: reads what is mounted.
        packages: tells what packages own.
        open_files: tells what processes use.
        entries: ledger entries that are no files, by scheme.
        in_store: tells whether a path lies in another application's store.
        run: runs a program of the system.
        clock: stamps proofs.
    """

    mounts: Callable[[], Mounts] = read_mounts
    packages: Packages = field(default_factory=Packages)
    open_files: OpenFiles = field(default_factory=OpenFiles)
    entries: Mapping[str, Entries] = field(default_factory=all_entries)
    in_store: Callable[[str], bool] = in_store
    run: Run = run_command
    clock: Clock = field(default_factory=SystemClock)


def run_idle(work: Callable[[], T]) -> T:
    """Do `work` in a thread of its own that gets processor and disk only when nobody else wants them (7.4.2-b).

    Priorities are the thread's (sched(7), ioprio_set(2)), so the process that asks keeps its own.
    """
    results: list[T] = []
    errors: list[BaseException] = []

    def body() -> None:
        _yield_thread()
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001  it belongs to the thread that waits, and is raised there
            errors.append(error)

    thread = threading.Thread(target=body, name="cleaning", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def _yield_thread() -> None:
    number = _IOPRIO_SET.get(platform.machine())
    if sys.platform != "linux" or number is None:
        return
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
    ctypes.CDLL(None).syscall(number, 1, 0, _IDLE)  # IOPRIO_WHO_PROCESS, this thread
