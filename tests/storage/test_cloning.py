"""Blocks that a new slot shares with another one: which can be, and that they are where the file system can."""

from __future__ import annotations

import fcntl
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content.digest import digest_bytes
from modelota.spec.manifest import Chunk, FileEntry, Manifest, Requires, RuntimeUse, Variant
from modelota.spec.offer import Plan
from modelota.spec.selftest import SelfTests
from modelota.storage.assembly import Assembly
from modelota.storage.cloning import PlainPlace, Run, WantedChunk, find_runs
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger
from modelota.storage.sources import Sources
from modelota.storage.staging import Staging

OLD, OTHER = Path("/old"), Path("/other")
BLOCK = 4096
FS_IOC_FIEMAP, FIEMAP_EXTENT_SHARED = 0xC020660B, 0x2000


def wanted(*chunks: tuple[int, int, Path, int, int]) -> list[WantedChunk]:
    """Chunks of offset, size, source, offset there and size of the source."""
    return [WantedChunk(offset, size, [PlainPlace(path, at, whole)]) for offset, size, path, at, whole in chunks]


def test_an_equal_file_is_shared_to_its_last_byte() -> None:
    """Chunks of any size make one run from the start to the end, which no block has to fill."""
    chunks = wanted((0, 1000, OLD, 0, 9001), (1000, 5000, OLD, 1000, 9001), (6000, 3001, OLD, 6000, 9001))
    assert find_runs(chunks, BLOCK) == [Run(OLD, 0, 0, 9001)]


