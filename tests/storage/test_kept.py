"""Kept chunks: sealed, found by digest, durable before a slot goes, and never believed unread."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from modelota import faults
from modelota.content.digest import digest_bytes
from modelota.content.local_seal import sealed_size
from modelota.errors import ModelotaError, RefuseContent
from modelota.storage.durable import Disk
from modelota.storage.kept import KeptChunks, keep_versions, kept_bytes
from modelota.storage.ledger import NoLedger

SECRET = bytes(range(32))
# ten chunks; version 1 is a…f, version 2 is d…h, version 3 is e…j: neighbours share some
CHUNKS = [bytes([97 + number]) * 3000 + bytes(range(256)) for number in range(10)]
DIGESTS = [digest_bytes(chunk) for chunk in CHUNKS]
BY_DIGEST = dict(zip(DIGESTS, CHUNKS, strict=True))


def version(start: int, end: int) -> dict[str, int]:
    return {digest: len(BY_DIGEST[digest]) for digest in DIGESTS[start:end]}


ONE, TWO, THREE = version(0, 6), version(3, 8), version(4, 10)


class Held:
    """Slots that hold the chunks of some versions; `bad` ones can't be read."""

    def __init__(self, *versions: Mapping[str, int], bad: frozenset[str] = frozenset()) -> None:
        self.held = frozenset(digest for sizes in versions for digest in sizes)
        self.bad = bad
        self.reads: list[str] = []

    def read(self, digest: str) -> bytes | None:
        self.reads.append(digest)
        return BY_DIGEST[digest] if digest in self.held and digest not in self.bad else None


@pytest.fixture
def kept(tmp_path: Path) -> KeptChunks:
    return KeptChunks(tmp_path / "kept", Disk((tmp_path,), NoLedger()), SECRET)


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    faults.arm("")


def test_a_chunk_is_held_sealed_and_comes_back(kept: KeptChunks, tmp_path: Path) -> None:
    """It is read under its digest only, lies in a private file, and shows nothing of itself (7.1.2-b)."""
    kept.hold(DIGESTS[0], CHUNKS[0])
    kept.hold(DIGESTS[0], CHUNKS[0])
    assert kept.held == {DIGESTS[0]}
    assert kept.read(DIGESTS[0]) == CHUNKS[0]
    assert kept.read(DIGESTS[1]) is None
    (path,) = (tmp_path / "kept").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert CHUNKS[0][:64] not in path.read_bytes()
    assert path.stat().st_size == sealed_size(len(CHUNKS[0]))
    with pytest.raises(RefuseContent):
        kept.hold(DIGESTS[1], CHUNKS[0])
    assert kept.held == {DIGESTS[0]}


@pytest.mark.parametrize("damage", ["flip", "cut", "longer", "empty", "another", "link", "zeros"])
def test_what_was_tampered_with_is_not_held(kept: KeptChunks, tmp_path: Path, damage: str) -> None:
    """Any change, or another chunk's file under this name, reads as nothing."""
    kept.hold(DIGESTS[0], CHUNKS[0])
    kept.hold(DIGESTS[1], CHUNKS[1])
    path = tmp_path / "kept" / DIGESTS[0]
    data = path.read_bytes()
    changed = {
        "flip": data[:200] + bytes([data[200] ^ 1]) + data[201:],
        "cut": data[:-1],
        "longer": data + b"x",
        "empty": b"",
        "another": (tmp_path / "kept" / DIGESTS[1]).read_bytes(),
        "zeros": bytes(len(data)),
        "link": data,
    }[damage]
    path.unlink()
    if damage == "link":
        (tmp_path / "elsewhere").write_bytes(changed)
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_bytes(changed)
    assert kept.read(DIGESTS[0]) is None
    assert kept.read(DIGESTS[1]) == CHUNKS[1]
    if damage != "link":
        kept.hold(DIGESTS[0], CHUNKS[0])  # mended by holding it again
        assert kept.read(DIGESTS[0]) == CHUNKS[0]


def test_another_device_opens_nothing(kept: KeptChunks, tmp_path: Path) -> None:
    """Without the device's secret the files are of no use."""
    kept.hold(DIGESTS[0], CHUNKS[0])
    stolen = KeptChunks(tmp_path / "kept", Disk((tmp_path,), NoLedger()), bytes(32))
    assert stolen.read(DIGESTS[0]) is None


