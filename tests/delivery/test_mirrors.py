"""Several places of one repository: failover, going on in the middle, distrust, missing sticks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.delivery.mirrors import MirroredStore, open_mirrors
from modelota.delivery.stores import ObjectStore, open_store
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.testing.network import InstrumentedServer, Status


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """Two copies of one repository."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "object").write_bytes(b"0123456789" * 10)
    return tmp_path / "one", tmp_path / "two"


@pytest.fixture
def mirrored(places: tuple[Path, Path]) -> Iterator[tuple[InstrumentedServer, InstrumentedServer, ObjectStore]]:
    """Two servers and the store over both."""
    with InstrumentedServer(places[0]) as first, InstrumentedServer(places[1]) as second:
        yield first, second, open_mirrors([first.url, second.url])


def test_the_first_place_is_asked_while_it_answers(
    mirrored: tuple[InstrumentedServer, InstrumentedServer, ObjectStore],
) -> None:
    """A mirror costs nothing as long as it is not needed."""
    first, second, store = mirrored
    assert store.get("object", 1000) == b"0123456789" * 10
    assert store.get_range("object", 5, 10) == b"5678901234"
    assert store.size("object") == 100
    assert second.sent_bytes("*") == 0
    assert first.sent_bytes("*") > 0


def test_the_next_place_is_asked_when_one_fails_and_from_then_on(places: tuple[Path, Path]) -> None:
    """An object that a place lacks, or a place that is gone, is read from the next; what failed is asked last."""
    (places[0] / "object").unlink()
    store = open_mirrors([str(places[0]), str(places[1])])
    assert store.get("object", 1000) == b"0123456789" * 10
    (places[0] / "other").write_bytes(b"x")
    (places[1] / "other").write_bytes(b"y")
    assert store.get("other", 10) == b"y"


def test_all_places_failing_tells_of_the_preferred_one(places: tuple[Path, Path]) -> None:
    """The error is that of the place which was preferred."""
    store = open_mirrors([str(places[0]), str(places[1])])
    with pytest.raises(TryLater) as caught:
        store.get("missing", 10)
    assert caught.value.code == "object-missing"
    assert str(places[0]) in str(caught.value.params["url"])


def test_a_mirror_answers_for_a_repository_that_is_down(
    mirrored: tuple[InstrumentedServer, InstrumentedServer, ObjectStore],
) -> None:
    """That the mirror has no next root is an answer, and the mirror is asked first from then on."""
    first, _, store = mirrored
    first.script("*", Status(503))
    with pytest.raises(TryLater) as caught:
        store.get("2.root.json", 10)
    assert caught.value.code == "object-missing"
    asked = len(first.requests())
    assert store.get("object", 1000) == b"0123456789" * 10
    assert len(first.requests()) == asked


def test_several_requests_that_find_the_same_place_lying_blame_it_once(places: tuple[Path, Path]) -> None:
    """Frames are fetched on several connections: what the second finds out does not bring the liar back."""
    store = open_mirrors([str(places[0]), str(places[1])])
    liar = store.preferred
    assert store.distrust(liar)
    honest = store.preferred
    assert honest is not liar
    assert store.distrust(liar)
    assert store.preferred is honest


async def test_a_range_goes_on_where_a_place_broke_off(places: tuple[Path, Path]) -> None:
    """What arrived from one place is not asked for again at the next."""
    whole = open_store(str(places[1]))

    class Broken(type(whole)):  # type: ignore[misc]  # the class of a directory's store
        """Breaks off after seven bytes."""

        async def aread_into(self, received, path, offset, length_bytes, on_piece=lambda _: None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  as its parent
            received += b"0123456"
            on_piece(7)
            raise TryLater("network-interrupted", url="", detail="")

    asked: list[tuple[int, int]] = []

    class Noting(type(whole)):  # type: ignore[misc]  # as above
        """Notes what it is asked for."""

        async def aread_into(self, received, path, offset, length_bytes, on_piece=lambda _: None) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001  as its parent
            asked.append((offset, length_bytes))
            await super().aread_into(received, path, offset, length_bytes, on_piece)

    store = MirroredStore([Broken("one", places[0]), Noting("two", places[1])])
    received = bytearray()
    pieces: list[int] = []
    await store.aread_into(received, "object", 0, 30, pieces.append)
    assert bytes(received) == b"0123456789" * 3
    assert asked == [(7, 23)]
    assert sum(pieces) == 30


def test_what_is_distrusted_is_asked_last(places: tuple[Path, Path]) -> None:
    """After content that was not what was signed, the next place is preferred."""
    (places[0] / "object").write_bytes(b"bad")
    store = open_mirrors([str(places[0]), str(places[1])])
    assert store.get("object", 1000) == b"bad"
    assert store.distrust()
    assert store.get("object", 1000) == b"0123456789" * 10
    assert not open_store(str(places[0])).distrust()


def test_a_stick_that_is_not_there_is_left_out(places: tuple[Path, Path], tmp_path: Path) -> None:
    """A missing directory does not keep the others from being asked; if nothing is left, it is told."""
    store = open_mirrors([str(tmp_path / "pulled"), str(places[1])])
    assert store.get("object", 1000) == b"0123456789" * 10
    with pytest.raises(RefuseContent) as caught:
        open_mirrors([str(tmp_path / "pulled")])
    assert caught.value.code == "repository-not-found"


def test_an_unsafe_or_senseless_address_is_refused_even_beside_good_ones(places: tuple[Path, Path]) -> None:
    """A mirror in plain http elsewhere is never asked, and never silently left out."""
    with pytest.raises(RefuseContent) as caught:
        open_mirrors([str(places[0]), "http://mirror.example/repository"])
    assert caught.value.code == "insecure-url"
    with pytest.raises(AskPerson):
        open_mirrors([str(places[0]), "gopher://mirror.example/"])
