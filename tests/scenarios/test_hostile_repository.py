"""Hostile and stale repositories, torn caches, wrong clocks: what a device refuses, with which code, and what it keeps.

The attacks are those of the TUF specification (section 1.5.2). The device's cache is deleted before most of them: what
protects it is its memory, not files that anybody may remove.
"""

import json
import shutil
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import Targets

from modelota.delivery.stores import open_store
from modelota.delivery.trust import TrustClient
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.spec import limits
from modelota.testing.clock import EPOCH, ManualClock
from modelota.testing.network import Endless, InstrumentedServer, LieAboutSize, Stall
from modelota.testing.repository import RepositorySimulator
from tests.delivery.memories import Device

CATALOG = "acme/assistant/catalog.json"
RELEASES = "acme/assistant-releases"
CONTROL = "acme/assistant-control"
ROLES = ["timestamp", "snapshot", "targets", RELEASES, CONTROL]


@pytest.fixture
def device(tmp_path: Path, clock: ManualClock) -> Device:
    repository = RepositorySimulator(clock.now())
    repository.set_document(RELEASES, CATALOG, b"catalog 1")
    repository.publish()
    return Device(tmp_path, repository, clock)


def publish_next(device: Device, text: bytes = b"catalog 2") -> None:
    device.repository.set_document(RELEASES, CATALOG, text)
    device.repository.publish()


def refused(device: Device, code: str, *, cache: bool = False, allow_stale: bool = False) -> ModelotaError:
    """The device refuses with `code`, and its memory of versions is as it was."""
    if not cache:
        shutil.rmtree(device.cache, ignore_errors=True)
    floors = device.memory.state.floors if device.memory.data else {}
    with pytest.raises(ModelotaError) as caught:
        device.refresh(allow_stale=allow_stale)
    assert caught.value.code == code, caught.value
    assert (device.memory.state.floors if device.memory.data else {}) == floors
    return caught.value


# -- rollback ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cache", [True, False], ids=["with cache", "cache deleted"])
def test_an_older_repository(device: Device, *, cache: bool) -> None:
    """A mirror that serves an older, properly signed state is refused, even after the cache was deleted."""
    old = device.repository.saved()
    publish_next(device)
    device.refresh()
    new = device.repository.saved()
    device.repository.restore(old)
    error = refused(device, "metadata-rollback", cache=cache)
    assert error.params == {"role": "timestamp", "floor": 3, "found": 2}
    device.repository.restore(new)
    assert device.refresh().target(CATALOG, 100) == b"catalog 2"


@pytest.mark.parametrize("cache", [True, False], ids=["with cache", "cache deleted"])
@pytest.mark.parametrize("role", ROLES)
def test_rollback_of_each_role(device: Device, role: str, *, cache: bool) -> None:
    """Whoever holds the online keys cannot bring back an older version of any role."""
    publish_next(device)
    device.refresh()
    repository = device.repository
    if role == "timestamp":
        repository.timestamp.version = 1
        repository.publish_only("timestamp")
    elif role == "snapshot":
        repository.snapshot.version = 1
        repository.publish_only("snapshot")
        repository.timestamp.snapshot_meta.version = 2
        data = repository.files["metadata/2.snapshot.json"]
        repository.timestamp.snapshot_meta = repository._meta(2, data)
        repository.publish_only("timestamp")
    else:
        data = repository.files[f"metadata/2.{role}.json"]
        repository.snapshot.meta[f"{role}.json"] = repository._meta(2, data)
        publish_snapshot(repository)
    error = refused(device, "metadata-rollback", cache=cache)
    assert error.params == {"role": role, "floor": 3, "found": 2}


def publish_snapshot(repository: RepositorySimulator) -> None:
    data = repository.publish_only("snapshot")
    repository.timestamp.snapshot_meta = repository._meta(repository.snapshot.version, data)
    repository.publish_only("timestamp")


@pytest.mark.parametrize("cache", [True, False], ids=["with cache", "cache deleted"])
def test_a_role_that_vanishes(device: Device, *, cache: bool) -> None:
    """A snapshot that no longer lists a role it listed before is a rollback."""
    device.refresh()
    del device.repository.snapshot.meta[f"{CONTROL}.json"]
    publish_snapshot(device.repository)
    error = refused(device, "metadata-rollback", cache=cache)
    assert error.params == {"role": CONTROL, "floor": 2, "found": None}


