"""The interface of an object store: named bytes, whole or in ranges, with limits and errors that have codes.

Public methods guard: they check paths, enforce limits, translate errors, and repeat a read once whose connection
broke. The private hooks do the work; `modelota.delivery.stores` has the implementations.
"""

from __future__ import annotations

import unicodedata
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple, TypeVar

from modelota.errors import ModelotaError, OurBug, RefuseContent, TryLater

Span = tuple[int, int]  # offset and length, bytes
T = TypeVar("T")

_PATH_MAX_BYTES: Final = 1024  # the shortest limit among the stores (S3 keys)
_READ_ATTEMPTS: Final = 2  # of whole documents; ranges are repeated by `fetch`, which counts what they cost


def check_path(path: str) -> None:
    """Refuse a path that some store or server could read as another one.

    Raises:
        RefuseContent: `unsafe-path`.
    """
    sound = (
        0 < len(path.encode("utf-8", "surrogatepass")) <= _PATH_MAX_BYTES
        and all(part not in {"", ".", ".."} for part in path.split("/"))
        and not any(char == "\\" or unicodedata.category(char) in {"Cc", "Cs"} for char in path)
    )
    if not sound:
        raise RefuseContent("unsafe-path", path=ascii(path)[:200])


class ObjectInfo(NamedTuple):
    """One listed object."""

    path: str
    size_bytes: int


