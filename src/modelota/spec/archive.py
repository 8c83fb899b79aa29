"""An entry of the publisher's archive: what is kept of a released version, and that it is whole (clause 6.2-b)."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from modelota.spec.document import Document
from modelota.spec.manifest import Bytes, DigestText, ModelName, Time


class ArchivedObject(msgspec.Struct, frozen=True, array_like=True):
    """One object of the archive: its path there, its size, and the BLAKE3 of its bytes."""

    path: Annotated[str, Meta(max_length=1024)]
    size_bytes: Bytes
    digest: DigestText


class ArchiveEntry(Document, kw_only=True, frozen=True):
    """One released version in the archive. It is written last: where there is one, everything it names was there.

    Attributes:
        model: name.
        version: number.
        archived_at: when.
        manifest_digest: SHA-256 of the manifest's canonical JSON: which release it is the entry of.
        documents: manifest (as published), notes, test report, development information.
        packs: sealed, as published; the archive recipient's key opens them.
    """

    NAME: ClassVar[str] = "archive-entry"

    model: ModelName
    version: str
    archived_at: Time
    manifest_digest: DigestText
    documents: Annotated[tuple[ArchivedObject, ...], Meta(max_length=16)]
    packs: Annotated[tuple[ArchivedObject, ...], Meta(max_length=65_536)]