def test_recovery_from_a_fast_forward(device: Device) -> None:
    """After an attacker claimed huge versions, root's signers replace the keys and devices follow (TUF 5.3.11)."""
    repository = device.repository
    repository.timestamp.version = repository.snapshot.version = 10_000
    repository.targets(RELEASES).version = 20_000
    repository.publish()
    device.refresh()
    repository.rotate("timestamp")
    repository.rotate("snapshot")
    repository.timestamp.version = repository.snapshot.version = 2
    repository.targets(RELEASES).version = 2
    publish_next(device)
    assert device.refresh().target(CATALOG, 100) == b"catalog 2"
    assert device.memory.state.floors["timestamp"] == 3
    assert device.memory.state.floors[RELEASES] == 3


# -- freeze -----------------------------------------------------------------------------------------------------------


def test_freeze(device: Device) -> None:
    """A mirror that keeps serving one state is noticed when that state expires."""
    device.refresh()
    device.clock.advance(days=29)
    device.refresh()
    device.clock.advance(days=1)
    error = refused(device, "metadata-expired", cache=True)
    assert error.params == {
        "role": "root",
        "expired_at": "2026-12-24T06:00:00Z",
        "device_time": "2026-12-24T06:00:00Z",
    }


@pytest.mark.parametrize("cache", [True, False], ids=["with cache", "cache deleted"])
@pytest.mark.parametrize("role", ["root", *ROLES])
def test_expiry_of_each_role(device: Device, role: str, *, cache: bool) -> None:
    """The role that expired is named, with its date and the device's."""
    repository = device.repository
    repository.signed[role].expires = EPOCH + timedelta(days=3)
    if role == "root":
        repository.publish_root()
    else:
        repository.publish()
    device.refresh()
    device.clock.advance(days=4)
    if not cache:
        shutil.rmtree(device.cache)
    with pytest.raises(RefuseContent) as caught:
        client = device.refresh()
        for path in (CATALOG, "acme/assistant/control.json"):  # delegated roles are loaded when they are needed
            client.target_info(path)
    assert caught.value.code == "metadata-expired"
    assert caught.value.params == {
        "role": role,
        "expired_at": "2026-11-27T06:00:00Z",
        "device_time": "2026-11-28T06:00:00Z",
    }


# -- stale media ------------------------------------------------------------------------------------------------------


def test_stale_media(device: Device) -> None:
    """With the owner's decision an expired repository can be used; the answer says since when it is stale."""
    device.repository.timestamp.expires = EPOCH + timedelta(days=1)
    publish_next(device)
    device.clock.advance(days=100)
    refused(device, "metadata-expired")
    client = device.client()
    refreshed = client.refresh(allow_stale=True)
    assert refreshed == (EPOCH + timedelta(days=1), device.clock.now())
    assert client.target(CATALOG, 100) == b"catalog 2"
    assert client.stale_since == EPOCH + timedelta(days=1)
    assert device.memory.state.floors["timestamp"] == 3
    assert device.memory.state.accepted_at is None  # a stale refresh proves nothing about the time
    refused(device, "metadata-expired", cache=True)


def test_a_stale_delegated_role(device: Device) -> None:
    """Staleness of a delegated role shows once it is loaded; without the decision it is refused."""
    device.repository.signed[RELEASES].expires = EPOCH + timedelta(days=1)
    publish_next(device)
    device.clock.advance(days=2)
    client = device.client()
    client.refresh()
    assert client.stale_since is None
    with pytest.raises(RefuseContent) as caught:
        client.target(CATALOG, 100)
    assert caught.value.code == "metadata-expired"


def test_a_decision_for_stale_media_with_fresh_media(device: Device) -> None:
    """Allowing stale media changes nothing when they are fresh."""
    assert device.client().refresh(allow_stale=True) == (None, EPOCH)
    assert device.memory.state.accepted_at == "2026-11-24T06:00:00Z"


