"""Coded bytes: taken apart from the front."""

from __future__ import annotations

from typing import Final

import numpy as np

from modelota.content.delta.contract import U8, invalid

_NUMBER_BITS: Final = 7


class Reader:
    """Takes a coded chunk apart from the front."""

    def __init__(self, coded: bytes | memoryview) -> None:
        self._coded = memoryview(coded)
        self._at = 0

    @property
    def left_bytes(self) -> int:
        """How much was not taken yet."""
        return len(self._coded) - self._at

    def take(self, size_bytes: int) -> memoryview:
        """The next `size_bytes`.

        Raises:
            RefuseContent: `delta-invalid`: fewer are left.
        """
        if size_bytes > self.left_bytes:
            raise invalid("short")
        self._at += size_bytes
        return self._coded[self._at - size_bytes : self._at]

    def peek(self, size_bytes: int) -> memoryview:
        """The next `size_bytes`, which stay where they are; raises like `take`."""
        found = self.take(size_bytes)
        self._at -= size_bytes
        return found

    def array(self, size_bytes: int) -> U8:
        """The next `size_bytes` as an array."""
        return np.frombuffer(self.take(size_bytes), dtype=np.uint8)

    def number(self) -> int:
        """A number below 2^28: seven bits in a byte, the lowest first, and the highest bit where more follow.

        Raises:
            RefuseContent: `delta-invalid`: it does not end.
        """
        value = 0
        for place in range(4):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (_NUMBER_BITS * place)
            if byte < 0x80:
                return value
        raise invalid("number")

    def rest(self) -> U8:
        """All that was not taken, which stays where it is."""
        return np.frombuffer(self._coded[self._at :], dtype=np.uint8)

    def end(self) -> None:
        """Raises `delta-invalid` unless everything was taken."""
        if self.left_bytes:
            raise invalid("long")


def write_number(value: int) -> bytes:
    """What `Reader.number` reads."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= _NUMBER_BITS
    out.append(value)
    return bytes(out)
