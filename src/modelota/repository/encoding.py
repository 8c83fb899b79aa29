"""Coding chunks, on all cores: how each is coded is found out by trial, and a delta is decoded before it is kept.

Workers are threads where the delta kernel does the work, because it leaves the interpreter's lock, and chunks need not
travel. Otherwise they are processes, because NumPy's many small steps hold the lock; they are spawned, not forked,
because BLAKE3's threads do not survive a fork.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeVar

from modelota.content.delta import decode_delta, encode_delta, encode_full
from modelota.content.delta.loops import loops
from modelota.content.delta.zstd import encode_patch
from modelota.errors import TryLater
from modelota.spec.limits import MIB

POOL_FROM_BYTES: Final = 32 * MIB  # less is done before processes have started
THREADS_FROM_BYTES: Final = MIB
_AHEAD: Final = 2  # chunks per worker that are read ahead


class Coded(NamedTuple):
    """A coded chunk.

    Attributes:
        operation: a key of `OPERATIONS`.
        data: coded bytes; empty for `raw`, so that they need not travel back.
    """

    operation: str
    data: bytes


class ChunkJob(NamedTuple):
    """A chunk, and the layout of its values (`ChunkSpan.kind`)."""

    target: bytes
    kind: str


class DeltaJob(NamedTuple):
    """A chunk, what it is compared with, and the layout of the chunk's values."""

    target: bytes
    base: bytes
    kind: str


J = TypeVar("J")
R = TypeVar("R")


def code_chunk(job: ChunkJob) -> Coded:
    """Code one chunk by itself."""
    operation, coded = encode_full(job.target, job.kind)
    return Coded(operation, b"" if operation == "raw" else coded)


def code_delta(job: DeltaJob) -> Coded | None:
    """Code one chunk as a delta, or by itself if that is shorter; None if it does not decode to what it was."""
    operation, coded = encode_delta(job.target, job.base, job.kind)
    if operation == "copy":  # the beginning of its base; but no frame is empty, so it is said in a few bytes
        operation, coded = "patch", encode_patch(job.target, job.base)
    if operation == "raw":
        return Coded(operation, b"")
    if decode_delta(operation, coded, job.base, len(job.target)) != job.target:
        return None
    return Coded(operation, coded)


class Encoders:
    """Does jobs in order, on as many threads or processes as there are processors. A context manager.

    Args:
        workers: how many; None is one per processor. With 0 or 1, and for little work, the caller does it all.
        processes: whether they are processes; None decides by whether there is a kernel.
    """

    def __init__(self, workers: int | None = None, *, processes: bool | None = None) -> None:
        self._workers = (os.cpu_count() or 1) if workers is None else workers
        self._processes = loops().name != "native" if processes is None else processes
        self._pool: Executor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    def run(self, task: Callable[[J], R], jobs: Iterable[J], work_bytes: int) -> Iterator[R]:
        """The results of `task`, in the order of `jobs`, which are taken only a few ahead.

        Args:
            task: a function of a module.
            jobs: what it is called with.
            work_bytes: about how much there is to do.

        Raises:
            TryLater: `worker-crashed`: a worker was killed, perhaps for want of memory.
        """
        from_bytes = POOL_FROM_BYTES if self._processes else THREADS_FROM_BYTES
        if self._pool is None and self._workers > 1 and work_bytes >= from_bytes:
            self._pool = self._start()
        if self._pool is None:
            yield from map(task, jobs)
            return
        waiting: deque[Future[R]] = deque()
        try:
            for job in jobs:
                waiting.append(self._pool.submit(task, job))
                if len(waiting) > self._workers * _AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool as error:
            raise TryLater("worker-crashed", job="encode", status=None) from error
        finally:
            for future in waiting:
                future.cancel()

    def _start(self) -> Executor:
        if not self._processes:
            return ThreadPoolExecutor(self._workers)
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self._workers, context, initializer=_ignore_interrupts)


def _ignore_interrupts() -> None:
    """Ctrl-C goes to the whole group of processes; the publisher ends its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
