"""Tests of modelota.delivery.trust: what a client does in good weather; attacks are in tests/scenarios."""

from pathlib import Path

import pytest
from tests.delivery.memories import Device

from modelota.clock import iso
from modelota.delivery.trust import believed_time, prepare_cache
from modelota.errors import AskPerson, OurBug, RefuseContent, TryLater
from modelota.testing.clock import EPOCH, ManualClock
from modelota.testing.network import Garble, InstrumentedServer, LieAboutSize, Status
from modelota.testing.repository import RepositorySimulator

CATALOG = "acme/assistant/catalog.json"


@pytest.fixture
def device(tmp_path: Path, clock: ManualClock) -> Device:
    repository = RepositorySimulator(clock.now())
    repository.set_document(repository.releases, CATALOG, b"catalog 1")
    repository.set_document(repository.control, "acme/assistant/control.json", b"control 1")
    repository.publish()
    return Device(tmp_path, repository, clock)


def test_first_refresh(device: Device) -> None:
    """A first refresh starts at the anchor and fills the memory."""
    client = device.client()
    assert client.refresh() == (None, EPOCH)
    state = device.memory.state
    assert state.roots == (device.repository.anchor,)
    assert state.accepted_at == iso(EPOCH)
    assert state.floors == {
        "timestamp": 2,
        "snapshot": 2,
        "targets": 2,
        "acme/assistant-releases": 2,
        "acme/assistant-control": 2,
    }
    assert client.target(CATALOG, 100) == b"catalog 1"
    info = client.target_info(CATALOG)
    assert info is not None
    assert (info.path, info.length_bytes, list(info.hashes)) == (CATALOG, 9, ["sha256"])


def test_targets_are_found_by_authority_only(device: Device) -> None:
    """A target is looked for in the role that may sign it, and only what is listed exists."""
    device.repository.set_document(device.repository.control, CATALOG, b"forged")  # control may not sign this path
    device.repository.publish()
    client = device.refresh()
    assert client.target(CATALOG, 100) == b"catalog 1"
    assert client.target_info("acme/assistant/1.1.1/manifest.json.zst") is None
    assert client.target_info("acme/other/catalog.json") is None
    with pytest.raises(RefuseContent) as caught:
        client.target("acme/other/catalog.json", 100)
    assert caught.value.code == "document-invalid"


def test_a_cached_refresh_reads_little(device: Device) -> None:
    """With a cache, a refresh of an unchanged repository asks for the next root and the timestamp only."""
    device.refresh()
    with InstrumentedServer(device.directory / "served") as server:
        client = device.client(server.url)
        client.refresh()
        assert [request.path for request in server.requests()] == ["metadata/2.root.json", "metadata/timestamp.json"]


def test_nothing_before_a_refresh(device: Device) -> None:
    """Targets before a refresh, or after one that failed, are a bug of the caller."""
    client = device.client()
    with pytest.raises(OurBug):
        client.target(CATALOG, 100)
    client.refresh()
    device.clock.advance(days=31)
    with pytest.raises(RefuseContent):
        client.refresh()
    with pytest.raises(OurBug):
        client.target_info(CATALOG)


def test_not_a_repository(device: Device) -> None:
    """A place without a timestamp is repository-not-found; a mirror that lacks a file is object-missing."""
    device.repository.files.pop("metadata/2.snapshot.json")
    with pytest.raises(TryLater) as missing:
        device.refresh()
    assert missing.value.code == "object-missing"
    device.repository.files.clear()
    device.repository.files["index.html"] = b"hello"
    with pytest.raises(RefuseContent) as caught:
        device.refresh()
    assert caught.value.code == "repository-not-found"


def test_anchors(device: Device) -> None:
    """An anchor that is no root, or not the one in the memory, is for a person to sort out."""
    device.refresh()
    device.repository.anchor = RepositorySimulator(EPOCH).anchor
    with pytest.raises(AskPerson) as caught:
        device.refresh()
    assert caught.value.code == "root-untrusted"
    device.memory.data = None
    for anchor in (b"", b"{}", b'{"signed": {"version": 1}}', b'{"signed": {"_type": "root", "version": 1}}'):
        device.repository.anchor = anchor
        with pytest.raises(AskPerson) as caught:
            device.refresh()
        assert caught.value.code == "root-untrusted"


