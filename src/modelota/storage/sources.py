"""Chunks that the device holds already: any installed or kept version is a source (design decision 3).

A chunk is found by its digest through the pinned manifests of the slots, or among the kept chunks, and verified each
time it is read: a file may have changed under us, and then its chunk is simply not held.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple, Protocol

from modelota.content.digest import digest_bytes
from modelota.spec import names
from modelota.spec.manifest import FileEntry, Manifest
from modelota.storage.cloning import PlainPlace
from modelota.storage.sealed_file import read_sealed


class ChunkStore(Protocol):
    """Holds chunks by digest (`storage.kept.KeptChunks`)."""

    @property
    def held(self) -> frozenset[str]:
        """Digests of the chunks that should be there."""
        ...

    def read(self, digest: str) -> bytes | None:
        """The bytes of a chunk, verified; None when it is not there whole."""
        ...


class _Place(NamedTuple):
    path: Path
    offset: int
    size_bytes: int
    file_bytes: int

    def read(self) -> bytes | None:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return None
        try:
            return os.pread(descriptor, self.size_bytes, self.offset)
        except OSError:  # an unreadable sector is a damaged chunk: it can be fetched
            return None
        finally:
            os.close(descriptor)


class _SealedPlace(NamedTuple):
    file: FileEntry
    path: Path
    secret: bytes
    offset: int
    size_bytes: int

    def read(self) -> bytes | None:
        file = self.file
        return read_sealed(self.path, self.secret, file.digest, file.size_bytes, self.offset, self.size_bytes)


class Sources:
    """An index from chunk digests to places in slots.

    Args:
        damaged: digests that were found damaged before; they are not held until they are seen whole again elsewhere.
        kept: chunks of versions that are kept without a slot.
    """

    def __init__(self, damaged: Collection[str] = (), kept: ChunkStore | None = None) -> None:
        self._places: dict[str, list[_Place | _SealedPlace]] = {}
        self._damaged = set(damaged)
        self._kept = kept
        self._kept_digests = kept.held if kept is not None else frozenset()

    def add(self, manifest: Manifest, variant_name: str, slot: Path, *, secret: bytes | None = None) -> None:
        """Index the chunks of a slot directory that was made from `manifest`.

        Args:
            manifest: of the release.
            variant_name: of the release.
            slot: the slot's directory.
            secret: of the slot when its files are sealed; None when they are plain.
        """
        for file in manifest.variant(variant_name).files:
            path = slot / "files" / names.safe_path(file.path)
            offset = 0
            for index in file.chunks:
                chunk = manifest.chunks[index]
                place = (
                    _Place(path, offset, chunk.size_bytes, file.size_bytes)
                    if secret is None
                    else _SealedPlace(file, path, secret, offset, chunk.size_bytes)
                )
                self._places.setdefault(chunk.digest, []).append(place)
                offset += chunk.size_bytes

    @property
    def held(self) -> frozenset[str]:
        """Digests of the chunks that should be here."""
        return frozenset((self._places.keys() | self._kept_digests) - self._damaged)

    def plain_places(self, digest: str) -> list[PlainPlace]:
        """Where a chunk should lie in plain files: to share their blocks, and to look at what was shared."""
        return [
            PlainPlace(place.path, place.offset, place.file_bytes)
            for place in self._places.get(digest, ())
            if isinstance(place, _Place)
        ]

    def read(self, digest: str) -> bytes | None:
        """The bytes of a chunk, verified; None when no place holds it whole."""
        for place in self._places.get(digest, ()):
            data = place.read()
            if data is not None and digest_bytes(data) == digest:
                return data
        return self._kept.read(digest) if self._kept is not None and digest in self._kept_digests else None

    def damaged(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of `digests` that no place holds whole."""
        return frozenset(digest for digest in digests if self.read(digest) is None)
