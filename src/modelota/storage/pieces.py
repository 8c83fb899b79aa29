"""An iterator of byte strings as a file to read from, for what takes files only."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import Final

from modelota.spec.limits import MIB

_PIECE_BYTES: Final = MIB


class _Pieces(io.RawIOBase):
    """The pieces of an iterator as a file to read from; `seen` is told each."""

    def __init__(self, pieces: Iterator[bytes], seen: Callable[[bytes], object]) -> None:
        super().__init__()
        self._pieces = pieces
        self._seen = seen
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill `buffer` with what comes next; 0 at the end."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # as the base class has it
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._seen(piece)
            self._rest = memoryview(piece)
        count = min(len(view), len(self._rest))
        view[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def reader(pieces: Iterator[bytes], seen: Callable[[bytes], object]) -> io.BufferedReader:
    """A file to read the pieces from; `seen` is called with each as it is taken."""
    return io.BufferedReader(_Pieces(pieces, seen), buffer_size=_PIECE_BYTES)
