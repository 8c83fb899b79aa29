"""Memory of processes, as Linux counts it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Final, Self

WORKER: Final = "modelota.agent.worker"
_SAMPLE_S: Final = 0.01
_SETTLED_S: Final = 1.0


def smaps(pid: int) -> dict[str, int]:
    """Fields of `smaps_rollup` in bytes.

    Raises:
        OSError: the process is gone.
    """
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields


def workers_of(supervisor_pid: int) -> list[int]:
    """The worker processes of a supervisor."""
    return children_of(supervisor_pid, WORKER)


def children_of(supervisor_pid: int, module: str) -> list[int]:
    """The processes of a supervisor that run `module`."""
    children = Path(f"/proc/{supervisor_pid}/task").glob("*/children")
    found = []
    for pid in " ".join(path.read_text(encoding="utf-8") for path in children).split():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue  # it ended meanwhile
        if module.encode() in command:
            found.append(int(pid))
    return found


class WorkerPeaks:
    """Watches the workers of a supervisor while it is entered: the most Pss_Anon that any had, by phase.

    Args:
        supervisor_pid: whose workers.

    Attributes:
        phase: what the next samples belong to; set by the caller.
        peak_bytes: by phase.
        samples: how many there were.
    """

    def __init__(self, supervisor_pid: int) -> None:
        self._supervisor_pid = supervisor_pid
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.phase = ""
        self.peak_bytes: dict[str, int] = {}
        self.samples = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            for pid in workers_of(self._supervisor_pid):
                phase = self.phase
                try:
                    anonymous_bytes = smaps(pid)["Pss_Anon"]
                except (OSError, KeyError):  # it ended meanwhile
                    continue
                self.peak_bytes[phase] = max(self.peak_bytes.get(phase, 0), anonymous_bytes)
                self.samples += 1


def idle_worker_bytes(root: Path) -> int:
    """Pss_Anon of a worker of the device at `root` that has been given nothing to do. The device must not run."""
    command = [sys.executable, "-P", "-m", WORKER, str(root), f"--parent={os.getpid()}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as worker:
        last, since = -1, time.monotonic()
        while time.monotonic() - since < _SETTLED_S or last < 0:
            found = smaps(worker.pid)["Pss_Anon"]
            if found != last:
                last, since = found, time.monotonic()
            time.sleep(_SAMPLE_S)
    return last
