"""Ours, as a file: chunks as the publisher cuts them, paired, coded by trial, verified one by one when applied.

A patch is the coded chunks one after the other, then an index (MessagePack, Zstandard), then the index's length. The
index holds per chunk what a device must know: its size, digest, operation, coded size, and where its base lies. Sealing
adds 16 bytes per frame and is not measured here (`benchmarks/seal.py` does).

Two kinds of workers, one per core, are started before the clock: those of a device's agent run already when an update
comes. A worker reads, codes or decodes, digests and writes one chunk at a time.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import msgspec
import zstandard
from peers.methods import FULL, OURS_NUMPY
from peers.pairing import pair_chunks

from modelota.content.chunking import ChunkSpan, cut_file
from modelota.content.delta import operations
from modelota.content.delta.loops import LOOPS_VARIABLE, loops
from modelota.content.digest import digest_bytes
from modelota.content.formats.registry import parse
from modelota.spec.limits import MIB

COPY: Final = "copy"  # the operation of a chunk that the base has
_BATCH_BYTES: Final = 2 * MIB  # of chunks per message to a worker: fewer messages than chunks, and none idle for long


class Entry(NamedTuple):
    """One chunk of the target in a patch; a base of size 0 is none."""

    offset: int
    size_bytes: int
    digest: bytes
    operation: str
    coded_bytes: int
    base_offset: int
    base_bytes: int


class Coder(Protocol):
    """How chunks are coded.

    Attributes:
        baseless: operations whose chunks need no base.
    """

    baseless: frozenset[str]

    def encode(self, target: bytes, base: bytes | None, kind: str) -> tuple[str, bytes]:
        """The operation's name and the coded bytes; without a base, the chunk by itself."""
        ...

    def decode(self, operation: str, coded: bytes, base: bytes, size_bytes: int) -> bytes:
        """The chunk again."""
        ...


class ProductCoder:
    """The product's own codec."""

    baseless = operations.BASELESS

    def encode(self, target: bytes, base: bytes | None, kind: str) -> tuple[str, bytes]:
        """As `Coder`."""
        if base is None:
            return operations.encode_full(target, kind)
        return operations.encode_delta(target, base, kind)

    def decode(self, operation: str, coded: bytes, base: bytes, size_bytes: int) -> bytes:
        """As `Coder`."""
        return operations.decode_delta(operation, coded, base, size_bytes)


class _Job(NamedTuple):
    span: ChunkSpan
    base: ChunkSpan | None


_coder: Coder | None = None  # set before the workers are forked: they inherit it


