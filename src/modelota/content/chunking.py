"""Cutting a file into chunks.

The publisher cuts; the device only joins. So how a file is cut may change with every release, the format staying as it
is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from modelota.errors import OurBug
from modelota.spec.limits import CHUNK_MAX_BYTES


def cut(stream: BinaryIO, boundaries: Iterable[int] = ()) -> Iterator[bytes]:
    """Cut `stream`, from where it stands to its end, into chunks of 1 … `CHUNK_MAX_BYTES`.

    A chunk ends at every boundary and is otherwise as long as it may be. Holds about one chunk in memory.

    Args:
        stream: a binary stream; reads may be short.
        boundaries: offsets from where the stream stands, ascending. This is the seam for formats: one that knows where
            tensors start and how long a quantisation block is yields the places where it wants a cut. Consumed
            lazily; those past the end of the stream have no effect.

    Raises:
        OSError: reading fails.
        OurBug: `invariant-broken`: the boundaries are not ascending.
    """
    position = 0
    ahead = iter(boundaries)
    boundary = next(ahead, None)
    while True:
        while boundary is not None and boundary <= position:
            following = next(ahead, None)
            if following is not None and following < boundary:
                raise OurBug("invariant-broken", detail=f"boundary {following} after {boundary}")
            boundary = following
        want = CHUNK_MAX_BYTES if boundary is None else min(CHUNK_MAX_BYTES, boundary - position)
        chunk = read_exactly(stream, want)
        if not chunk:
            return
        position += len(chunk)
        yield chunk


def read_exactly(stream: BinaryIO, size_bytes: int) -> bytes:
    """Read `size_bytes`, or fewer only at the end of the stream; a single read may return less at any time.

    Raises:
        OSError: reading fails.
    """
    piece = stream.read(size_bytes)
    if len(piece) in {0, size_bytes}:
        return piece
    pieces = [piece]
    missing = size_bytes - len(piece)
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
