"""Content-defined cutting: FastCDC, 2020 edition, with parameters that are pinned (`docs/formats/chunking.md`).

Another cut would still be correct, because the device only joins; but nothing would be found again in earlier releases.
So the parameters, and with golden vectors the results, never change.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, Final, NamedTuple

from pyfastcdc import FastCDC

from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB

_NORMALISATION: Final = 1
_SEED: Final = 0
_READ_BYTES: Final = 256 * KIB


class Grain(NamedTuple):
    """How finely something is cut, in bytes."""

    min_bytes: int
    average_bytes: int
    max_bytes: int


HEADER: Final = Grain(1 * KIB, 4 * KIB, 16 * KIB)
DOCUMENT: Final = Grain(4 * KIB, 16 * KIB, 64 * KIB)
TABLE: Final = Grain(16 * KIB, 64 * KIB, 256 * KIB)
DATA: Final = Grain(256 * KIB, 1 * MIB, CHUNK_MAX_BYTES)

_DOCUMENT_MAX_BYTES: Final = 8 * MIB
_TABLE_MAX_BYTES: Final = 64 * MIB


def grain_of_file(size_bytes: int) -> Grain:
    """How an opaque file of this size is cut: a small one is likely text, in which changes are small."""
    if size_bytes <= _DOCUMENT_MAX_BYTES:
        return DOCUMENT
    return TABLE if size_bytes <= _TABLE_MAX_BYTES else DATA


def cut_by_content(stream: BinaryIO, size_bytes: int, grain: Grain) -> Iterator[bytes]:
    """Cut the next `size_bytes` of a stream where their content says.

    Holds at most two chunks of the largest size, and the one it yields.

    Args:
        stream: reads may be short; if it ends early, so do the chunks.
        size_bytes: how much is cut.
        grain: sizes of the chunks.

    Raises:
        OSError: reading fails.
    """
    if size_bytes <= grain.min_bytes:  # the same result without a buffer for two chunks
        part = _Part(stream, size_bytes)
        pieces = list(iter(lambda: part.read(size_bytes), b""))
        if pieces:
            yield b"".join(pieces)
        return
    cutter = FastCDC(
        grain.average_bytes,
        min_size=grain.min_bytes,
        max_size=grain.max_bytes,
        normalized_chunking=_NORMALISATION,
        seed=_SEED,
    )
    for chunk in cutter.cut_stream(_Part(stream, size_bytes)):
        yield bytes(chunk.data)


class _Part:
    """The next so many bytes of a stream."""

    def __init__(self, stream: BinaryIO, size_bytes: int) -> None:
        self._stream = stream
        self._left_bytes = size_bytes

    def read(self, size_bytes: int) -> bytes:
        piece = self._stream.read(min(size_bytes, self._left_bytes, _READ_BYTES))
        self._left_bytes -= len(piece)
        return piece
