"""The manifest as a file: canonical JSON in one Zstandard frame (`docs/formats/manifest.md`)."""

from __future__ import annotations

import hashlib
from typing import Final

import zstandard

from modelota.errors import RefuseContent
from modelota.spec.catalog import CatalogRelease
from modelota.spec.document import canonical, read
from modelota.spec.limits import KIB, MANIFEST_MAX_BYTES, MANIFEST_SEALED_MAX_BYTES, MIB
from modelota.spec.manifest import Manifest

_LEVEL: Final = 12  # digests do not compress, so higher levels only cost time
_WINDOW_MAX_BYTES: Final = 8 * MIB
_READ_BYTES: Final = 256 * KIB


def pack_manifest(manifest: Manifest) -> tuple[bytes, bytes]:
    """The canonical bytes of `manifest`, which digests are taken over, and the file that holds them.

    Raises:
        RefuseContent: `document-too-large`; `document-invalid` (it exceeds a limit that readers enforce).
    """
    plain = canonical(manifest)
    read(plain, Manifest, MANIFEST_MAX_BYTES)  # nothing is published that a device could not read
    packed = zstandard.ZstdCompressor(level=_LEVEL, write_content_size=True).compress(plain)
    if len(packed) > MANIFEST_SEALED_MAX_BYTES:
        limit_bytes = MANIFEST_SEALED_MAX_BYTES
        raise RefuseContent(
            "document-too-large", document=Manifest.NAME, limit_bytes=limit_bytes, found_bytes=len(packed)
        )
    return plain, packed


def open_manifest(packed: bytes, model: str, release: CatalogRelease) -> Manifest:
    """Decompress, check against the catalog's entry, and read a manifest.

    Raises:
        RefuseContent: `document-too-large`, `document-invalid`, `document-needs-newer`, `manifest-mismatch`,
            `unsafe-path`.
    """
    plain = _decompress(packed, min(release.manifest_bytes, MANIFEST_MAX_BYTES))
    if hashlib.sha256(plain).hexdigest() != release.manifest_digest:
        raise RefuseContent("manifest-mismatch", model=model, version=release.version, detail="digest")
    manifest = read(plain, Manifest, MANIFEST_MAX_BYTES)
    if (manifest.model, manifest.version) != (model, release.version):
        raise RefuseContent("manifest-mismatch", model=model, version=release.version, detail="is of another release")
    manifest.check()
    return manifest


def _decompress(packed: bytes, limit_bytes: int) -> bytes:
    plain = bytearray()
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_WINDOW_MAX_BYTES).stream_reader(packed)
        while piece := reader.read(_READ_BYTES):
            plain += piece
            if len(plain) > limit_bytes:
                raise RefuseContent(
                    "document-too-large", document=Manifest.NAME, limit_bytes=limit_bytes, found_bytes=len(plain)
                )
    except zstandard.ZstdError as error:
        raise RefuseContent("document-invalid", document=Manifest.NAME, detail=str(error)[:200]) from error
    return bytes(plain)