def test_stale_media_are_not_old_media(device: Device) -> None:
    """The decision does not cover a rollback or a forgery."""
    old = device.repository.saved()
    publish_next(device)
    device.refresh()
    device.repository.restore(old)
    device.clock.advance(days=100)
    refused(device, "metadata-rollback", allow_stale=True)
    device.repository.signers["timestamp"] = [CryptoSigner.generate_ed25519()]
    publish_next(device)
    refused(device, "metadata-signature", allow_stale=True)


# -- clocks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("year", [1970, 2001, 2025])
def test_a_clock_years_behind(device: Device, year: int) -> None:
    """A clock set back does not bring expired metadata to life: the last believed time counts."""
    device.repository.timestamp.expires = EPOCH + timedelta(days=5)
    publish_next(device)
    device.clock.advance(days=4)
    device.refresh()
    device.clock.set(datetime(year, 1, 1, tzinfo=UTC))
    assert device.client().refresh().at == EPOCH + timedelta(days=4)
    assert device.memory.state.accepted_at == "2026-11-28T06:00:00Z"
    device.repository.timestamp.expires = EPOCH + timedelta(days=3)
    publish_next(device)
    error = refused(device, "metadata-expired")
    assert error.params["device_time"] == "2026-11-28T06:00:00Z"


def test_a_first_refresh_with_a_clock_years_behind(device: Device) -> None:
    """A new device whose clock starts in 1970 can be set up; nothing it cannot know is held against it."""
    device.clock.set(datetime(1970, 1, 1, tzinfo=UTC))
    assert device.refresh().target(CATALOG, 100) == b"catalog 1"


@pytest.mark.parametrize("year", [2027, 2038, 2100])
def test_a_clock_years_ahead(device: Device, year: int) -> None:
    """A clock that runs ahead refuses, and leaves nothing behind that would outlast its correction."""
    device.refresh()
    device.clock.set(datetime(year, 2, 1, tzinfo=UTC))
    error = refused(device, "metadata-expired")
    assert error.params["device_time"] == f"{year}-02-01T00:00:00Z"
    device.client().refresh(allow_stale=True)
    device.clock.set(EPOCH + timedelta(days=1))
    device.refresh()
    assert device.memory.state.accepted_at == "2026-11-25T06:00:00Z"


# -- mix and match ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["snapshot", "targets", RELEASES])
def test_mix_and_match(device: Device, role: str) -> None:
    """A file from another, properly signed state of the repository does not fit into this one."""
    before = device.repository.files[device.repository.path_of(role)]
    publish_next(device)
    device.repository.files[device.repository.path_of(role)] = before
    if role == RELEASES:
        with pytest.raises(RefuseContent) as caught:
            device.refresh().target_info(CATALOG)
        assert caught.value.code == "metadata-invalid"
    else:
        refused(device, "metadata-invalid")


def test_mixed_targets(device: Device) -> None:
    """An older target under the new one's name is refused."""
    old = device.repository.set_document(RELEASES, CATALOG, b"catalog 1")
    data = device.repository.files[old]
    new = device.repository.set_document(RELEASES, CATALOG, b"catalog 2")
    device.repository.publish()
    device.repository.files[new] = data
    with pytest.raises(RefuseContent) as caught:
        device.refresh().target(CATALOG, 100)
    assert (caught.value.code, caught.value.params["detail"]) == ("document-invalid", "digest")


# -- keys -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", RELEASES])
def test_wrong_keys(device: Device, role: str) -> None:
    """Metadata signed by a key that nobody appointed is refused."""
    device.refresh()
    device.repository.signers[role] = [CryptoSigner.generate_ed25519()]
    publish_next(device)
    check_signature_refused(device, role)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", RELEASES])