class ObjectStore(ABC):
    """A store of immutable and of replaceable objects, named by relative paths.

    All methods raise `RefuseContent` `unsafe-path` for a path with an empty, `.` or `..` part or a control character.
    Reading raises `TryLater` `network-unreachable`, `network-interrupted`, `server-error`, `object-missing` or
    `disk-error`; `RefuseContent` `insecure-url`; `AskPerson` `permission-denied`.

    Attributes:
        url: what was opened, without user name and password.
        writable: whether `put` and `delete` are allowed.
    """

    def __init__(self, url: str, *, writable: bool = False) -> None:
        self.url: Final = url
        self.writable: Final = writable

    # -- reading ------------------------------------------------------------------------------------------------

    def get(self, path: str, limit_bytes: int) -> bytes:
        """Read a whole object of at most `limit_bytes`.

        Reading stops with the first piece past the limit, so an endless answer ends too.

        Raises:
            RefuseContent: `document-too-large`.
        """
        return self._repeat(lambda: self._get(path, limit_bytes))

    def _get(self, path: str, limit_bytes: int) -> bytes:
        received = bytearray()
        with self._guard(path):
            for piece in self._read(path, None):
                received += piece
                if len(received) > limit_bytes:
                    raise RefuseContent(
                        "document-too-large", document=path, limit_bytes=limit_bytes, found_bytes=len(received)
                    )
        return bytes(received)

    def get_range(self, path: str, offset: int, length_bytes: int) -> bytes:
        """Read exactly `length_bytes` from `offset` on.

        Raises:
            RefuseContent: `server-ignores-ranges`; `server-lies-about-size` (the object ends before the range does, or
                another range or another number of bytes came).
        """
        received = bytearray()
        with self._guard(path):
            for piece in self._read(path, (offset, length_bytes)):
                self._append(path, received, piece, length_bytes)
            self._finish(path, received, length_bytes)
        return bytes(received)

    async def aget_range(self, path: str, offset: int, length_bytes: int) -> bytes:
        """Do what `get_range` does without blocking the event loop."""
        received = bytearray()
        await self.aread_into(received, path, offset, length_bytes)
        return bytes(received)

    async def aread_into(
        self,
        received: bytearray,
        path: str,
        offset: int,
        length_bytes: int,
        on_piece: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Append exactly `length_bytes` from `offset` on to `received`; `on_piece` is told the bytes of each arrival.

        Whatever arrived before an error stays in `received`: a caller that pays for bytes can count them, and go on
        from there. Never more than `length_bytes` are appended.

        Raises:
            RefuseContent: as `get_range`.
        """
        before = len(received)
        with self._guard(path):
            async for piece in self._aread(path, (offset, length_bytes)):
                self._append(path, received, piece, length_bytes, before)
                on_piece(len(piece))
            self._finish(path, received, length_bytes, before)

    def _append(self, path: str, received: bytearray, piece: bytes, length_bytes: int, before: int = 0) -> None:
        room = before + length_bytes - len(received)
        received += piece[:room]
        if len(piece) > room:
            raise self._lies(path, length_bytes, length_bytes + len(piece) - room)

    def _finish(self, path: str, received: bytearray, length_bytes: int, before: int = 0) -> None:
        if len(received) - before != length_bytes:
            raise self._lies(path, length_bytes, len(received) - before)

    def _lies(self, path: str, expected_bytes: int, found_bytes: int) -> RefuseContent:
        return RefuseContent(
            "server-lies-about-size", url=self.address(path), expected_bytes=expected_bytes, found_bytes=found_bytes
        )

    def size(self, path: str) -> int:
        """Size of an object in bytes, as the store says."""

        def ask() -> int:
            with self._guard(path):
                return self._size(path)

        return self._repeat(ask)

    def exists(self, path: str) -> bool:
        """Whether there is such an object."""
        try:
            self.size(path)
        except TryLater as error:
            if error.code == "object-missing":
                return False
            raise
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects below directory `prefix` (empty: all), in no order.

        Raises:
            AskPerson: `argument-invalid` (web servers cannot list).
        """
        with self._guard(prefix or "."):
            yield from self._list(prefix)

    @property
    def preferred(self) -> ObjectStore:
        """The place that is asked first."""
        return self

    def distrust(self, place: ObjectStore | None = None) -> bool:  # noqa: ARG002  of one place there is no other
        """What came was not what was signed: ask another place next time, and say whether there is one.

        Args:
            place: the one that was `preferred` when it was asked for; when another is by now, that one is not to blame.
        """
        return False

    # -- writing ------------------------------------------------------------------------------------------------

    def put(self, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
        """Store `data`, or the contents of a file, under `path`, as a whole or not at all.

        On a directory the object is on the disk when this returns.

        Args:
            path: of the object.
            data: bytes, or the file to copy.
            create_only: never replace; of several concurrent calls exactly one succeeds.

        Raises:
            TryLater: `publish-conflict`: it exists.
            AskPerson: `no-space`, `permission-denied`.
            OurBug: `invariant-broken`: the store was not opened for writing.
        """
        self._must_write()
        with self._guard(path):
            self._put(path, data, create_only=create_only)

    def delete(self, path: str) -> None:
        """Delete an object.

        Raises:
            TryLater: `object-missing`; some stores (S3) do not tell.
            OurBug: `invariant-broken`: the store was not opened for writing.
        """
        self._must_write()
        with self._guard(path):
            self._delete(path)

    # -- guards -------------------------------------------------------------------------------------------------

    def address(self, path: str) -> str:
        """How `path` is named in messages."""
        return f"{self.url.rstrip('/')}/{path}"

    def _must_write(self) -> None:
        if not self.writable:
            raise OurBug("invariant-broken", detail=f"write to a store opened for reading: {self.url}")

    @contextmanager
    def _guard(self, path: str) -> Iterator[None]:
        if path != ".":
            check_path(path)
        try:
            yield
        except ModelotaError:
            raise
        except Exception as error:
            translated = self._translate(error, path)
            if translated is None:
                raise
            raise translated from error

    def _repeat(self, read: Callable[[], T]) -> T:
        for _ in range(_READ_ATTEMPTS - 1):
            try:
                return read()
            except TryLater as error:
                # A server closes an idle connection at the moment we use it again: the one failure that
                # is over when it is noticed.
                if error.code != "network-interrupted":
                    raise
        return read()

    # -- hooks --------------------------------------------------------------------------------------------------

    @abstractmethod
    def _translate(self, error: Exception, path: str) -> ModelotaError | None:
        """The error to raise instead of `error`; None if `error` is a bug of ours and goes on as it is."""

    @abstractmethod
    def _read(self, path: str, span: Span | None) -> Iterator[bytes]:
        """The pieces of an object, or of `span` of it, as they arrive."""

    @abstractmethod
    def _aread(self, path: str, span: Span | None) -> AsyncIterator[bytes]:
        """`_read` without blocking the event loop."""

    @abstractmethod
    def _size(self, path: str) -> int:
        """Size in bytes."""

    @abstractmethod
    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        """The objects below `prefix`."""

    @abstractmethod
    def _put(self, path: str, data: bytes | Path, *, create_only: bool) -> None:
        """Store as a whole or not at all."""

    @abstractmethod
    def _delete(self, path: str) -> None:
        """Delete."""
