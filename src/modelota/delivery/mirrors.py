"""Several places of the same repository as one store: when one fails, the next is asked.

Nothing here is trusted: metadata is signed and every frame is authenticated, so a mirror can fail, lag or lie, and the
worst it costs is the bytes of one more request. What failed is asked last from then on.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

from modelota.delivery.objects import ObjectInfo, ObjectStore, Span
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent, TryLater

T = TypeVar("T")

_MISSING: Final = "object-missing"


class MirroredStore(ObjectStore):
    """Reads from the first of `stores` that can; never writes.

    Args:
        stores: at least one, in order of preference.
    """

    def __init__(self, stores: Sequence[ObjectStore]) -> None:
        super().__init__(stores[0].url)
        self._stores = list(stores)

    @property
    def preferred(self) -> ObjectStore:
        """The place that is asked first."""
        return self._stores[0]

    def distrust(self, place: ObjectStore | None = None) -> bool:
        """What the preferred store gave is not what was signed: ask it last. False when there is no other.

        Of several requests under way at once each may find out; the first moves the place, the others leave it there.
        """
        if place is None or place is self.preferred:
            self._blame(self.preferred)
        return len(self._stores) > 1

    def _blame(self, store: ObjectStore) -> None:
        self._stores.remove(store)
        self._stores.append(store)

    def _first(self, ask: Callable[[ObjectStore], T]) -> T:
        failures = _Failures()
        for store in tuple(self._stores):
            try:
                found = ask(store)
            except (TryLater, RefuseContent, AskPerson) as error:
                failures.add(store, error)
                if error.code != _MISSING:
                    self._blame(store)
            else:
                for lacking in failures.lacking:
                    self._blame(lacking)
                return found
        raise failures.told

    def get(self, path: str, limit_bytes: int) -> bytes:
        """Read a whole object from the first place that has it."""
        return self._first(lambda store: store.get(path, limit_bytes))

    def get_range(self, path: str, offset: int, length_bytes: int) -> bytes:
        """Read a range from the first place that has it."""
        return self._first(lambda store: store.get_range(path, offset, length_bytes))

    async def aread_into(
        self,
        received: bytearray,
        path: str,
        offset: int,
        length_bytes: int,
        on_piece: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Read a range; the next place goes on from the byte where one broke off."""
        before = len(received)
        failures = _Failures()
        for store in tuple(self._stores):
            gained = len(received) - before
            try:
                await store.aread_into(received, path, offset + gained, length_bytes - gained, on_piece)
            except (TryLater, RefuseContent, AskPerson) as error:
                failures.add(store, error)
                self._blame(store)
            else:
                return
        raise failures.told

    def size(self, path: str) -> int:
        """Size of an object in the first place that has it."""
        return self._first(lambda store: store.size(path))

    # -- hooks: every public way to read is answered above, and mirrors are never listed or written --------------

    def _translate(self, error: Exception, path: str) -> ModelotaError | None:
        return _never(error, path)

    def _read(self, path: str, span: Span | None) -> Iterator[bytes]:
        raise _never(path, span)

    def _aread(self, path: str, span: Span | None) -> AsyncIterator[bytes]:
        raise _never(path, span)

    def _size(self, path: str) -> int:
        raise _never(path)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        raise _never(prefix)

    def _put(self, path: str, data: bytes | Path, *, create_only: bool) -> None:
        raise _never(path, data, create_only)

    def _delete(self, path: str) -> None:
        raise _never(path)


class _Failures:
    """Why no place has given something so far.

    That an object is not there is often an answer: nobody has published the next root. So one place that says so says
    more than others that can't be reached, and is not blamed unless another place has the object.
    """

    def __init__(self) -> None:
        self._first: ModelotaError | None = None
        self._missing: ModelotaError | None = None
        self.lacking: list[ObjectStore] = []

    def add(self, store: ObjectStore, error: ModelotaError) -> None:
        self._first = self._first or error  # the place that was preferred says best what is wrong
        if error.code == _MISSING:
            self._missing = self._missing or error
            self.lacking.append(store)

    @property
    def told(self) -> ModelotaError:
        found = self._missing or self._first
        assert found is not None
        return found


def _never(*what: object) -> OurBug:
    return OurBug("invariant-broken", detail=f"asked of mirrors, which only read: {what[0]!r:.100}")


def open_mirrors(urls: Sequence[str], *, proxy: str | None = None) -> ObjectStore:
    """Open the places of a repository; a directory that is not there now (a stick that was pulled) is left out.

    Args:
        urls: at least one, in order of preference; see `open_store`.
        proxy: an HTTP proxy; None: as the environment says.

    Raises:
        AskPerson, RefuseContent: as `open_store`, when no place can be opened, or an address is wrong or not safe.
    """
    stores: list[ObjectStore] = []
    missing: ModelotaError | None = None
    for url in dict.fromkeys(urls):
        try:
            stores.append(open_store(url, proxy=proxy))
        except RefuseContent as error:
            if error.code != "repository-not-found":
                raise
            missing = missing or error
    if not stores:
        assert missing is not None
        raise missing
    return stores[0] if len(stores) == 1 else MirroredStore(stores)
