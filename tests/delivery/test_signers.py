"""Tests of modelota.delivery.signers: whose signatures stand behind a target."""

import json
from pathlib import Path

import pytest
from tests.delivery.memories import Device

from modelota.testing.clock import ManualClock
from modelota.testing.repository import RepositorySimulator

CATALOG = "acme/assistant/catalog.json"


@pytest.fixture
def device(tmp_path: Path, clock: ManualClock) -> Device:
    repository = RepositorySimulator(clock.now())
    repository.set_document(repository.releases, CATALOG, b"catalog 1")
    repository.publish()
    return Device(tmp_path, repository, clock)


def keys_of(repository: RepositorySimulator, role: str) -> tuple[str, ...]:
    return tuple(sorted(signer.public_key.keyid for signer in repository.signers[role]))


def test_the_keys_of_the_role_that_lists_it(device: Device) -> None:
    """A target is vouched for by the keys of its own role, whoever else lists the same path."""
    role = device.repository.releases
    device.repository.set_document(device.repository.control, CATALOG, b"forged")
    device.repository.publish()
    assert device.refresh().signers(CATALOG) == keys_of(device.repository, role)
    assert keys_of(device.repository, role) != keys_of(device.repository, device.repository.control)


def test_all_that_signed_and_no_other(device: Device) -> None:
    """After new keys, the new ones are named; of several, each that signed."""
    device.refresh()
    device.repository.rotate_delegated(device.repository.releases, keys=3, threshold=2)
    device.repository.publish()
    found = device.refresh().signers(CATALOG)
    assert len(found) == 3
    assert found == keys_of(device.repository, device.repository.releases)


def test_nothing_when_it_is_not_known(device: Device) -> None:
    """A target that nobody lists has no signers, and a lost or replaced cache names nobody."""
    client = device.refresh()
    assert client.signers("acme/assistant/other.json") == ()
    assert client.signers(CATALOG)
    for kept in device.cache.glob("*releases*.json"):
        kept.write_text("{}")
    assert client.signers(CATALOG) == ()
    for kept in device.cache.glob("*releases*.json"):
        kept.unlink()
    assert client.signers(CATALOG) == ()


def test_only_who_signed_what_was_verified(device: Device) -> None:
    """A signature that does not verify names nobody, and neither does metadata of another version in the cache."""
    client = device.refresh()
    signed = client.signers(CATALOG)
    (kept,) = device.cache.glob("*releases*.json")
    older = kept.read_bytes()
    forged = json.loads(older)
    forged["signatures"].append({"keyid": "ff" * 32, "sig": "00" * 64})
    kept.write_text(json.dumps(forged))
    assert client.signers(CATALOG) == signed
    device.repository.publish()
    client = device.refresh()
    assert client.signers(CATALOG) == signed
    kept.write_bytes(older)
    assert client.signers(CATALOG) == ()
