"""Staging: fetched frames, still sealed, at the offsets they have in their packs (requirement 7.1.2-b, ADR 0002).

A staged frame counts only when it opens: its tag verifies, it decodes, and its chunk has the digest that the signed
manifest names. So what is staged is its own journal: after any interruption the next run opens what lies there and
fetches the rest, and a length or a note is never trusted.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Protocol

from modelota import faults
from modelota.content import delta
from modelota.content.delta.loops import loops
from modelota.content.digest import digest_bytes
from modelota.errors import AskPerson, RefuseContent
from modelota.spec.limits import MIB
from modelota.spec.manifest import DELTA_PREFIX, Chunk, Manifest
from modelota.spec.offer import Plan, PlannedFrame
from modelota.storage.durable import Disk, disk_errors, free_bytes
from modelota.storage.sources import Sources

OPEN_FILES_MAX: Final = 64
OPENERS_MAX: Final = 2  # each may hold a dozen times a chunk of 4 MiB while it decodes
UNSYNCED_MAX_BYTES: Final = 4 * MIB  # what power loss may cost again beyond what was in flight


class FrameOpener(Protocol):
    """Opens sealed frames of one pack (`modelota.content.pack.PackOpener`)."""

    def open(self, frame: int, sealed: bytes) -> bytes:
        """Verify and open frame `frame`.

        Raises:
            RefuseContent: `pack-tampered`.
        """
        ...


class Staging:
    """The staged packs of one plan, in one directory.

    Args:
        directory: where the packs are staged; made when missing.
        plan: what is to be staged.
        manifest: the release it belongs to.
        opener: gives the opener of a pack by its digest.
        disk: the writer.
        sources: chunks that the device holds, which deltas are decoded against.

    A `FrameSink` of `modelota.delivery.fetch`. Not thread-safe: one task puts frames.
    """

    def __init__(
        self,
        directory: Path,
        plan: Plan,
        manifest: Manifest,
        opener: Callable[[str], FrameOpener],
        disk: Disk,
        sources: Sources | None = None,
    ) -> None:
        self._directory = directory
        self._plan = plan
        self._chunks = manifest.chunks
        self._opener = opener
        self._disk = disk
        self._sources = sources or Sources()
        self._files: dict[str, int] = {}
        self._files_lock = threading.Lock()  # threads that open frames ahead share the open files
        self._have: set[tuple[str, int]] = set()
        self._unsynced: dict[str, int] = {}
        disk.make_directory(directory)

    def close(self) -> None:
        """Close the staged files. What was not flushed may be fetched again after power loss."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def path(self, pack: str) -> Path:
        """Where a pack is staged."""
        return self._directory / f"{pack}.pack"

    def scan(self, on_progress: Callable[[int], None] = lambda _: None) -> int:
        """Open every planned frame that lies in staging, and remember the good ones; returns their bytes."""
        good_bytes = 0
        self._have.clear()
        for frame, plain in self.opened(self._plan.frames):
            if plain is not None:
                self._have.add((frame.pack, frame.frame))
                good_bytes += frame.length_bytes
            on_progress(frame.length_bytes)
        return good_bytes

    def opened(self, frames: Sequence[PlannedFrame]) -> Iterator[tuple[PlannedFrame, bytes | None]]:
        """Each frame, in order, with the plain bytes of its chunk; None for one that does not open.

        Frames are opened ahead on up to `OPENERS_MAX` cores: opening the seal, decoding and hashing leave Python's
        lock. At most two frames a core are held at once.

        Raises:
            TryLater: `disk-error`.
        """
        # without the kernel a decoder needs several times the memory, and two would pass the device's bound
        cores = min(OPENERS_MAX, os.cpu_count() or 1) if loops().name == "native" else 1
        waiting: deque[tuple[PlannedFrame, Future[bytes | None]]] = deque()
        with ThreadPoolExecutor(max_workers=cores) as pool:
            try:
                for frame in frames:
                    waiting.append((frame, pool.submit(self._chunk_or_none, frame)))
                    if len(waiting) >= 2 * cores:
                        first, future = waiting.popleft()
                        yield first, future.result()
                while waiting:
                    first, future = waiting.popleft()
                    yield first, future.result()
            finally:
                for _, future in waiting:
                    future.cancel()

    def _chunk_or_none(self, frame: PlannedFrame) -> bytes | None:
        try:
            return self.chunk(frame)
        except RefuseContent:
            return None

    def reserve(self, missing: Sequence[PlannedFrame]) -> None:
        """Set disk space aside for frames that are still to be staged.

        Raises:
            AskPerson: `no-space` with what is needed and what is free.
        """
        need_bytes = sum(frame.length_bytes for frame in missing)
        try:
            for frame in missing:
                self._disk.reserve(self._file(frame.pack), frame.offset, frame.length_bytes, self.path(frame.pack))
        except AskPerson as error:
            if error.code != "no-space":
                raise
            free = free_bytes(self._directory)
            raise AskPerson("no-space", path=str(self._directory), need_bytes=need_bytes, free_bytes=free) from error

    def has(self, frame: PlannedFrame) -> bool:
        """Whether the frame is staged and opened when it was last looked at."""
        return (frame.pack, frame.frame) in self._have

    def put(self, frame: PlannedFrame, sealed: bytes) -> None:
        """Verify a fetched frame and stage it; it is durable after at most `UNSYNCED_MAX_BYTES` more, or `flush`.

        Raises:
            RefuseContent: `pack-tampered`, `chunk-mismatch`, `decode-limit`.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        self._open(frame, sealed)
        path = self.path(frame.pack)
        with disk_errors(path):
            faults.point("fetch.frame")
        self._disk.write_at(self._file(frame.pack), frame.offset, sealed, path)
        self._have.add((frame.pack, frame.frame))
        self._unsynced[frame.pack] = self._unsynced.get(frame.pack, 0) + len(sealed)
        if sum(self._unsynced.values()) >= UNSYNCED_MAX_BYTES:
            self.flush()

    def flush(self) -> None:
        """Make everything that was put durable."""
        for pack in self._unsynced:
            self._disk.sync(self._file(pack), self.path(pack))
        if self._unsynced:
            self._disk.sync_directory(self._directory)
        self._unsynced.clear()

    def chunk(self, frame: PlannedFrame) -> bytes:
        """Read a staged frame back and open it: the plain bytes of its chunk.

        Raises:
            RefuseContent: `pack-tampered` (also when nothing is staged there), `chunk-mismatch`, `decode-limit`.
            TryLater: `disk-error`.
        """
        path = self.path(frame.pack)
        if frame.pack not in self._files and not path.exists():
            raise RefuseContent("pack-tampered", pack=frame.pack, frame=frame.frame)
        with disk_errors(path), self._files_lock:
            sealed = os.pread(self._file(frame.pack), frame.length_bytes, frame.offset)
        return self._open(frame, sealed)

    def _open(self, frame: PlannedFrame, sealed: bytes) -> bytes:
        if len(sealed) != frame.length_bytes:
            raise RefuseContent("pack-tampered", pack=frame.pack, frame=frame.frame)
        chunk = self._chunks[frame.chunk]
        coded = self._opener(frame.pack).open(frame.frame, sealed)
        if frame.base is None:
            plain = delta.decode_delta(frame.codec, coded, b"", chunk.size_bytes)
        else:
            base = self._sources.read(frame.base)
            if base is None:
                raise RefuseContent("chunk-mismatch", chunk=frame.base, found=None)
            plain = delta.decode_delta(frame.codec.removeprefix(DELTA_PREFIX), coded, base, chunk.size_bytes)
        check_chunk(chunk, plain)
        return plain

    def remove_pack(self, pack: str) -> None:
        """Drop a staged pack whose chunks are durable elsewhere."""
        with self._files_lock:
            descriptor = self._files.pop(pack, None)
            if descriptor is not None:
                os.close(descriptor)
        self._disk.remove(self.path(pack))
        self._have = {entry for entry in self._have if entry[0] != pack}
        self._unsynced.pop(pack, None)

    def _file(self, pack: str) -> int:
        descriptor = self._files.pop(pack, None)
        if descriptor is None:
            if len(self._files) >= OPEN_FILES_MAX:  # a large release has more packs than a process may have files
                os.close(self._files.pop(next(iter(self._files))))
            descriptor = self._disk.open_file(self.path(pack), kind="staged pack")
        self._files[pack] = descriptor  # the last one used is the last one closed
        return descriptor


def check_chunk(chunk: Chunk, plain: bytes | memoryview) -> None:
    """Compare bytes with the chunk they should be.

    Raises:
        RefuseContent: `chunk-mismatch`.
    """
    found = digest_bytes(plain)
    if found != chunk.digest:
        raise RefuseContent("chunk-mismatch", chunk=chunk.digest, found=found)
