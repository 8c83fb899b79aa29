"""Tests of modelota.repository.baseline."""

from __future__ import annotations

import io
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from modelota.content.digest import digest_bytes
from modelota.content.formats.registry import parse
from modelota.delivery.objects import ObjectStore
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, RefuseContent
from modelota.repository import baseline
from modelota.repository.baseline import ArchiveKey, Baseline, PackKeys, read_archive_key
from modelota.repository.enrolment import add_class, enrolment_path, renew_class_key
from modelota.repository.workspace import Workspace
from modelota.spec.limits import CHUNK_MAX_BYTES, MIB
from modelota.spec.manifest import Chunk


def _open(press: Any, workspace: Workspace, archive: ArchiveKey | None = None) -> Baseline:
    manifest = press.device(workspace).manifest("1.1.1").manifest
    return Baseline(open_store(workspace.repository_url), manifest, PackKeys(workspace, archive))


@pytest.fixture
def big(press: Any, shop: Workspace) -> bytes:
    """A published file of several chunks."""
    path: Path = press.file("1.1.1.bin", 3 * MIB)
    press.publish(shop, "1.1.1")
    return path.read_bytes()


def test_a_file_as_a_stream(press: Any, shop: Workspace, big: bytes) -> None:
    """Any part, from any place, in any order; reading past the end gives nothing."""
    opened = _open(press, shop)
    (entry,) = opened.manifest.variants[0].files
    assert len(entry.chunks) > 10
    with opened.open(entry) as stream:
        assert stream.read() == big
        assert stream.read(1) == b""
        for start, size_bytes in ((0, 1), (100_000, 200_000), (len(big) - 5, 50), (7, 0), (1_000_003, 1)):
            stream.seek(start)
            assert stream.read(size_bytes) == big[start : start + size_bytes]
        assert stream.seek(-3, io.SEEK_END) == len(big) - 3
        assert stream.seek(1, io.SEEK_CUR) == stream.tell() == len(big) - 2
        assert stream.readable()
        assert stream.seekable()


def test_a_layout_without_the_file(press: Any, shop: Workspace, family: Path) -> None:
    """The format is parsed from packs as it was from the disk."""
    model = family / "1.1.1" / "assistant-q4.gguf"
    (press.directory / "1.1.1.bin").write_bytes(model.read_bytes())
    press.publish(shop, "1.1.1")
    opened = _open(press, shop)
    (entry,) = opened.manifest.variants[0].files
    assert opened.layout(entry) == parse(model)
    assert opened.layout(entry) is opened.layout(entry)


def test_many_chunks_at_once(press: Any, shop: Workspace, big: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """They come in the order of the wish, repeated ones included, with a request where one each took dozens."""
    opened = _open(press, shop)
    (entry,) = opened.manifest.variants[0].files
    chunks = [opened.manifest.chunks[index] for index in entry.chunks]
    asked = _requests(monkeypatch)
    with closing(opened.chunks(chunks)) as coming:
        assert b"".join(coming) == big
    assert len(asked) == 1
    again = [chunks[3], chunks[1], chunks[3], chunks[2], chunks[3]]
    with closing(opened.chunks(again)) as coming:
        assert [digest_bytes(data) for data in coming] == [chunk.digest for chunk in again]
    assert len(asked) == 1 + 2  # the neighbours together, and what is repeated once


def test_a_file_that_is_read_from_its_beginning(press: Any, shop: Workspace, big: bytes, monkeypatch: Any) -> None:
    """Several chunks come with a request; a look into the middle takes only the chunk that is there."""
    opened = _open(press, shop)
    (entry,) = opened.manifest.variants[0].files
    asked = _requests(monkeypatch)
    with opened.open(entry) as stream:
        stream.seek(len(big) // 2)
        stream.read(1)
        assert len(asked) == 1
        assert asked[0] <= CHUNK_MAX_BYTES
        stream.seek(0)
        assert stream.read() == big
    assert len(asked) <= 1 + len(big) // baseline.READ_ON_BYTES + 2
    assert max(asked) <= baseline.READ_ON_BYTES + CHUNK_MAX_BYTES


def _requests(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the ranges that are asked for from now on."""
    asked: list[int] = []
    original = ObjectStore.get_range

    def note(self: ObjectStore, path: str, offset: int, length_bytes: int) -> bytes:
        asked.append(length_bytes)
        return original(self, path, offset, length_bytes)

    monkeypatch.setattr(ObjectStore, "get_range", note)
    return asked


@pytest.mark.usefixtures("big")
def test_memory_is_bounded(press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache holds no more than it may, whatever is read."""
    monkeypatch.setattr(baseline, "CACHE_BYTES", 300_000)
    opened = _open(press, shop)
    (entry,) = opened.manifest.variants[0].files
    with opened.open(entry) as stream:
        while stream.read(100_000):
            assert sum(map(len, opened._cache.values())) == opened._cached_bytes <= 300_000


@pytest.mark.usefixtures("big")
def test_every_key_that_fits(press: Any, shop: Workspace) -> None:
    """Old epochs of a class, another class, and the archive key; without any it says which was needed."""
    renewed, _ = renew_class_key(shop, "car")
    grown, _ = add_class(renewed, "hub")
    chunk = _open(press, grown).manifest.chunks[0]
    assert digest_bytes(_open(press, grown).chunk(chunk)) == chunk.digest
    enrolment_path(grown, "car").unlink()
    with pytest.raises(RefuseContent) as caught:
        _open(press, grown).chunk(chunk)
    assert caught.value.code == "pack-key-missing"
    (path,) = (grown.path / "offline").glob("archive-1*")
    archive = read_archive_key(path, press.passphrases)
    assert digest_bytes(_open(press, grown, archive).chunk(chunk)) == chunk.digest
    with pytest.raises(RefuseContent) as caught:
        _open(press, grown, ArchiveKey("x25519", bytes(32))).chunk(chunk)
    assert caught.value.code == "pack-invalid"


@pytest.mark.usefixtures("big")
def test_a_chunk_that_is_not_there(press: Any, shop: Workspace) -> None:
    """No route: the manifest does not fit; other content behind the digest is refused, too."""
    opened = _open(press, shop)
    with pytest.raises(RefuseContent) as caught:
        opened.chunk(Chunk("0" * 64, 5))
    assert caught.value.code == "manifest-mismatch"
    first, second = opened.manifest.chunks[:2]
    opened._routes[first.digest] = opened._routes[second.digest]
    with pytest.raises(RefuseContent) as caught:
        opened.chunk(Chunk(first.digest, second.size_bytes))
    assert caught.value.code == "chunk-mismatch"


def test_files_that_are_no_archive_key(press: Any, shop: Workspace) -> None:
    """A signing key, and something else."""
    (signing,) = (shop.path / "keys").glob("timestamp-1*")
    for path, code in ((signing, "argument-invalid"), (shop.path / "root.json", "not-a-repository")):
        with pytest.raises(AskPerson) as caught:
            read_archive_key(path, press.passphrases)
        assert caught.value.code == code