def test_too_few_keys(device: Device, role: str) -> None:
    """Below the threshold of signatures, and with one signature twice, metadata is refused."""
    repository = device.repository
    if role == RELEASES:
        repository.rotate_delegated(role, keys=3, threshold=2)
    else:
        repository.rotate(role, keys=3, threshold=2)
    repository.publish()
    device.refresh().target_info(CATALOG)
    repository.signers[role] = repository.signers[role][:1]
    publish_next(device)
    check_signature_refused(device, role)
    path = repository.path_of(role)

    def sign_twice(data: bytes) -> bytes:
        document = json.loads(data)
        return json.dumps(document | {"signatures": document["signatures"] * 2}).encode()

    repository.tamper(path, sign_twice)
    with pytest.raises(RefuseContent):
        device.refresh().target_info(CATALOG)


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets", RELEASES])
def test_revoked_keys(device: Device, role: str) -> None:
    """A stolen key is worth nothing once it is revoked, whatever it signs."""
    device.refresh()
    repository = device.repository
    stolen = repository.rotate_delegated(role) if role == RELEASES else repository.rotate(role)
    repository.publish()
    assert device.refresh().target(CATALOG, 100) == b"catalog 1"
    repository.signers[role] = stolen
    publish_next(device, b"forged")
    check_signature_refused(device, role)


def check_signature_refused(device: Device, role: str) -> None:
    shutil.rmtree(device.cache, ignore_errors=True)
    with pytest.raises(RefuseContent) as caught:
        device.refresh().target_info(CATALOG)
    assert (caught.value.code, caught.value.params["role"]) == ("metadata-signature", role)


def test_a_root_signed_by_strangers(device: Device) -> None:
    """A new root needs the signatures of the old one's keys and of its own."""
    device.refresh()
    repository = device.repository
    good = repository.saved()
    owner = repository.signers["root"]
    stranger = [CryptoSigner.generate_ed25519()]
    repository.signers["root"] = stranger  # not appointed by anyone
    repository.publish_root()
    assert refused(device, "metadata-signature").params["role"] == "root"
    repository.files, repository.root.version = good, 1
    repository.root.add_key(stranger[0].public_key, "root")
    repository.root.revoke_key(owner[0].public_key.keyid, "root")
    repository.publish_root()  # appointed by itself only
    assert refused(device, "metadata-signature").params["role"] == "root"
    repository.root.version = 1
    repository.signers["root"] = owner
    repository.publish_root()  # the old keys agree, the new ones have not shown that they exist
    assert refused(device, "metadata-signature").params["role"] == "root"


@pytest.mark.parametrize("rotations", [1, 7, 40])
def test_a_device_that_was_offline_long(device: Device, rotations: int) -> None:
    """A device crosses any number of roots, one after the other, expired ones too, and keeps the chain."""
    device.refresh()
    repository = device.repository
    for number in range(rotations):
        repository.root.expires = EPOCH + timedelta(days=number)
        repository.rotate("root")
        if number % 3 == 0:
            repository.rotate("timestamp")
            repository.rotate("targets")
    device.clock.advance(days=1000)
    for signed in repository.signed.values():
        signed.expires = device.clock.now() + timedelta(days=30)
    repository.publish_root()
    publish_next(device)
    assert device.refresh().target(CATALOG, 100) == b"catalog 2"
    assert len(device.memory.state.roots) == repository.root.version
    shutil.rmtree(device.cache)
    with InstrumentedServer(device.directory / "served") as server:
        device.client(server.url).refresh()
        assert [r.path for r in server.requests("*root.json")] == [f"metadata/{repository.root.version + 1}.root.json"]


def test_a_gap_in_the_roots(device: Device) -> None:
    """A missing root ends the chain: what later keys signed is not believed."""
    device.refresh()
    repository = device.repository
    repository.rotate("timestamp")
    repository.rotate("root")
    repository.publish()
    del repository.files["metadata/2.root.json"]
    assert refused(device, "metadata-signature").params["role"] == "timestamp"
    repository.files["metadata/2.root.json"] = repository.files["metadata/3.root.json"]
    assert refused(device, "metadata-invalid").params["role"] == "root"


