"""Chunks that the device holds already: any installed version is a source (design decision 3).

A chunk is found by its digest through the pinned manifests of the slots, and verified each time it is read: a slot's
file may have changed under us, and then its chunk is simply not held.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from modelota.content.digest import digest_bytes
from modelota.spec import names
from modelota.spec.manifest import Manifest


class _Place(NamedTuple):
    path: Path
    offset: int
    size_bytes: int


class Sources:
    """An index from chunk digests to places in slots.

    Args:
        damaged: digests that were found damaged before; they are not held until they are seen whole again elsewhere.
    """

    def __init__(self, damaged: Collection[str] = ()) -> None:
        self._places: dict[str, list[_Place]] = {}
        self._damaged = set(damaged)

    def add(self, manifest: Manifest, variant_name: str, slot: Path) -> None:
        """Index the chunks of a slot directory that was made from `manifest`."""
        for file in manifest.variant(variant_name).files:
            path = slot / "files" / names.safe_path(file.path)
            offset = 0
            for index in file.chunks:
                chunk = manifest.chunks[index]
                self._places.setdefault(chunk.digest, []).append(_Place(path, offset, chunk.size_bytes))
                offset += chunk.size_bytes

    @property
    def held(self) -> frozenset[str]:
        """Digests of the chunks that should be here."""
        return frozenset(self._places.keys() - self._damaged)

    def read(self, digest: str) -> bytes | None:
        """The bytes of a chunk, verified; None when no place holds it whole."""
        for place in self._places.get(digest, ()):
            data = _read(place)
            if data is not None and digest_bytes(data) == digest:
                return data
        return None

    def damaged(self, digests: Iterable[str]) -> frozenset[str]:
        """Those of `digests` that no place holds whole."""
        return frozenset(digest for digest in digests if self.read(digest) is None)


def _read(place: _Place) -> bytes | None:
    try:
        descriptor = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return os.pread(descriptor, place.size_bytes, place.offset)
    except OSError:  # an unreadable sector is a damaged chunk: it can be fetched
        return None
    finally:
        os.close(descriptor)
