from __future__ import annotations

from pathlib import Path

import pytest

from modelota.agent.cleaning.acl import AclEntry, named, read_acl, with_entry, without, write_acl
from modelota.agent.cleaning.entries import AclEntries


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """A file on which users 4001 and 4002 have rights."""
    path = tmp_path / "device"
    path.write_bytes(b"")
    path.chmod(0o640)
    entries: tuple[AclEntry, ...] = ()
    for number in (4001, 4002):
        entries = with_entry(0o640, entries, named("user", number, 6))
    try:
        write_acl(str(path), entries)
    except OSError:
        pytest.skip("this file system keeps no access control lists")
    return path


def test_one_entry_goes_and_the_others_stay(shared: Path) -> None:
    """Only the named entry is removed; the last one takes the list with it, and the mode is what it was."""
    entries = AclEntries()
    assert entries.state(f"user:4001:rw-:{shared}", None) == "ours"
    assert entries.remove(f"user:4001:rw-:{shared}")
    assert entries.state(f"user:4001:rw-:{shared}", None) == "gone"
    assert named("user", 4002, 6) in read_acl(str(shared))
    assert entries.remove(f"user:4002:rw-:{shared}")
    assert read_acl(str(shared)) == ()
    assert shared.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("user:4001:r--:{path}", "changed"),
        ("user:4003:rw-:{path}", "gone"),
        ("group:4001:rw-:{path}", "gone"),
        ("user:4001:rw-:{path}.missing", "gone"),
        ("user:4001:rw-:relative", "changed"),
        ("user:x:rw-:{path}", "changed"),
    ],
)
def test_other_entries_are_not_ours(shared: Path, name: str, state: str) -> None:
    """Other rights, users or files are not what the ledger names, and a name that says nothing is never ours."""
    assert AclEntries().state(name.format(path=shared), None) == state


def test_a_link_is_not_followed(shared: Path) -> None:
    """An entry on a file behind a link is not seen."""
    link = shared.with_name("link")
    link.symlink_to(shared)
    assert AclEntries().state(f"user:4001:rw-:{link}", None) != "ours"
    assert link.is_symlink()


def test_the_mask_covers_what_is_left() -> None:
    """The mask never permits more than it did, nor less than what is left."""
    entries = with_entry(0o600, (), named("user", 1, 7))
    entries = with_entry(0o600, entries, named("group", 2, 4))
    left = without(entries, named("user", 1, 7))
    assert AclEntry(0x10, 4, 0xFFFFFFFF) in left
    assert named("group", 2, 4) in left