# -- endless and slow data --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "role", "limit_bytes"),
    [
        ("metadata/2.root.json", "root", limits.ROOT_MAX_BYTES),
        ("metadata/timestamp.json", "timestamp", limits.TIMESTAMP_MAX_BYTES),
        ("metadata/2.snapshot.json", "snapshot", None),
        ("metadata/2.targets.json", "targets", None),
        (f"metadata/2.{RELEASES}.json", RELEASES, None),
    ],
)
def test_endless_data(device: Device, path: str, role: str, limit_bytes: int | None) -> None:
    """A file that goes on and on is cut off at its limit, which is what its parent states where there is one."""
    device.repository.dump(device.directory / "served")
    stated = limit_bytes or len(device.repository.files[path])
    if role == "root":
        (device.directory / "served" / path).write_bytes(b"{}")
    with InstrumentedServer(device.directory / "served") as server:
        server.script(path, LieAboutSize(1 << 50))
        client = device_client(device, server)
        with pytest.raises(RefuseContent) as caught:
            client.refresh()
            client.target_info(CATALOG)
        assert caught.value.code == "metadata-too-large"
        assert caught.value.params == {"role": role, "limit_bytes": stated}
        server.behave()
        server.script(path, Endless())
        client = device_client(device, server)
        with pytest.raises(RefuseContent) as caught:
            client.refresh()
            client.target_info(CATALOG)
        assert caught.value.code == "server-lies-about-size"


def device_client(device: Device, server: InstrumentedServer) -> TrustClient:
    """A client without a cache on what the server serves, which may not be what the repository published."""
    shutil.rmtree(device.cache, ignore_errors=True)
    return TrustClient(
        open_store(server.url, stall_timeout=timedelta(milliseconds=200)),
        device.cache,
        device.memory,
        device.clock,
        anchor=device.repository.anchor,
    )


def test_slow_data(device: Device) -> None:
    """A server that stops in the middle of metadata does not hold the device."""
    device.repository.dump(device.directory / "served")
    with InstrumentedServer(device.directory / "served") as server:
        server.script("metadata/timestamp.json", Stall(after_bytes=10, until=threading.Event()))
        with pytest.raises(TryLater) as caught:
            device_client(device, server).refresh()
        assert caught.value.code == "network-interrupted"


# -- malformed data ---------------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[: len(data) // 2],
    "other json": lambda _: b"[]",
    "deep json": lambda _: b"[" * 5_000,
    "not utf-8": lambda data: b"\xff\xfe" + data,
    "other type": lambda data: data.replace(b'"_type":"', b'"_type":"x', 1),
    "huge version": lambda data: data.replace(b'"version":2', b'"version":' + b"9" * 6_000, 1),
    "no expiry": lambda data: data.replace(b'"expires"', b'"expirez"', 1),
    "other expiry": lambda data: data.replace(b"2026-12", b"2099-12", 1),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets", RELEASES])
def test_malformed_metadata(device: Device, role: str, damage: str) -> None:
    """Whatever a file is turned into, the refusal has a code; nothing is believed and nothing crashes."""
    if role == "root":
        device.repository.publish_root()
    path = device.repository.path_of(role)
    device.repository.tamper(path, DAMAGE[damage])
    with pytest.raises(RefuseContent) as caught:
        device.refresh().target_info(CATALOG)
    assert caught.value.code in {"metadata-invalid", "metadata-signature", "metadata-too-large"}
    assert caught.value.params["role"] == role


@pytest.fixture(scope="module")
def published() -> RepositorySimulator:
    repository = RepositorySimulator(EPOCH)
    repository.set_document(RELEASES, CATALOG, b"catalog 1")
    repository.publish()
    return repository


