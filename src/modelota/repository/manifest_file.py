"""The manifest as a file: canonical JSON in one Zstandard frame (`docs/formats/manifest.md`)."""

from __future__ import annotations

from typing import Final

import zstandard

from modelota.delivery import releases
from modelota.errors import RefuseContent
from modelota.spec.catalog import CatalogRelease
from modelota.spec.document import canonical, read
from modelota.spec.limits import MANIFEST_MAX_BYTES, MANIFEST_SEALED_MAX_BYTES
from modelota.spec.manifest import Manifest

_LEVEL: Final = 12  # digests do not compress, so higher levels only cost time


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
    return releases.open_manifest(packed, model, release).manifest
