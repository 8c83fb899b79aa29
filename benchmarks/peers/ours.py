"""Ours, as a file: made by the publisher's own steps, applied by the device's own.

Encoding scans both files, pairs chunks and codes them with `modelota.repository`, in its worker processes. Applying
opens frames with `modelota.storage.staging`, in its threads, against a base that is verified chunk by chunk.

A patch is the coded chunks one after the other, then an index (MessagePack, Zstandard), then the index's length. The
index holds what a device reads from two manifests: size and digest of every chunk, its operation and coded size, and
where its base lies. Sealing adds 16 bytes per frame and is not measured here (`benchmarks/seal.py` does), and nothing
is flushed (`benchmarks/install.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import struct
from collections import deque
from collections.abc import Iterator
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Final, NamedTuple, Self

import msgspec
import zstandard
from peers.methods import OURS_NUMPY

from modelota.content.delta import BASELESS
from modelota.content.delta.loops import LOOPS_VARIABLE, loops
from modelota.content.digest import digest_bytes
from modelota.errors import RefuseContent
from modelota.repository.description import SourceVariant
from modelota.repository.differences import map_target
from modelota.repository.encoding import POOL_FROM_BYTES, ChunkJob, Coded, DeltaJob, Encoders, code_chunk, code_delta
from modelota.repository.pairing import MappedFile, pair_chunks
from modelota.repository.scan import scan_sources
from modelota.spec.manifest import DELTA_PREFIX, Chunk, Manifest, Requires, RuntimeUse
from modelota.spec.offer import Plan, PlannedFrame
from modelota.spec.selftest import SelfTests
from modelota.storage.durable import Disk
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging

COPY: Final = "copy"  # the operation of a chunk that the base has
_PACK: Final = "patch"
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


class Place(NamedTuple):
    """A chunk of the base: digest and place in the file; one of size 0 is none."""

    digest: bytes
    offset: int
    size_bytes: int


NOWHERE: Final = Place(b"", 0, 0)


class Entry(NamedTuple):
    """One distinct chunk of the target in a patch, and the chunk of the base that it is, or is decoded against."""

    digest: bytes
    size_bytes: int
    operation: str
    coded_bytes: int
    base: Place


class Index(NamedTuple):
    """What is at the end of a patch: the distinct chunks, and which of them follow each other in the target."""

    entries: list[Entry]
    order: list[int]


class Cost(NamedTuple):
    """Peak memory in bytes and seconds of processors, of all workers."""

    rss_bytes: int
    cpu_s: float


class Maker:
    """Encodes on one worker process per core, which are started with it: a publisher's may run for hours.

    Args:
        workers: how many; 0 or 1 works in this process.
        paired: whether there is a base; a full package has none.
    """

    def __init__(self, workers: int, *, paired: bool = True) -> None:
        self._encoders = Encoders(workers)
        self._workers = workers
        self._paired = paired
        self._before = Cost(0, 0.0)

    def __enter__(self) -> Self:
        self._encoders.__enter__()
        if self._workers > 1:
            list(self._encoders.run(_nothing, range(4 * self._workers), POOL_FROM_BYTES))
        self._before = _children()
        return self

    def __exit__(self, *error: object) -> None:
        self._encoders.__exit__(None, None, None)

    def workers_cost(self) -> Cost:
        """What the workers took since they were started."""
        now = _children()
        return Cost(now.rss_bytes, now.cpu_s - self._before.cpu_s)

    def encode(self, base: Path, target: Path, patch: Path) -> None:
        """Write the patch from `base` to `target`."""
        old = _mapped(base) if self._paired else None
        new = _mapped(target, follow=old)
        known, places = _places(old) if old else {}, _places(new)
        partners = pair_chunks([new], [old]) if old else {}
        kinds = {chunk.digest: span.kind for chunk, span in zip(new.chunks, new.spans, strict=True)}
        fresh = [digest for digest in places if digest not in known]
        ahead: deque[bytes] = deque()

        def jobs() -> Iterator[ChunkJob | DeltaJob]:
            for digest in fresh:
                data = new.read(places[digest].offset, places[digest].size_bytes)
                ahead.append(data)
                partner = partners.get(digest)
                if old is None or partner is None:
                    yield ChunkJob(data, kinds[digest])
                else:
                    where = known[partner.base.digest]
                    yield DeltaJob(data, old.read(where.offset, where.size_bytes), partner.kind)

        work_bytes = sum(places[digest].size_bytes for digest in fresh)
        coded_chunks = self._encoders.run(_code, jobs(), work_bytes)
        entries = []
        with patch.open("wb") as file:
            for digest, place in places.items():
                if digest in known:
                    operation, data, where = COPY, b"", known[digest]
                else:
                    operation, coded = next(coded_chunks)
                    plain = ahead.popleft()
                    data = plain if operation == "raw" else coded
                    where = NOWHERE if operation in BASELESS else known[partners[digest].base.digest]
                file.write(data)
                entries.append(Entry(place.digest, place.size_bytes, operation, len(data), where))
            numbers = {digest: number for number, digest in enumerate(places)}
            order = [numbers[chunk.digest] for chunk in new.chunks]
            index = zstandard.compress(msgspec.msgpack.encode(Index(entries, order)), 19)
            file.write(index + struct.pack("<I", len(index)))


def apply(base: Path, patch: Path, out: Path) -> None:
    """Rebuild the target from `base` and the patch.

    Raises:
        RefuseContent: `chunk-mismatch`: a chunk of the base or of the result is not what the index says.
    """
    index = read_index(patch)
    chunks = tuple(Chunk(entry.digest.hex(), entry.size_bytes) for entry in index.entries)
    starts = accumulate((entry.coded_bytes for entry in index.entries), initial=0)
    frames = tuple(
        _frame(number, entry, start)
        for number, (entry, start) in enumerate(zip(index.entries, starts, strict=False))
        if entry.operation != COPY
    )
    local = tuple(number for number, entry in enumerate(index.entries) if entry.operation == COPY)
    plan = Plan(mode="differential", manifest_digest="", variant="", frames=frames, local_chunks=local)
    target_places: dict[int, list[int]] = {}
    offset = 0
    for number in index.order:
        target_places.setdefault(number, []).append(offset)
        offset += chunks[number].size_bytes
    sources = _BaseFile(base, index.entries)
    with closing(_Patch(patch, plan, _manifest(chunks), sources)) as staging, out.open("wb", buffering=0) as file:

        def write(number: int, plain: bytes) -> None:
            for place in target_places[number]:
                os.pwrite(file.fileno(), plain, place)

        file.truncate(offset)
        for number in local:
            write(number, sources.chunk(chunks[number].digest))
        for frame, plain in staging.opened(frames):
            write(frame.chunk, staging.chunk(frame) if plain is None else plain)  # which says what is wrong


def prepare(name: str) -> None:
    """Choose and load the inner loops of a method of ours before the clock runs."""
    if name == OURS_NUMPY:
        os.environ[LOOPS_VARIABLE] = "numpy"
    loops()


def _mapped(place: Path, *, follow: MappedFile | None = None) -> MappedFile:
    variant = SourceVariant(
        "default", RuntimeUse(name="command", entry="model"), Requires(), SelfTests(functional=()), (("model", place),)
    )
    cuts = {place: [chunk.size_bytes for chunk in follow.chunks]} if follow else {}
    (found,) = map_target(variant, scan_sources([variant], _ignore, cuts))
    return found


def _places(file: MappedFile) -> dict[str, Place]:
    """Where each distinct chunk lies first, in file order."""
    found: dict[str, Place] = {}
    for chunk, start in zip(file.chunks, file.starts, strict=True):
        found.setdefault(chunk.digest, Place(bytes.fromhex(chunk.digest), start, chunk.size_bytes))
    return found


def _code(job: ChunkJob | DeltaJob) -> Coded:
    if isinstance(job, ChunkJob):
        return code_chunk(job)
    coded = code_delta(job)
    if coded is None:
        raise ValueError("a delta did not decode to what it was made from")
    return coded


def _nothing(number: int) -> int:
    return number


def _ignore(_: int) -> None:
    """Nobody watches the progress."""


def _children() -> Cost:
    """Of the processes that this one started and that still run."""
    rss_bytes, ticks = 0, 0
    for child in multiprocessing.active_children():
        place = Path(f"/proc/{child.pid}")
        lines = (place / "status").read_text(encoding="utf-8").splitlines()
        rss_bytes += next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
        fields = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return Cost(rss_bytes, ticks / _TICKS_PER_S)


def read_index(patch: Path) -> Index:
    """The index of a patch."""
    with patch.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        (length,) = struct.unpack("<I", file.read(4))
        file.seek(-4 - length, os.SEEK_END)
        return msgspec.msgpack.decode(zstandard.decompress(file.read(length)), type=Index)


def _frame(number: int, entry: Entry, start: int) -> PlannedFrame:
    has_base = bool(entry.base.size_bytes)
    return PlannedFrame(
        pack=_PACK,
        frame=number,
        offset=start,
        length_bytes=entry.coded_bytes,
        codec=(DELTA_PREFIX if has_base else "") + entry.operation,
        chunk=number,
        base=entry.base.digest.hex() if has_base else None,
        base_bytes=entry.base.size_bytes,
    )


def _manifest(chunks: tuple[Chunk, ...]) -> Manifest:
    """What staging reads of a manifest."""
    return Manifest(
        model="bench/model", version="1.0.0", released_at="", kind="fix", notes={}, chunks=chunks, packs=(), variants=()
    )


class _BaseFile(Sources):
    """The base as a device's source of chunks: each verified whenever it is read."""

    def __init__(self, base: Path, entries: list[Entry]) -> None:
        super().__init__()
        self._base = base
        self._where = {entry.base.digest.hex(): entry.base for entry in entries}

    def read(self, digest: str) -> bytes | None:
        """As `Sources`."""
        place = self._where[digest]
        with self._base.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), place.size_bytes, place.offset)
        return data if digest_bytes(data) == digest else None

    def chunk(self, digest: str) -> bytes:
        """The bytes of a chunk.

        Raises:
            RefuseContent: `chunk-mismatch`.
        """
        data = self.read(digest)
        if data is None:
            raise RefuseContent("chunk-mismatch", chunk=digest, found=None)
        return data


class _Patch(Staging):
    """A patch as the only staged pack, of frames that are not sealed."""

    def __init__(self, patch: Path, plan: Plan, manifest: Manifest, sources: Sources) -> None:
        self._patch = patch
        disk = Disk((patch.parent,), _Forgetful())
        super().__init__(patch.parent, plan, manifest, lambda _: _Unsealed(), disk, sources)

    def path(self, pack: str) -> Path:  # noqa: ARG002 - there is one
        """As `Staging`."""
        return self._patch


class _Unsealed:
    def open(self, frame: int, sealed: bytes) -> bytes:  # noqa: ARG002 - the interface
        return sealed


class _Forgetful:
    """A ledger for files that the benchmark removes by itself."""

    def will_create(self, path: Path, kind: str) -> None:
        pass

    def removed(self, path: Path) -> None:
        pass
