"""Tests of modelota.repository.read_ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.delivery.stores import open_store
from modelota.errors import TryLater
from modelota.repository import read_ahead as module
from modelota.repository.read_ahead import read_ahead
from modelota.spec.offer import PlannedFrame

PACKS = {f"{number:064x}": bytes([number]) * 100 + bytes(range(200)) for number in (1, 2)}
FIRST, SECOND = PACKS
Asked = list[tuple[str, int, int]]


def frame(pack: str, offset: int, length_bytes: int) -> PlannedFrame:
    return PlannedFrame(pack, 0, offset, length_bytes, "raw", 0)


@pytest.fixture
def store() -> ObjectStore:
    """A store with two packs."""
    made = open_store("memory://", writable=True)
    for digest, data in PACKS.items():
        made.put(paths.pack_path(digest), data)
    return made


@pytest.fixture
def asked(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The requests that reach the store."""
    seen: Asked = []
    original = store.get_range

    def note(path: str, offset: int, length_bytes: int) -> bytes:
        seen.append((path, offset, length_bytes))
        return original(path, offset, length_bytes)

    monkeypatch.setattr(store, "get_range", note)
    return seen


def test_neighbours_are_one_request(store: ObjectStore, asked: Asked) -> None:
    """Frames come in their order, whole, with as many requests as there are packs."""
    frames = [
        frame(FIRST, 10, 20),
        frame(FIRST, 30, 5),
        frame(FIRST, 40, 60),
        frame(SECOND, 0, 300),
        frame(FIRST, 0, 9),
    ]
    found = [bytes(data) for data in read_ahead(store, frames)]
    assert found == [PACKS[each.pack][each.offset : each.offset + each.length_bytes] for each in frames]
    assert sorted(asked) == sorted(
        [(paths.pack_path(FIRST), 10, 90), (paths.pack_path(SECOND), 0, 300), (paths.pack_path(FIRST), 0, 9)]
    )
    assert list(read_ahead(store, [])) == []


def test_little_is_read_ahead(store: ObjectStore, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests keep to their size, and no more than two are made beyond the one whose frames are being used."""
    monkeypatch.setattr(module, "RANGE_MAX_BYTES", 30)
    frames = [frame(FIRST, number * 10, 10) for number in range(30)]
    with closing(read_ahead(store, frames)) as coming:
        for number, data in enumerate(coming):
            assert bytes(data) == PACKS[FIRST][number * 10 : number * 10 + 10]
            assert len(asked) <= number // 3 + 1 + module.REQUESTS_MAX
    assert [length_bytes for _, _, length_bytes in asked] == [30] * 10


def test_two_requests_at_a_time(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second is under way while the first is; the third waits until one of them is done."""
    monkeypatch.setattr(module, "RANGE_MAX_BYTES", 10)
    together, counted = threading.Barrier(2, timeout=30), threading.Lock()
    running, most = 0, 0
    original = store.get_range

    def slow(path: str, offset: int, length_bytes: int) -> bytes:
        nonlocal running, most
        with counted:
            running += 1
            most = max(most, running)
        if offset < 20:
            together.wait()  # broken unless both are here
        with counted:
            running -= 1
        return original(path, offset, length_bytes)

    monkeypatch.setattr(store, "get_range", slow)
    assert len(list(read_ahead(store, [frame(FIRST, number * 10, 10) for number in range(9)]))) == 9
    assert most == 2


def test_an_error_comes_in_its_turn(store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was read before it is used first; nothing is asked for afterwards."""
    monkeypatch.setattr(module, "RANGE_MAX_BYTES", 10)
    missing = "f" * 64
    frames = [frame(FIRST, 0, 10), frame(missing, 0, 10), *(frame(FIRST, number * 10, 10) for number in range(9))]
    coming: Iterator[memoryview] = read_ahead(store, frames)
    assert bytes(next(coming)) == PACKS[FIRST][:10]
    with pytest.raises(TryLater) as caught:
        next(coming)
    assert caught.value.code == "object-missing"
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]


def test_leaving_early(store: ObjectStore, asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever stops leaves no thread, and no more requests than were under way."""
    monkeypatch.setattr(module, "RANGE_MAX_BYTES", 10)
    with closing(read_ahead(store, [frame(FIRST, number * 10, 10) for number in range(20)])) as coming:
        next(coming)
    assert len(asked) <= 1 + module.REQUESTS_MAX
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read-ahead")]
