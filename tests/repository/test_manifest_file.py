"""Tests of modelota.repository.manifest_file."""

import hashlib
from typing import Any

import msgspec
import pytest
import zstandard

from modelota.errors import RefuseContent
from modelota.repository.manifest_file import open_manifest, pack_manifest
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import CatalogRelease
from modelota.spec.manifest import Manifest


@pytest.fixture
def manifest(press: Any, shop: Workspace) -> Manifest:
    """A published manifest."""
    press.publish(shop, "1.1.1")
    found: Manifest = press.device(shop).manifest("1.1.1").manifest
    return found


def _entry(plain: bytes, version: str = "1.1.1") -> CatalogRelease:
    return CatalogRelease(
        version=version,
        manifest_digest=hashlib.sha256(plain).hexdigest(),
        manifest_bytes=len(plain),
        released_at="2026-11-24T06:00:00Z",
        kind="fix",
    )


def test_there_and_back(manifest: Manifest) -> None:
    """What is packed is opened again, and packing twice gives the same bytes."""
    plain, packed = pack_manifest(manifest)
    assert open_manifest(packed, manifest.model, _entry(plain)) == manifest
    assert pack_manifest(manifest) == (plain, packed)


def test_what_readers_refuse_is_not_packed(manifest: Manifest) -> None:
    """A manifest beyond the limits of its own format does not become a file."""
    too_many = msgspec.structs.replace(manifest, permissions=("camera",) * 65)
    with pytest.raises(RefuseContent) as caught:
        pack_manifest(too_many)
    assert caught.value.code == "document-invalid"


def test_files_that_are_not_the_manifest(manifest: Manifest) -> None:
    """Another version, other bytes, more bytes than stated, and no zstd at all."""
    plain, packed = pack_manifest(manifest)
    for data, entry, code in (
        (packed, _entry(plain, "1.1.2"), "manifest-mismatch"),
        (packed, _entry(plain + b" "), "manifest-mismatch"),
        (packed, _entry(plain[:-1]), "document-too-large"),
        (zstandard.ZstdCompressor().compress(bytes(1 << 20)), _entry(plain), "document-too-large"),
        (b"not zstd", _entry(plain), "document-invalid"),
    ):
        with pytest.raises(RefuseContent) as caught:
            open_manifest(data, manifest.model, entry)
        assert caught.value.code == code
