"""Small documents for the tests of this room."""

from __future__ import annotations

import hashlib
from typing import Any

import zstandard

from modelota.spec.catalog import Catalog, CatalogRelease
from modelota.spec.document import canonical, digest_of
from modelota.spec.manifest import (
    Chunk,
    FileEntry,
    KeyWrap,
    Manifest,
    Pack,
    Package,
    Requires,
    Route,
    RuntimeUse,
    Variant,
)
from modelota.spec.selftest import SelfTests

MODEL = "acme/assistant"
RELEASED = "2026-11-01T00:00:00Z"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def pack(name: str, size_bytes: int, frames: int) -> Pack:
    wraps = (KeyWrap(recipient="hub", epoch=1, kem="x25519", sealed=b"sealed"),)
    return Pack(digest=digest(name), size_bytes=size_bytes, frames=frames, suite="aes-256-gcm", wraps=wraps)


def manifest(version: str = "1.1.1", routes: tuple[Route, ...] | None = None, **changes: Any) -> Manifest:
    """A release of one file with three chunks in two packs."""
    chunks = tuple(Chunk(digest=digest(f"chunk {number}"), size_bytes=100 + number) for number in range(3))
    size_bytes = sum(chunk.size_bytes for chunk in chunks)
    if routes is None:
        routes = (
            Route(chunk=2, pack=1, frame=0, offset=16, length_bytes=40, codec="zstd"),
            Route(chunk=1, pack=0, frame=1, offset=76, length_bytes=50, codec="raw"),
            Route(chunk=0, pack=0, frame=0, offset=16, length_bytes=60, codec="zstd"),
        )
    variant = Variant(
        name="q8",
        files=(FileEntry(path="model.bin", size_bytes=size_bytes, digest=digest("file"), chunks=(0, 1, 2)),),
        runtime=RuntimeUse(name="command", entry="model.bin"),
        requires=Requires(),
        self_tests=SelfTests(),
        packages=(Package(mode="full", size_bytes=sum(r.length_bytes for r in routes), routes=routes),),
    )
    fields: dict[str, Any] = {
        "model": MODEL,
        "version": version,
        "released_at": RELEASED,
        "kind": "feature",
        "notes": {"en": "First."},
        "chunks": chunks,
        "packs": (pack("one", 126, 2), pack("two", 56, 1)),
        "variants": (variant,),
    }
    return Manifest(**(fields | changes))


def packed(document: object) -> bytes:
    return zstandard.ZstdCompressor().compress(canonical(document))


def release(version: str, document: Manifest | None = None, **changes: Any) -> CatalogRelease:
    described = document if document is not None else manifest(version)
    fields: dict[str, Any] = {
        "version": version,
        "manifest_digest": digest_of(described),
        "manifest_bytes": len(canonical(described)),
        "released_at": RELEASED,
        "kind": "feature",
    }
    return CatalogRelease(**(fields | changes))


def catalog(*versions: str, **changes: Any) -> Catalog:
    return Catalog(model=MODEL, releases=tuple(release(version) for version in versions), **changes)
