"""Versions that are kept without a slot: their chunks, sealed, each under its digest (requirements 5.2.3-b, 7.1.2-b).

Only chunks that no remaining slot holds are kept. A chunk counts when it opens and has its digest, so what an
interruption left half written is not there, and is written again: nothing here needs a journal of its own.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from modelota import faults
from modelota.content.digest import digest_bytes
from modelota.content.local_seal import open_stream, seal_stream, sealed_size
from modelota.errors import AskPerson, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES
from modelota.spec.manifest import Manifest
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.sources import ChunkStore

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


class KeptChunks:
    """The kept chunks of one model. Not thread-safe for writing; `read` may be called from several threads.

    Args:
        directory: theirs alone.
        disk: the writer.
        secret: of the device (`agent.local_secret`), from which the key of each chunk is derived.
    """

    def __init__(self, directory: Path, disk: Disk, secret: bytes) -> None:
        self._directory = directory
        self._disk = disk
        self._secret = secret

    def _path(self, digest: str) -> Path:
        return self._directory / digest

    @property
    def held(self) -> frozenset[str]:
        """Digests of the chunks that should be there; `read` says which are.

        Raises:
            AskPerson: `permission-denied`.
            TryLater: `disk-error`.
        """
        return frozenset(name for name in self._names() if _DIGEST.fullmatch(name))

    def _names(self) -> list[str]:
        with disk_errors(self._directory):
            try:
                return sorted(entry.name for entry in self._directory.iterdir())
            except FileNotFoundError:
                return []

    def read(self, digest: str) -> bytes | None:
        """The bytes of a chunk; None when it is not there, does not open, or is another."""
        plain = io.BytesIO()
        try:
            descriptor = os.open(self._path(digest), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            with os.fdopen(descriptor, "rb") as file:
                if os.fstat(descriptor).st_size > sealed_size(CHUNK_MAX_BYTES):
                    return None
                open_stream(file, plain, self._secret, _object_id(digest))
        except (OSError, RefuseContent):
            return None
        data = plain.getvalue()
        return data if digest_bytes(data) == digest else None

    def hold(self, digest: str, data: bytes) -> None:
        """Seal and write a chunk. Its bytes are durable then, its name with the next `flush`.

        It is written under its final name: a torn one does not open.

        Raises:
            RefuseContent: `chunk-mismatch`: `data` is not the chunk.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        found = digest_bytes(data)
        if found != digest:
            raise RefuseContent("chunk-mismatch", chunk=digest, found=found)
        sealed = io.BytesIO()
        seal_stream(io.BytesIO(data), sealed, self._secret, _object_id(digest))
        path = self._path(digest)
        self._disk.make_directory(self._directory)
        with disk_errors(path):
            faults.point("kept.hold")
        descriptor = self._disk.open_file(path, kind="kept chunk")
        try:
            self._disk.write_at(descriptor, 0, sealed.getbuffer(), path)
            self._disk.truncate(descriptor, sealed.getbuffer().nbytes, path)
            self._disk.sync(descriptor, path)
        finally:
            os.close(descriptor)

    def flush(self) -> None:
        """Make the names of what was held durable."""
        if self._directory.is_dir():
            self._disk.sync_directory(self._directory)

    def prune(self, keep: Collection[str]) -> None:
        """Remove every chunk that is not in `keep`; with none to keep, the directory too.

        Raises:
            AskPerson: `permission-denied`.
            TryLater: `disk-error`.
        """
        if not self._directory.is_dir():
            return
        names = self._names()
        going = [name for name in names if name not in keep]
        if not going and names:
            return
        with disk_errors(self._directory):
            faults.point("kept.prune")
        if len(going) == len(names):
            self._disk.remove(self._directory)
        else:
            for name in going:
                self._disk.remove(self._directory / name)


def _object_id(digest: str) -> str:
    return f"kept chunk {digest}"


def chunk_sizes(manifest: Manifest, variant_name: str) -> dict[str, int]:
    """Size by digest of every chunk of a variant, in reading order."""
    chunks = (manifest.chunks[index] for file in manifest.variant(variant_name).files for index in file.chunks)
    return {chunk.digest: chunk.size_bytes for chunk in chunks}


def kept_bytes(versions: Iterable[Mapping[str, int]], staying: Collection[str], held: Collection[str]) -> int:
    """Bytes that have to be written to keep `versions` once only the slots that hold `staying` remain.

    Args:
        versions: `chunk_sizes` of the versions to be kept.
        staying: digests of the chunks in the remaining slots.
        held: digests of the chunks that are kept already.
    """
    wanted: dict[str, int] = {}
    for sizes in versions:
        wanted.update(sizes)
    return sum(sealed_size(size) for digest, size in wanted.items() if digest not in staying and digest not in held)


def keep_versions(
    kept: KeptChunks,
    versions: Iterable[Mapping[str, int]],
    staying: ChunkStore,
    places: ChunkStore,
    on_progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> frozenset[str]:
    """Have `kept` hold what `versions` need and the remaining slots don't, and nothing else.

    To be called before slots are removed, after it was decided that they go: when this returns, every chunk is durable.
    Interrupted anywhere it can be repeated, as long as the slots were not removed. What nobody is to go back to is
    removed first, so that its space serves.

    Args:
        kept: the kept chunks.
        versions: `chunk_sizes` of the versions to be kept.
        staying: what the remaining slots hold.
        places: where chunks are read: every slot that is still there.
        on_progress: called with the bytes done, and of how many.

    Returns:
        Digests of chunks that could not be kept: damaged, or (the rest, from some chunk on) no space left for them.

    Raises:
        AskPerson: `permission-denied`.
        TryLater: `disk-error`.
    """
    wanted: dict[str, int] = {}
    for sizes in versions:
        wanted.update(sizes)
    in_slots, already = staying.held, kept.held
    # a copy in `kept` goes only when the copy in a slot was looked at
    needed = {
        digest: size_bytes
        for digest, size_bytes in wanted.items()
        if digest not in in_slots or (digest in already and staying.read(digest) is None)
    }
    kept.prune(needed.keys())
    total, done = sum(needed.values()), 0
    lost: set[str] = set()
    has_space = True
    for digest, size_bytes in needed.items():
        if digest not in already or kept.read(digest) is None:
            data = places.read(digest) if has_space else None
            if data is None:
                lost.add(digest)
            else:
                has_space = _held(kept, digest, data)
                if not has_space:
                    lost.add(digest)
        done += size_bytes
        on_progress(done, total)
    kept.flush()
    return frozenset(lost)


def _held(kept: KeptChunks, digest: str, data: bytes) -> bool:
    """Hold a chunk if there is space: a way back without fetching is not worth a disk that stays full."""
    try:
        kept.hold(digest, data)
    except AskPerson as error:
        if error.code != "no-space":
            raise
        return False
    return True