class Steps:
    """Encoding and applying with one pool of workers.

    Args:
        coder: for every chunk.
        workers: how many processes; 0 works in this one.
        paired: whether there is a base; a full package has none.
    """

    def __init__(self, coder: Coder, workers: int, *, paired: bool = True) -> None:
        global _coder  # noqa: PLW0603 - what is forked is the module
        _coder = coder
        self._coder = coder
        self._paired = paired
        self._costs: dict[int, tuple[int, float]] = {}  # by process: the last it said
        self._pool = None
        if workers:
            self._pool = ProcessPoolExecutor(workers, multiprocessing.get_context("fork"))
            list(self._pool.map(_nothing, range(4 * workers)))

    def workers_cost(self) -> tuple[int, float]:
        """The peaks of the workers' memory in bytes, and their seconds of processors, both added up."""
        return sum(cost[0] for cost in self._costs.values()), sum(cost[1] for cost in self._costs.values())

    def encode(self, base: Path, target: Path, patch: Path) -> None:
        """Write the patch from `base` to `target`."""
        spans = list(cut_file(target, parse(target)))
        jobs = [_Job(span, None) for span in spans]
        known: dict[bytes, ChunkSpan] = {}
        if self._paired:
            base_spans = list(cut_file(base, parse(base)))
            digests = self._each(_digests, base, base_spans, [span.size_bytes for span in base_spans])
            known = dict(zip(digests, base_spans, strict=True))
            jobs = [_Job(span, found) for span, found in pair_chunks(base, base_spans, target, spans)]
        digested = list(self._each(_digests, target, spans, [span.size_bytes for span in spans]))
        fresh = [job for job, digest in zip(jobs, digested, strict=True) if digest not in known]
        entries = []
        with patch.open("wb") as file:
            coded_chunks = self._each(_encode, (base, target), fresh, [job.span.size_bytes for job in fresh])
            for job, digest in zip(jobs, digested, strict=True):
                span, where = job.span, known.get(digest)
                if where is not None:
                    operation, coded = COPY, b""
                else:
                    operation, coded = next(coded_chunks)
                    where = None if operation in self._coder.baseless else job.base
                file.write(coded)
                at = (where.offset, where.size_bytes) if where else (0, 0)
                entries.append(Entry(span.offset, span.size_bytes, digest, operation, len(coded), *at))
            index = zstandard.compress(msgspec.msgpack.encode(entries), 19)
            file.write(index + struct.pack("<I", len(index)))

    def apply(self, base: Path, patch: Path, out: Path) -> None:
        """Rebuild the target from `base` and the patch.

        Raises:
            ValueError: a chunk is not what the index says.
        """
        with patch.open("rb") as file:
            file.seek(-4, os.SEEK_END)
            (length,) = struct.unpack("<I", file.read(4))
            file.seek(-4 - length, os.SEEK_END)
            entries = msgspec.msgpack.decode(zstandard.decompress(file.read(length)), type=list[Entry])
        with out.open("wb") as file:
            file.truncate(max((entry.offset + entry.size_bytes for entry in entries), default=0))
        jobs, position = [], 0
        for entry in entries:
            jobs.append((entry, position))
            position += entry.coded_bytes
        for _ in self._each(_apply, (base, patch, out), jobs, [entry.size_bytes for entry in entries]):
            pass

    def _each(self, task: Any, where: Any, jobs: Sequence[Any], sizes: Iterable[int]) -> Iterator[Any]:  # noqa: ANN401 - any of the tasks below
        """What the task gives for every job, in order."""
        batches: list[tuple[Any, Any, list[Any]]] = []
        room_bytes = 0
        for job, size_bytes in zip(jobs, sizes, strict=True):
            if room_bytes < size_bytes:
                batches.append((task, where, []))
                room_bytes = _BATCH_BYTES
            batches[-1][2].append(job)
            room_bytes -= size_bytes
        for pid, cost, found in (self._pool.map if self._pool else map)(_work, batches):
            if pid != os.getpid():
                self._costs[pid] = max(cost, self._costs.get(pid, cost))
            yield from found


def steps(name: str) -> Steps:
    """The steps of a method of ours, with one worker per core that this process may use."""
    if name == OURS_NUMPY:
        os.environ[LOOPS_VARIABLE] = "numpy"
    loops()  # chosen and loaded once, before the workers are forked
    return Steps(ProductCoder(), len(os.sched_getaffinity(0)), paired=name != FULL)


def _nothing(index: int) -> int:
    return index


def _work(given: tuple[Any, Any, Sequence[Any]]) -> tuple[int, tuple[int, float], Any]:
    task, where, jobs = given
    found = task(where, jobs)
    cost = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, time.process_time()
    return os.getpid(), cost, found


def _read(fd: int, span: ChunkSpan) -> bytes:
    return os.pread(fd, span.size_bytes, span.offset)


def _digests(path: Path, spans: Sequence[ChunkSpan]) -> list[bytes]:
    with path.open("rb", buffering=0) as file:
        return [bytes.fromhex(digest_bytes(_read(file.fileno(), span))) for span in spans]


def _encode(paths: tuple[Path, Path], jobs: Sequence[_Job]) -> list[tuple[str, bytes]]:
    base, target = paths
    found = []
    with base.open("rb", buffering=0) as old_file, target.open("rb", buffering=0) as new_file:
        for job in jobs:
            new = _read(new_file.fileno(), job.span)
            old = _read(old_file.fileno(), job.base) if job.base else None
            assert _coder is not None
            found.append(_coder.encode(new, old, job.span.kind))
    return found


def _apply(paths: tuple[Path, Path, Path], jobs: Sequence[tuple[Entry, int]]) -> tuple[()]:
    base, patch, out = paths
    with base.open("rb", buffering=0) as old, patch.open("rb", buffering=0) as coded_file, out.open("r+b", 0) as new:
        for entry, position in jobs:
            before = os.pread(old.fileno(), entry.base_bytes, entry.base_offset) if entry.base_bytes else b""
            coded = os.pread(coded_file.fileno(), entry.coded_bytes, position)
            assert _coder is not None
            chunk = _coder.decode(entry.operation, coded, before, entry.size_bytes)
            if bytes.fromhex(digest_bytes(chunk)) != entry.digest:
                raise ValueError(f"the chunk at {entry.offset} is damaged")
            os.pwrite(new.fileno(), chunk, entry.offset)
    return ()