@settings(max_examples=60)
@given(data=st.data())
def test_any_flipped_byte(
    data: st.DataObject, published: RepositorySimulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A flipped byte anywhere in the repository is refused, or the device did not have to read it."""
    repository = published
    device = Device(tmp_path_factory.mktemp("device"), repository, ManualClock())
    pristine = repository.saved()
    path = data.draw(st.sampled_from(sorted(pristine)))
    offset = data.draw(st.integers(0, len(pristine[path]) - 1))
    bit = data.draw(st.integers(0, 7))
    repository.tamper(path, lambda body: body[:offset] + bytes([body[offset] ^ 1 << bit]) + body[offset + 1 :])
    try:
        assert device.refresh().target(CATALOG, 100) == b"catalog 1"
    except (RefuseContent, TryLater) as error:
        assert error.code in {"metadata-invalid", "metadata-signature", "document-invalid"}
    finally:
        repository.restore(pristine)


# -- the cache --------------------------------------------------------------------------------------------------------


def cache_files(device: Device) -> Iterator[Path]:
    return (path for path in sorted(device.cache.rglob("*")) if path.is_file())


@pytest.mark.parametrize("damage", ["empty", "cut", "last byte", "garbled", "other json", "directory", "gone", "link"])
def test_torn_cache(device: Device, damage: str) -> None:
    """Every cache file, torn in every way, leaves a device that works and has forgotten nothing."""
    device.repository.rotate("root")
    publish_next(device)
    device.refresh().target_info(CATALOG)
    names = [path.relative_to(device.cache) for path in cache_files(device)]
    assert len(names) >= 5
    for name in names:
        file = device.cache / name
        body = file.read_bytes()
        file.unlink()
        if damage == "directory":
            file.mkdir()
        elif damage == "link":
            file.symlink_to("/dev/zero")
        elif damage != "gone":
            torn = {
                "empty": b"",
                "cut": body[: len(body) // 2],
                "last byte": body[:-1],
                "garbled": body[:20] + bytes(byte ^ 0xFF for byte in body[20:60]) + body[60:],
                "other json": b'{"signed": 1}',
            }
            file.write_bytes(torn[damage])
        assert device.refresh().target(CATALOG, 100) == b"catalog 2"


@pytest.mark.parametrize("points", [4])
def test_cache_cut_at_many_points(device: Device, points: int) -> None:
    """Cut all cache files at the same moment, at several points: the next refresh heals them."""
    for number in range(points):
        publish_next(device, f"catalog {number + 2}".encode())
        device.refresh().target_info(CATALOG)
        for file in cache_files(device):
            body = file.read_bytes()
            file.write_bytes(body[: len(body) * number // points])
        assert device.refresh().target(CATALOG, 100) == f"catalog {number + 2}".encode()


def test_a_cache_from_another_repository(device: Device, tmp_path: Path) -> None:
    """A cache that was replaced by another repository's is ignored."""
    device.refresh()
    other = Device(tmp_path / "other", RepositorySimulator(EPOCH), device.clock)
    other.directory.mkdir()
    other.refresh().target_info(CATALOG)
    shutil.rmtree(device.cache)
    shutil.copytree(other.cache, device.cache, symlinks=True)
    assert device.refresh().target(CATALOG, 100) == b"catalog 1"


def test_an_older_cache_with_an_older_repository(device: Device) -> None:
    """An attacker who brings back the cache and the repository of last month still meets the memory."""
    device.refresh().target_info(CATALOG)
    old_files = device.repository.saved()
    old_cache = device.directory / "old-cache"
    shutil.copytree(device.cache, old_cache, symlinks=True)
    publish_next(device)
    device.refresh()
    shutil.rmtree(device.cache)
    shutil.copytree(old_cache, device.cache, symlinks=True)
    device.repository.restore(old_files)
    refused(device, "metadata-rollback", cache=True)


# -- authority --------------------------------------------------------------------------------------------------------


def test_the_control_cannot_sign_a_catalog(device: Device) -> None:
    """The online role's key cannot put a catalog in place, with or without delegating further."""
    repository = device.repository
    repository.targets(CONTROL).targets[CATALOG] = repository.targets(RELEASES).targets[CATALOG]
    del repository.targets(RELEASES).targets[CATALOG]
    repository.delegate("mallory", ["*", "*/*", "*/*/*"], parent=CONTROL)
    repository.set_document("mallory", CATALOG, b"forged")
    repository.publish()
    assert device.refresh().target_info(CATALOG) is None


def test_a_circle_of_delegations(device: Device) -> None:
    """Roles that delegate to each other, or to very many, end the search instead of the device."""
    repository = device.repository
    for number in range(50):
        parent = f"deep-{number - 1}" if number else "targets"
        repository.delegate(f"deep-{number}", ["deep/*"], parent=parent)
    last = repository.signed["deep-49"]
    assert isinstance(last, Targets)
    last.delegations = repository.targets("targets").delegations
    repository.publish()
    assert device.refresh().target_info("deep/target") is None


def test_another_root_altogether(device: Device) -> None:
    """A repository of somebody else, complete and well signed, is refused from the first file on."""
    device.refresh()
    other = RepositorySimulator(EPOCH)
    other.publish()
    other.anchor = device.repository.anchor
    device.repository = other
    refused(device, "metadata-signature")
    device.repository.anchor = b"{}"
    with pytest.raises(AskPerson):
        device.refresh()