def test_only_whole_blocks_within_a_run_are_shared() -> None:
    """What a run shares with other chunks' blocks at its two ends is left to be written."""
    chunks = wanted((1000, 10_000, OLD, 1000, 50_000), (11_000, 9000, OLD, 11_000, 50_000))
    assert find_runs(chunks, BLOCK) == [Run(OLD, 4096, 4096, 20_000 // BLOCK * BLOCK - 4096)]
    assert find_runs(wanted((1000, 3000, OLD, 1000, 50_000)), BLOCK) == []


def test_a_shift_by_whole_blocks_is_shared_and_no_other() -> None:
    """A file whose start grew by blocks shares its rest; one that grew by a few bytes shares nothing."""
    assert find_runs(wanted((8192, 8192, OLD, 0, 90_000)), BLOCK) == [Run(OLD, 0, 8192, 8192)]
    assert find_runs(wanted((8192, 8192, OLD, 32, 90_000)), BLOCK) == []


def test_of_several_places_the_one_that_reaches_further_counts() -> None:
    """A file that is the start of another one, and a file of its own, is shared with the latter to its end."""
    first = [PlainPlace(OLD, 0, 99_999), PlainPlace(OTHER, 0, 5000)]
    assert find_runs([WantedChunk(0, 5000, first)], BLOCK) == [Run(OTHER, 0, 0, 5000)]
    second = [PlainPlace(OLD, 5000, 99_999)]
    chunks = [WantedChunk(0, 5000, first), WantedChunk(5000, 5000, second)]
    assert find_runs(chunks, BLOCK) == [Run(OLD, 0, 0, 8192)]


def test_runs_end_where_the_source_changes() -> None:
    """Another file, a gap, or another shift begins a new run."""
    chunks = wanted(
        (0, 8192, OLD, 0, 99_999),
        (8192, 8192, OTHER, 8192, 99_999),
        (20_480, 8192, OTHER, 20_480, 99_999),
        (28_672, 8192, OTHER, 0, 99_999),
    )
    assert [(run.source, run.offset, run.size_bytes) for run in find_runs(chunks, BLOCK)] == [
        (OLD, 0, 8192),
        (OTHER, 8192, 8192),
        (OTHER, 20_480, 8192),
        (OTHER, 28_672, 8192),
    ]


WHERE = st.tuples(st.sampled_from([OLD, OTHER]), st.integers(0, 40))


@given(st.data())
def test_a_run_holds_only_bytes_that_are_wanted_from_there(data: st.DataObject) -> None:
    """Whatever lies where: each shared byte is the byte of a chunk that has this place."""
    chunks: list[WantedChunk] = []
    offset = 0
    for _ in range(data.draw(st.integers(0, 6))):
        offset += data.draw(st.sampled_from([0, 1, 4, 8]))
        size = data.draw(st.integers(1, 12))
        places = [
            PlainPlace(path, at, at + size + data.draw(st.sampled_from([0, 5])))
            for path, at in data.draw(
                st.lists(st.tuples(st.sampled_from([OLD, OTHER]), st.integers(0, 40)), max_size=2)
            )
        ]
        chunks.append(WantedChunk(offset, size, places))
        offset += size
    allowed = {
        (chunk.offset + byte, place.path, place.offset + byte)
        for chunk in chunks
        for place in chunk.places
        for byte in range(chunk.size_bytes)
    }
    for run in find_runs(chunks, 4):
        assert (run.offset - run.source_offset) % 4 == 0
        assert run.offset % 4 == 0
        for byte in range(run.size_bytes):
            assert (run.offset + byte, run.source, run.source_offset + byte) in allowed


# -- on a file system that can ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def xfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A mounted XFS of its own; skips with the reason where that can't be had."""
    if os.geteuid() != 0:
        pytest.skip("mounting a file system takes root")
    if shutil.which("mkfs.xfs") is None or shutil.which("mount") is None:
        pytest.skip("no mkfs.xfs (package xfsprogs)")
    place = tmp_path_factory.mktemp("xfs")
    image, mounted = place / "image", place / "mounted"
    with image.open("wb") as file:
        file.truncate(320 << 20)
    mounted.mkdir()
    made = subprocess.run(
        ["mkfs.xfs", "-q", "-m", "reflink=1", str(image)], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        pytest.skip(f"mkfs.xfs: {made.stderr.strip()[:200]}")
    mount = subprocess.run(
        ["mount", "-o", "loop", str(image), str(mounted)], capture_output=True, text=True, check=False
    )
    if mount.returncode != 0:
        pytest.skip(f"mount: {mount.stderr.strip()[:200]}")
    try:
        yield mounted
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def shared_bytes(path: Path) -> int:
    """Bytes of a file that lie in extents which another file has too (FIEMAP)."""
    header = struct.Struct("=QQLLLL")
    extent = struct.Struct("=QQQQQLLLL")
    buffer = bytearray(header.pack(0, 2**63, 1, 0, 512, 0) + bytes(512 * extent.size))  # flag: flush first
    with path.open("rb") as file:
        fcntl.ioctl(file, FS_IOC_FIEMAP, buffer)
    count = header.unpack_from(buffer)[3]
    extents = [extent.unpack_from(buffer, header.size + number * extent.size) for number in range(count)]
    return sum(fields[2] for fields in extents if fields[5] & FIEMAP_EXTENT_SHARED)


def manifest_of(version: str, contents: dict[str, list[bytes]]) -> Manifest:
    """A release of files that are made of the given chunks. It is never fetched."""
    table: dict[str, int] = {}
    chunks: list[Chunk] = []
    files = []
    for path, pieces in contents.items():
        indexes = []
        for piece in pieces:
            digest = digest_bytes(piece)
            if digest not in table:
                table[digest] = len(chunks)
                chunks.append(Chunk(digest, len(piece)))
            indexes.append(table[digest])
        content = b"".join(pieces)
        files.append(FileEntry(path=path, size_bytes=len(content), digest=digest_bytes(content), chunks=tuple(indexes)))
    variant = Variant(
        name="q8",
        files=tuple(files),
        runtime=RuntimeUse(name="command", entry=files[0].path),
        requires=Requires(),
        self_tests=SelfTests(),
        packages=(),
    )
    return Manifest(
        model="acme/assistant",
        version=version,
        released_at="2026-01-01T00:00:00Z",
        kind="fix",
        notes={"en": "n"},
        chunks=tuple(chunks),
        packs=(),
        variants=(variant,),
    )


def assemble(place: Path, made: Manifest, sources: Sources) -> None:
    """A slot of chunks that the device holds."""
    disk = Disk((place.parent,), NoLedger())
    plan = Plan(
        mode="incremental",
        manifest_digest="a" * 64,
        variant="q8",
        frames=(),
        local_chunks=tuple(range(len(made.chunks))),
    )
    disk.make_directory(place)
    staging = Staging(place.parent / "staging", plan, made, lambda _: None, disk)  # type: ignore[arg-type,return-value]  # no pack is opened
    assembly = Assembly(place, made, made.variants[0], disk)
    assembly.write(plan, staging, lambda _: None, sources)
    assembly.finish(lambda _: None)
    staging.close()


PIECES = [random.Random(number).randbytes(size) for number, size in enumerate((3_000_001, 4_000_000, 2_500_003, 777))]
CHANGED = random.Random(9).randbytes(len(PIECES[1]))


def install(root: Path) -> tuple[Manifest, Sources]:
    """An old slot, written plainly."""
    old = manifest_of("1.1.1", {"model.bin": PIECES, "same.bin": PIECES[:1], "gone.bin": [CHANGED]})
    for path, pieces in {"model.bin": PIECES, "same.bin": PIECES[:1], "gone.bin": [CHANGED]}.items():
        (root / "old" / "files").mkdir(parents=True, exist_ok=True)
        (root / "old" / "files" / path).write_bytes(b"".join(pieces))
    sources = Sources()
    sources.add(old, "q8", root / "old")
    return old, sources


NEW = {"model.bin": [PIECES[0], CHANGED, *PIECES[2:]], "same.bin": PIECES[:1]}


def check_slot(place: Path) -> None:
    for path, pieces in NEW.items():
        found = place / "files" / path
        assert found.read_bytes() == b"".join(pieces)
        assert found.stat().st_nlink == 1
        assert found.stat().st_mode & 0o222 == 0


def test_equal_parts_of_files_share_blocks_and_no_inode(xfs: Path) -> None:
    """An unchanged file wholly, a changed one around its change; each file has its own inode (requirement 6.4-b)."""
    root = xfs / "sharing"
    _, sources = install(root)
    os.sync()
    before = os.statvfs(xfs)
    assemble(root / "new", manifest_of("1.1.2", NEW), sources)
    os.sync()
    after = os.statvfs(xfs)
    check_slot(root / "new")
    model, same = root / "new" / "files" / "model.bin", root / "new" / "files" / "same.bin"
    assert shared_bytes(same) >= len(PIECES[0])
    unchanged = sum(len(piece) for piece in NEW["model.bin"]) - len(CHANGED)
    assert shared_bytes(model) >= unchanged - 4 * BLOCK
    for path in (model, same):
        assert path.stat().st_ino != (root / "old" / "files" / path.name).stat().st_ino
    taken = (before.f_bfree - after.f_bfree) * before.f_frsize
    assert taken < len(CHANGED) + (1 << 20)
    # whatever happens to one of them, the other keeps its bytes
    old = root / "old" / "files" / "same.bin"
    old.write_bytes(bytes(len(PIECES[0])))
    check_slot(root / "new")


def test_a_damaged_source_is_not_passed_on(xfs: Path) -> None:
    """What was shared is looked at: a chunk that is not right is written from where it is whole."""
    root = xfs / "damaged"
    _, sources = install(root)
    spare = manifest_of("1.1.0", {"spare.bin": PIECES})
    (root / "spare" / "files").mkdir(parents=True)
    (root / "spare" / "files" / "spare.bin").write_bytes(b"".join(PIECES))
    sources.add(spare, "q8", root / "spare")
    for name in ("model.bin", "same.bin"):
        with (root / "old" / "files" / name).open("r+b") as file:
            file.seek(1_000_000)
            file.write(b"damage")
    assemble(root / "new", manifest_of("1.1.2", NEW), sources)
    check_slot(root / "new")


def test_where_nothing_can_be_shared_everything_is_written(tmp_path: Path) -> None:
    """On a file system without reflinks, and when a source goes meanwhile, the slot is the same."""
    _, sources = install(tmp_path)
    assemble(tmp_path / "new", manifest_of("1.1.2", NEW), sources)
    check_slot(tmp_path / "new")