def test_targets_are_verified(device: Device) -> None:
    """Other bytes, more bytes and fewer bytes than signed are refused, and so is what is too large for the caller."""
    device.refresh()
    with InstrumentedServer(device.directory / "served") as server:
        client = device.client(server.url)
        client.refresh()
        expected = {
            Garble(3): "document-invalid",
            LieAboutSize(1): "server-lies-about-size",
            LieAboutSize(-1): "server-lies-about-size",
            LieAboutSize(1 << 40): "server-lies-about-size",
        }
        for fault, code in expected.items():
            server.script("targets/*", fault, times=1)
            with pytest.raises(RefuseContent) as caught:
                client.target(CATALOG, 100)
            assert caught.value.code == code
        with pytest.raises(RefuseContent) as caught:
            client.target(CATALOG, 8)
        assert caught.value.code == "document-too-large"
        assert client.target(CATALOG, 9) == b"catalog 1"


@pytest.mark.parametrize("status", [403, 404])
def test_no_next_root(device: Device, status: int) -> None:
    """Buckets answer 403 and servers 404 for the root that does not exist yet; both mean: this is the newest."""
    device.refresh()
    with InstrumentedServer(device.directory / "served") as server:
        server.script("metadata/2.root.json", Status(status))
        device.client(server.url).refresh()


def test_roots_are_learnt_even_if_the_rest_fails(device: Device) -> None:
    """A root that verified is remembered although the refresh failed: a revocation is learnt once."""
    device.refresh()
    device.repository.rotate("timestamp")
    device.repository.publish_root()
    device.repository.files.pop("metadata/timestamp.json")
    with pytest.raises(RefuseContent):
        device.refresh()
    assert len(device.memory.state.roots) == 3
    assert "timestamp" not in device.memory.state.floors  # its old keys no longer vouch for a version
    assert device.memory.state.floors["targets"] == 2


def test_a_damaged_root_in_the_memory(device: Device) -> None:
    """A root chain that no longer verifies is fetched again; floors hold."""
    device.repository.rotate("root")
    device.repository.rotate("root")
    device.refresh()
    state = device.memory.state
    assert len(state.roots) == 3
    device.memory.save(type(state)(roots=(state.roots[0], b"torn", state.roots[2]), floors=state.floors))
    device.refresh()
    assert device.memory.state.roots == state.roots
    assert device.memory.state.floors == state.floors


def test_believed_time(device: Device) -> None:
    """Time is never earlier than the last time that was believed."""
    device.refresh()
    device.clock.set(EPOCH.replace(year=1980))
    assert believed_time(device.clock, device.memory.state) == EPOCH
    assert believed_time(device.clock, None) == device.clock.now()


def test_the_cache_is_swept(tmp_path: Path) -> None:
    """Leftovers, links, directories and oversized files go; metadata stays."""
    cache = tmp_path / "cache"
    (cache / "root_history").mkdir(parents=True)
    (cache / "root_history" / "1.root.json").write_bytes(b"{}")
    (cache / "tmpabc").write_bytes(b"half")
    (cache / "root.json").symlink_to("root_history/1.root.json")
    (cache / "timestamp.json").write_bytes(b"{}")
    (cache / "targets.json").mkdir()
    with (cache / "snapshot.json").open("wb") as file:
        file.truncate(1 << 30)
    prepare_cache(cache)
    assert [entry.name for entry in cache.iterdir()] == ["timestamp.json"]


def test_a_cache_that_cannot_be_written(device: Device) -> None:
    """A file where the cache directory should be is replaced; one above it is an error about the disk."""
    device.cache.write_bytes(b"in the way")
    device.refresh()
    device.cache = device.directory / "file" / "cache"
    device.cache.parent.write_bytes(b"in the way")
    with pytest.raises(TryLater) as caught:
        device.refresh()
    assert caught.value.code == "disk-error"
