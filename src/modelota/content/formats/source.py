"""A file as a parser sees it: read forward through a small window, never beyond its end or the parser's limit."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, Final

from modelota.content.digest import Digester
from modelota.content.formats.layout import hostile, malformed

_WINDOW_BYTES: Final = 256 * 1024


class Source:
    """Reads the header of a file.

    Nothing a file claims is believed: a length is compared with what is left before anything is allocated or skipped.

    Args:
        stream: seekable; the file starts at its offset 0. Reads may be short.
        size_bytes: of the whole file.
    """

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self._window = b""
        self._window_start = 0
        self._limit_bytes = size_bytes
        self.size_bytes = size_bytes
        self.position = 0

    @property
    def left_bytes(self) -> int:
        """What follows the position."""
        return self.size_bytes - self.position

    def limit(self, limit_bytes: int) -> None:
        """Refuse from now on to read or skip past this offset."""
        self._limit_bytes = limit_bytes

    def take(self, size_bytes: int) -> bytes:
        """Read exactly `size_bytes` and move behind them.

        Raises:
            AskPerson: `model-unreadable` with `header-cut-off`; `model-file-hostile` with `header-bytes`.
            OSError: reading fails.
        """
        start = self.position
        self.skip(size_bytes)
        begin = start - self._window_start
        if begin < 0 or begin + size_bytes > len(self._window):
            self._fill(start, size_bytes)
            begin = 0
        return self._window[begin : begin + size_bytes]

    def skip(self, size_bytes: int) -> None:
        """Move `size_bytes` ahead.

        Raises:
            AskPerson: as `take`.
        """
        if size_bytes < 0 or size_bytes > self.left_bytes:
            raise malformed("header-cut-off")
        if self.position + size_bytes > self._limit_bytes:
            raise hostile("header-bytes", limit=self._limit_bytes, found=self.position + size_bytes)
        self.position += size_bytes

    def skip_texts(self, count: int, length: struct.Struct) -> None:
        """Move behind `count` texts, each of which follows its length; a vocabulary has 100 000 and more.

        Raises:
            AskPerson: as `take`.
        """
        end = min(self.size_bytes, self._limit_bytes)
        while count:
            self.skip(length.unpack(self.take(length.size))[0])
            count -= 1
            window, position = self._window, self.position - self._window_start
            last, most = len(window) - length.size, end - self._window_start
            while count and position <= last:
                after = position + length.size + length.unpack_from(window, position)[0]
                if after > most:  # `take` and `skip` say what is wrong
                    break
                position = after
                count -= 1
            self.position = self._window_start + position

    def again(self, start: int, end: int) -> bytes:
        """A short range that was walked already; the position stays.

        Raises:
            AskPerson: `model-unreadable` with `header-cut-off`.
            OSError: reading fails.
        """
        begin = start - self._window_start
        if begin < 0 or begin + end - start > len(self._window):
            self._fill(start, end - start)
            begin = 0
        return self._window[begin : begin + end - start]

    def digest(self, start: int, end: int) -> str:
        """The BLAKE3 digest of a range that was walked already; the position stays.

        Raises:
            AskPerson: `model-unreadable` with `header-cut-off`.
            OSError: reading fails.
        """
        digester, at = Digester(), start
        while at < end:
            self._stream.seek(at)
            piece = self._stream.read(min(end - at, _WINDOW_BYTES))
            if not piece:  # it became shorter while it was read
                raise malformed("header-cut-off")
            digester.update(piece)
            at += len(piece)
        return digester.hexdigest()

    def _fill(self, start: int, least_bytes: int) -> None:
        most_bytes = min(max(least_bytes, _WINDOW_BYTES), self.size_bytes - start)
        self._stream.seek(start)
        pieces: list[bytes] = []
        missing = most_bytes
        while missing and (piece := self._stream.read(missing)):
            pieces.append(piece)
            missing -= len(piece)
        self._window = b"".join(pieces)
        self._window_start = start
        if len(self._window) < least_bytes:  # it became shorter while it was read
            raise malformed("header-cut-off")


def size_of(stream: BinaryIO) -> int:
    """Size of a seekable stream in bytes; where it stands stays."""
    before = stream.tell()
    size_bytes = stream.seek(0, os.SEEK_END)
    stream.seek(before)
    return size_bytes
