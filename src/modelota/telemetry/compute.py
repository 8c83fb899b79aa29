"""What this device can compute, measured: a short benchmark of arithmetic and of memory (requirement 7.1.1-a).

`docs/formats/manifest.md` (the compute benchmark) defines the figures, because releases demand them. NumPy is imported
when it runs: only the worker runs it. NumPy's matrix product may use threads of its own, so each core has a process of
its own here, told to use one.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from modelota.telemetry.circumstances import Circumstances, circumstances
from modelota.telemetry.profile import usable_cores

SIDE: Final = 512
COPY_BYTES: Final = 64 << 20
REPEATS_MIN: Final = 5
PART_S: Final = 0.1  # of each part; more repeats as long as there is time
CHILD_LIMIT_S: Final = 30.0
CORES_MAX: Final = 256
_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")


class PartFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What one core reached: giga-operations and gigabytes per second, medians, and of how many repeats.

    Per second of processor time: the device is in use, and what others take meanwhile is not what it lacks.
    """

    gops: float
    memory_gb_s: float
    repeats: int


class ComputeFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What the device reached.

    Attributes:
        gops: giga-operations per second of all usable cores at once.
        memory_gb_s: gigabytes per second of all usable cores at once.
        single_gops: of one core, the others idle.
        single_memory_gb_s: likewise.
        cores: how many were used.
        seconds: how long it took.
        circumstances: what surrounded it.
    """

    gops: float
    memory_gb_s: float
    single_gops: float
    single_memory_gb_s: float
    cores: int
    seconds: float
    circumstances: Circumstances


def measure_compute() -> ComputeFigures | None:
    """Run the benchmark, one core first, then all; None where it can't run (no process to be had, no NumPy)."""
    started = time.monotonic()
    cores = min(usable_cores(), CORES_MAX)
    around = circumstances()
    single = _in_children(1)
    every = single if cores == 1 else _in_children(cores)
    if not single or not every:
        return None
    return ComputeFigures(
        gops=round(sum(part.gops for part in every), 2),
        memory_gb_s=round(sum(part.memory_gb_s for part in every), 2),
        single_gops=round(single[0].gops, 2),
        single_memory_gb_s=round(single[0].memory_gb_s, 2),
        cores=cores,
        seconds=round(time.monotonic() - started, 2),
        circumstances=around,
    )


def _in_children(count: int) -> list[PartFigures]:
    """Run the parts at the same time: every child waits, ready, until all are."""
    environment = {**os.environ, **dict.fromkeys(_THREADS, "1")}
    children: list[subprocess.Popen[bytes]] = []
    try:
        for _ in range(count):
            children.append(  # noqa: PERF401  those started so far must end, whatever happens to the next
                subprocess.Popen(  # noqa: S603  this interpreter and this module
                    [sys.executable, "-P", "-m", "modelota.telemetry.compute", str(count)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    env=environment,
                )
            )
        for child in children:
            assert child.stdout is not None
            if child.stdout.readline() != b"ready\n":
                return []
        for child in children:
            assert child.stdin is not None
            child.stdin.write(b"go\n")
            child.stdin.flush()
        answers = [child.communicate(timeout=CHILD_LIMIT_S)[0] for child in children]
        return [msgspec.json.decode(answer, type=PartFigures) for answer in answers]
    except (OSError, subprocess.TimeoutExpired, msgspec.MsgspecError):
        return []
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
            child.communicate()


def measure_part(share: int, ready: Callable[[], None] = lambda: None) -> PartFigures:
    """Measure on this thread, with the `share`-th part of the memory; calls `ready` once everything is set up."""
    import numpy as np  # noqa: PLC0415  the supervisor imports this module's types and must stay small

    left = np.full((SIDE, SIDE), 0.5, dtype=np.float32)
    right = np.full((SIDE, SIDE), 0.25, dtype=np.float32)
    product = np.empty_like(left)
    source = np.ones(max(1 << 20, COPY_BYTES // share), dtype=np.uint8)
    target = np.empty_like(source)

    def multiply() -> None:
        np.matmul(left, right, out=product)

    def copy() -> None:
        np.copyto(target, source)

    multiply()
    copy()
    ready()
    multiply_s, repeats = _median_s(multiply)
    copy_s, _ = _median_s(copy)
    return PartFigures(
        gops=2 * SIDE**3 / multiply_s / 1e9, memory_gb_s=2 * source.nbytes / copy_s / 1e9, repeats=repeats
    )


def _median_s(work: Callable[[], None]) -> tuple[float, int]:
    times: list[float] = []
    ends = time.perf_counter() + PART_S
    while len(times) < REPEATS_MIN or time.perf_counter() < ends:
        started = time.thread_time()  # what others take of the processor meanwhile says nothing about it
        work()
        times.append(max(1e-9, time.thread_time() - started))
    return statistics.median(times), len(times)


def boot_id(*, base: Path = Path("/")) -> str:
    """Identifies this start of the system (random(4)); empty where there is none."""
    try:
        return (base / "proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _wait_for_go() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        sys.stdout.write(msgspec.json.encode(measure_part(int(sys.argv[1]), _wait_for_go)).decode())
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(measure_compute())).decode() + "\n")