def test_only_what_no_slot_holds_is_kept(kept: KeptChunks) -> None:
    """Version 1 loses its slot while 2 and 3 stay: what they share is in their slots, the rest is kept."""
    lost = keep_versions(kept, [ONE], Held(TWO, THREE), Held(ONE, TWO, THREE))
    assert lost == frozenset()
    assert kept.held == set(DIGESTS[:3])
    assert kept_bytes([ONE], TWO.keys() | THREE.keys(), ()) == sum(sealed_size(ONE[digest]) for digest in DIGESTS[:3])
    assert kept_bytes([ONE], TWO.keys() | THREE.keys(), kept.held) == 0
    # then 2 goes as well: what 1 shared with it has to be kept now
    assert keep_versions(kept, [TWO, ONE], Held(THREE), Held(TWO, THREE)) == frozenset()
    assert kept.held == set(DIGESTS[:4])
    assert all(kept.read(digest) == BY_DIGEST[digest] for digest in kept.held)


def test_what_nobody_goes_back_to_is_removed(kept: KeptChunks, tmp_path: Path) -> None:
    """A version that is kept no longer leaves nothing, strange files in the directory included."""
    keep_versions(kept, [ONE], Held(THREE), Held(ONE, THREE))
    (tmp_path / "kept" / ".stray.tmp").write_bytes(b"x")
    keep_versions(kept, [TWO], Held(THREE), Held(TWO, THREE))
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {DIGESTS[3]}
    keep_versions(kept, [], Held(THREE), Held(THREE))
    assert not (tmp_path / "kept").exists()
    keep_versions(kept, [], Held(THREE), Held(THREE))


def test_a_kept_chunk_goes_only_when_the_slots_copy_is_whole(kept: KeptChunks) -> None:
    """A chunk that came back into a slot is dropped here; not when that slot's copy is damaged."""
    keep_versions(kept, [ONE], Held(THREE), Held(ONE, THREE))
    assert kept.held == set(DIGESTS[:4])
    keep_versions(kept, [ONE], Held(TWO, bad=frozenset({DIGESTS[3]})), Held(TWO))
    assert kept.held >= set(DIGESTS[:4])
    keep_versions(kept, [ONE], Held(TWO), Held(TWO))
    assert kept.held == set(DIGESTS[:3])


def test_damaged_and_torn_chunks_are_made_good_or_told(kept: KeptChunks, tmp_path: Path) -> None:
    """What an interruption left torn is written again; what is whole nowhere is told as lost."""
    kept.hold(DIGESTS[0], CHUNKS[0])
    path = tmp_path / "kept" / DIGESTS[0]
    path.write_bytes(path.read_bytes()[:50])
    lost = keep_versions(kept, [ONE], Held(THREE), Held(ONE, THREE, bad=frozenset({DIGESTS[2]})))
    assert lost == {DIGESTS[2]}
    assert kept.read(DIGESTS[0]) == CHUNKS[0]
    assert kept.held == {DIGESTS[0], DIGESTS[1], DIGESTS[3]}


def test_a_full_disk_ends_the_keeping_and_not_the_cleaning(kept: KeptChunks) -> None:
    """Without space for more, what is kept stays, the rest is told as lost, and nothing is raised."""
    faults.arm("kept.hold@3=ENOSPC")
    places = Held(ONE, THREE)
    lost = keep_versions(kept, [ONE], Held(THREE), places)
    assert kept.held == set(DIGESTS[:2])
    assert lost == set(DIGESTS[2:4])
    assert DIGESTS[3] not in places.reads


@pytest.mark.parametrize("point", ["kept.hold", "kept.prune", "durable.write", "durable.fsync*", "durable.remove"])
def test_every_failure_can_be_repeated(kept: KeptChunks, tmp_path: Path, point: str) -> None:
    """Fail at the n-th passage for n = 1, 2, 3 …: nothing that is needed is gone, and repeating completes."""
    disk = Disk((tmp_path,), NoLedger())
    later, in_slots = version(1, 4), Held(version(3, 6), THREE)
    for nth in range(1, 100):
        disk.remove(tmp_path / "kept")
        keep_versions(kept, [version(0, 3)], Held(THREE), Held(ONE, THREE))
        faults.arm(f"{point}@{nth}=EIO")
        try:
            keep_versions(kept, [later], Held(THREE), in_slots)
        except ModelotaError as caught:
            faults.arm("")
            assert caught.code == "disk-error"
            assert all(kept.read(digest) for digest in DIGESTS[1:3])
            assert keep_versions(kept, [later], Held(THREE), in_slots) == frozenset()
        else:
            faults.arm("")
            assert nth > 1
            break
        assert kept.held == set(DIGESTS[1:4])
        assert all(kept.read(digest) == BY_DIGEST[digest] for digest in kept.held)


def test_progress_is_told_in_bytes(kept: KeptChunks) -> None:
    """The last report is that everything is done."""
    told: list[tuple[int, int]] = []
    keep_versions(kept, [ONE], Held(THREE), Held(ONE, THREE), lambda done, total: told.append((done, total)))
    size_bytes = sum(ONE[digest] for digest in DIGESTS[:4])
    assert told[-1] == (size_bytes, size_bytes)
    assert [done for done, _ in told] == sorted(done for done, _ in told)
