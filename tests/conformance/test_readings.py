"""The room's own measuring tools tell what is there."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from modelota.conformance import readings


def test_tree_hash_sees_bytes_names_modes_and_links(tmp_path: Path) -> None:
    """Every change below a directory changes its hash."""
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "l").symlink_to("a")
    hashes = [readings.tree_hash(tmp_path)]
    assert readings.tree_hash(tmp_path) == hashes[0]
    (tmp_path / "a").write_bytes(b"2")
    hashes.append(readings.tree_hash(tmp_path))
    (tmp_path / "a").chmod(0o400)
    hashes.append(readings.tree_hash(tmp_path))
    (tmp_path / "a").rename(tmp_path / "b")
    hashes.append(readings.tree_hash(tmp_path))
    (tmp_path / "l").unlink()
    (tmp_path / "l").symlink_to("b")
    hashes.append(readings.tree_hash(tmp_path))
    (tmp_path / "c").mkdir()
    hashes.append(readings.tree_hash(tmp_path))
    assert len(set(hashes)) == len(hashes)


def test_entropy_tells_random_from_structured() -> None:
    """Random blocks are above the floor, however long; text, and random bytes with a header of zeros, are below."""
    seed = random.Random(1)
    for size in (8192, 65536, 200_000):
        assert readings.low_entropy_blocks(seed.randbytes(size))[1] == 0
    assert readings.low_entropy_blocks(b"some text " * 10_000)[1] == 2
    assert readings.low_entropy_blocks(bytes(2048) + seed.randbytes(65536 - 2048))[1] == 1


def test_entropy_floor_holds_for_many_random_blocks() -> None:
    """No random block of many falls below the floor."""
    seed = random.Random(2)
    assert readings.low_entropy_blocks(seed.randbytes(64 * readings.BLOCK_BYTES))[:2] == (64, 0)


def test_known_plaintext_is_found_wherever_it_lies() -> None:
    """Windows of a plain text are found in bytes that hold a part of it, at any offset, and not elsewhere."""
    seed = random.Random(3)
    plain = seed.randbytes(50_000)
    windows = readings.windows_of(plain)
    assert len(windows) > 300
    assert readings.windows_found(b"xyz" + plain[10_001:30_000], windows) > 100
    assert readings.windows_found(seed.randbytes(50_000), windows) == 0
    assert readings.windows_of(bytes(50_000)) == ()


def test_allocated_bytes_counts_blocks_once(tmp_path: Path) -> None:
    """A hard link costs nothing more, a hole nothing at all."""
    (tmp_path / "a").write_bytes(os.urandom(64 * 1024))
    alone = readings.allocated_bytes(tmp_path)
    os.link(tmp_path / "a", tmp_path / "b")
    with (tmp_path / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert alone == readings.allocated_bytes(tmp_path) >= 64 * 1024


def test_flip_byte(tmp_path: Path) -> None:
    """One byte changes, the mode stays."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    path.chmod(0o444)
    readings.flip_byte(path, 1)
    assert path.read_bytes() == b"a\x9dc"
    assert path.stat().st_mode & 0o777 == 0o444


def test_processes_are_found_with_their_memory_and_files(tmp_path: Path) -> None:
    """A child is below its parent, has memory, and holds the file it opened."""
    held = tmp_path / "held"
    held.write_text("x")
    code = f"import sys; f = open({str(held)!r}); print('ready', flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert child.pid in {process.pid for process in readings.descendants(os.getpid())}
        assert (readings.pss_bytes(child.pid) or 0) > 1 << 20
        assert str(held) in readings.open_names(child.pid)
        assert readings.niceness(child.pid) == os.getpriority(os.PRIO_PROCESS, 0)
        child.communicate(b"")
    assert readings.pss_bytes(child.pid) is None


def test_patch_from_needs_little_for_a_small_change() -> None:
    """zstd with the old bytes at hand says little more than what changed; without a likeness it says everything."""
    seed = random.Random(4)
    old, other = seed.randbytes(300_000), seed.randbytes(300_000)
    assert readings.patch_from_bytes(old, old[:1000] + b"changed" + old[1000:]) < 1000
    assert readings.patch_from_bytes(old, other) >= 300_000


def test_blake3_of_a_file(tmp_path: Path) -> None:
    """The known digest of no bytes at all, from the test vectors of BLAKE3."""
    (tmp_path / "empty").touch()
    assert readings.blake3_hash(tmp_path / "empty").startswith("af1349b9f5f9a1a6")


def test_a_census_counts_each_inode_once_and_follows_no_link(tmp_path: Path) -> None:
    """Directories, links and hard links are there; their bytes are what is allocated, each inode once."""
    place = tmp_path / "place"
    place.mkdir()
    (place / "file").write_bytes(bytes(20_000))
    (place / "again").hardlink_to(place / "file")
    (place / "link").symlink_to(tmp_path)
    found = readings.census(place)
    assert set(found) == {place, place / "file", place / "again", place / "link"}
    own = sum(path.lstat().st_blocks * 512 for path in (place, place / "file", place / "link"))
    assert readings.census_bytes(found, place) == own
    assert readings.census_bytes(found, place / "file") == (place / "file").lstat().st_blocks * 512
    assert readings.census(tmp_path / "nowhere") == {}
