"""The secret that a device seals with: made once, private, and different for each slot."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelota.agent.local_secret import SECRET_BYTES, local_secret, slot_secret
from modelota.errors import AskPerson
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def secret_of(layout: Layout) -> bytes:
    return local_secret(layout, Disk((layout.root,), NoLedger()))


def test_it_is_made_once_and_private(layout: Layout, tmp_path: Path) -> None:
    """The same root gives the same secret, another root another; nobody else can read it."""
    secret = secret_of(layout)
    assert len(secret) == SECRET_BYTES
    assert secret_of(layout) == secret
    assert layout.seal_secret.stat().st_mode & 0o777 == 0o600
    assert layout.seal_secret.parent.stat().st_mode & 0o777 == 0o700
    (tmp_path / "other").mkdir()
    assert secret_of(Layout(tmp_path / "other")) != secret


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_one_that_others_can_reach_is_refused(layout: Layout, mode: int) -> None:
    """Wider permissions are an error that says so, not a secret."""
    secret_of(layout)
    layout.seal_secret.chmod(mode)
    with pytest.raises(AskPerson, match="root-not-private"):
        secret_of(layout)


def test_a_link_in_its_place_is_refused(layout: Layout, tmp_path: Path) -> None:
    """Nobody chooses the secret by putting a link there."""
    secret_of(layout)
    layout.seal_secret.rename(tmp_path / "elsewhere")
    layout.seal_secret.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(AskPerson, match="root-not-private"):
        secret_of(layout)


@pytest.mark.parametrize("left", [b"", b"short", bytes(33)])
def test_what_a_failing_disk_left_is_replaced(layout: Layout, left: bytes) -> None:
    """A secret of another length opens nothing any more; a new one serves from now on."""
    secret_of(layout)
    layout.seal_secret.write_bytes(left)
    secret = secret_of(layout)
    assert len(secret) == SECRET_BYTES
    assert secret_of(layout) == secret


def test_each_slot_has_a_secret_of_its_own() -> None:
    """What one engine is given opens no other slot, and does not lead back to the device's secret."""
    root = bytes(range(32))
    slots = [("a/b", SlotId("1.1.1", "q8")), ("a/b", SlotId("1.1.1", "q4")), ("a/b", SlotId("1.1.2", "q8"))]
    slots.append(("a/c", SlotId("1.1.1", "q8")))
    derived = {slot_secret(root, model, slot) for model, slot in slots}
    assert len(derived) == 4
    assert root not in derived
    assert all(len(secret) == 32 for secret in derived)
    # known answer: HMAC-SHA256, so that another implementation can open what lies on the disk
    expected = "03051e383206dfa2ee05d3b5c68b94e5ce5ca34c595db862ee8780372a888135"
    assert slot_secret(root, "a/b", SlotId("1.1.1", "q8")).hex() == expected
