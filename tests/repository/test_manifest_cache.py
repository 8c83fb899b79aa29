"""Tests of modelota.repository.manifest_cache, and of publishing with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelota.delivery.objects import ObjectStore
from modelota.errors import ModelotaError
from modelota.repository import manifest_cache
from modelota.repository.manifest_cache import DIRECTORY, ManifestCache
from modelota.repository.workspace import Workspace


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The manifests that are asked of the store from now on, by path."""
    seen: list[str] = []
    original = ObjectStore.get

    def note(self: ObjectStore, path: str, limit_bytes: int) -> bytes:
        if "manifest" in path:
            seen.append(path)
        return original(self, path, limit_bytes)

    monkeypatch.setattr(ObjectStore, "get", note)
    return seen


def test_each_manifest_is_fetched_once(press: Any, shop: Workspace, read: list[str]) -> None:
    """Publishing looks through all releases before it, and takes those it has seen from the workspace."""
    for number in range(1, 5):
        read.clear()
        press.publish(shop, f"1.1.{number}")
        assert len(read) == min(number - 1, 1), read
    kept = list((shop.path / DIRECTORY).iterdir())
    assert len(kept) == 3
    assert {path.stat().st_mode & 0o777 for path in kept} == {0o600}
    for path in kept:
        path.unlink()
    read.clear()
    press.publish(shop, "1.1.5")
    assert len(set(read)) == len(read) == 4


@pytest.mark.parametrize("how", ["cut", "changed", "grown", "directory"])
def test_a_damaged_cache_is_no_matter(press: Any, shop: Workspace, read: list[str], how: str) -> None:
    """What is not what was signed is fetched again, and replaced."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    (path,) = (shop.path / DIRECTORY).iterdir()
    good = path.read_bytes()
    if how == "directory":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes({"cut": good[:-1], "changed": bytes(len(good)), "grown": good + b"x"}[how])
    read.clear()
    report = press.publish(shop, "1.1.3")
    assert report.version == "1.1.3"
    assert len({*read}) == 2
    assert how == "directory" or path.read_bytes() == good


def test_a_repository_that_changed_is_noticed(press: Any, shop: Workspace) -> None:
    """The cache does not hide the digest that is signed: another one is looked for in the repository."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    for path in (shop.path / DIRECTORY).iterdir():
        path.unlink()
    for path in (shop.path / "public" / "targets").rglob("*manifest*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(ModelotaError) as caught:
        press.publish(shop, "1.1.3")
    assert caught.value.code == "object-missing"


def test_it_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would not fit any more is not kept, also not by the next one who opens it."""
    monkeypatch.setattr(manifest_cache, "TOTAL_MAX_BYTES", 10)
    cache = ManifestCache(tmp_path / "cache")
    cache.put("a", b"12345")
    cache.put("b", b"123456")
    assert (cache.get("a"), cache.get("b")) == (b"12345", None)
    again = ManifestCache(tmp_path / "cache")
    again.put("c", b"123456")
    again.put("d", b"12345")
    assert (again.get("c"), again.get("d")) == (None, b"12345")


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """It is an empty cache."""
    (tmp_path / "cache").write_bytes(b"a file where the directory should be")
    cache = ManifestCache(tmp_path / "cache")
    cache.put("a", b"1")
    assert cache.get("a") is None
    assert ManifestCache(tmp_path).get("../cache") is None
