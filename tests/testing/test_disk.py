"""The simulated disk: what was flushed is always there, what was not may be missing, torn, or out of order."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from modelota.storage.durable import Disk
from modelota.testing.disk import GRANULE_BYTES, RecordedCalls

SEEDS = range(40)
OLD, NEW = b"o" * 10_000, b"n" * 10_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "file").write_bytes(OLD)
    return tmp_path / "root"


@pytest.fixture
def calls(root: Path) -> RecordedCalls:
    return RecordedCalls(root)


@pytest.fixture
def disk(root: Path, calls: RecordedCalls) -> Disk:
    return Disk((root,), calls.journal, calls)


@pytest.fixture
def states(calls: RecordedCalls, tmp_path: Path) -> Callable[[int | None], Iterator[Path]]:
    """Many states after a cut, at the end unless said otherwise."""

    numbers = itertools.count()

    def made(cut: int | None = None) -> Iterator[Path]:
        for seed in SEEDS:
            place = tmp_path / f"after-{next(numbers)}"
            calls.after_power_cut(len(calls.operations) if cut is None else cut, seed, place)
            yield place

    return made


def contents(state: Path) -> dict[str, bytes]:
    return {path.relative_to(state).as_posix(): path.read_bytes() for path in state.rglob("*") if path.is_file()}


def test_write_file_is_old_or_new_at_every_cut(
    disk: Disk, calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """The writer's pattern: at every cut the whole old or the whole new file, and the new one once it returned."""
    disk.write_file(root / "sub" / "file", NEW)
    last = len(calls.operations)
    for cut in range(last + 1):
        found = {contents(state)["sub/file"] for state in states(cut)}
        assert found <= {OLD, NEW}
    assert {contents(state)["sub/file"] for state in states(None)} == {NEW}
    assert {contents(state)["sub/file"] for state in states(0)} == {OLD}


def test_a_rename_without_a_flush_before_it_can_leave_an_empty_file(
    disk: Disk, calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """What the pattern is for: without the flush of the file the name may be durable and the bytes not."""
    descriptor = disk.open_file(root / "sub" / "new")
    disk.write_at(descriptor, 0, NEW, root / "sub" / "new")
    os.close(descriptor)
    disk.rename(root / "sub" / "new", root / "sub" / "file")
    found = {contents(state)["sub/file"] for state in states(None)}
    assert b"" in found
    assert NEW in found
    assert any(0 < len(content) < len(NEW) or b"\0" in content for content in found)


def test_writes_are_torn_in_granules(disk: Disk, root: Path, states: Callable[[int | None], Iterator[Path]]) -> None:
    """Unflushed bytes in the middle of a file are old or new by granule; flushed ones stay."""
    path = root / "sub" / "file"
    descriptor = disk.open_file(path)
    disk.write_at(descriptor, 0, NEW[:100], path)
    disk.sync(descriptor, path)
    disk.write_at(descriptor, 0, b"x" * len(NEW), path)
    os.close(descriptor)
    found = {contents(state)["sub/file"] for state in states(None)}
    assert NEW[:100] + OLD[100:] in found
    assert len(found) > 3
    for content in found:
        for start in range(0, len(content), GRANULE_BYTES):
            assert content[start + 100 : start + GRANULE_BYTES] in {
                whole[start + 100 : start + GRANULE_BYTES] for whole in (OLD, b"x" * len(OLD))
            }


def test_names_in_different_directories_are_reordered(
    disk: Disk, calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """A later name can be durable without an earlier one, in the same directory too, until it is flushed."""
    for name in ("one", "two"):
        os.close(disk.open_file(root / "sub" / name))
    found = {tuple(sorted(contents(state))) for state in states(None)}
    assert ("sub/file", "sub/two") in found
    assert ("sub/file",) in found
    disk.sync_directory(root / "sub")
    assert {tuple(sorted(contents(state))) for state in states(None)} == {("sub/file", "sub/one", "sub/two")}


def test_a_new_directory_that_was_not_flushed_takes_everything_with_it(
    calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """A flushed file in a directory whose own name was not flushed may be gone."""
    calls.make_directory(root / "fresh", 0o700)
    descriptor = calls.open(root / "fresh" / "a", os.O_WRONLY | os.O_CREAT, 0o600)
    calls.write(descriptor, NEW, 0)
    calls.sync(descriptor)
    os.close(descriptor)
    calls.sync_directory(root / "fresh")
    assert {contents(state).get("fresh/a") for state in states(None)} == {None, NEW}


def test_a_removed_directory_is_empty_before_it_goes(
    disk: Disk, calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """A tree that is being removed loses files one by one, and once that returned it stays away."""
    (root / "sub" / "kept").unlink(missing_ok=True)
    disk.remove(root / "sub")
    for state in states(len(calls.operations) - 1):  # before the flush
        assert (state / "sub").is_dir() or not (state / "sub").exists()
        assert contents(state) in ({"sub/file": OLD}, {})
    assert all(not (state / "sub").exists() for state in states(None))


def test_exchange_is_one_step(
    disk: Disk, calls: RecordedCalls, root: Path, states: Callable[[int | None], Iterator[Path]]
) -> None:
    """Two names that change places do so together or not at all, at every cut."""
    disk.write_file(root / "other", NEW)
    start = len(calls.operations)
    disk.exchange(root / "other", root / "sub" / "file")
    for cut in range(start, len(calls.operations) + 1):
        for state in states(cut):
            found = contents(state)
            assert (found["other"], found["sub/file"]) in {(NEW, OLD), (OLD, NEW)}


def test_commits_are_durable_when_they_return(calls: RecordedCalls) -> None:
    """The journal of a cut holds what was committed before it, and nothing that came later."""
    calls.journal.commit("a", 1)
    middle = len(calls.operations)
    calls.journal.commit("a", 2)
    calls.journal.commit("b", 3)
    assert calls.journal.at(middle) == {"a": 1}
    assert calls.journal.at(len(calls.operations)) == {"a": 2, "b": 3}


def test_the_same_seed_gives_the_same_state(disk: Disk, calls: RecordedCalls, root: Path, tmp_path: Path) -> None:
    """A state that showed a fault can be had again."""
    disk.write_file(root / "a", NEW)
    descriptor = disk.open_file(root / "b")
    disk.write_at(descriptor, 0, NEW * 5, root / "b")
    os.close(descriptor)
    for seed in SEEDS:
        calls.after_power_cut(len(calls.operations), seed, tmp_path / f"one-{seed}")
        calls.after_power_cut(len(calls.operations), seed, tmp_path / f"two-{seed}")
        assert contents(tmp_path / f"one-{seed}") == contents(tmp_path / f"two-{seed}")
