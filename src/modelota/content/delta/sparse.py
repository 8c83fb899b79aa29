"""Operation `sparse`: the few elements that changed, as gaps and new values."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from modelota.content.delta import zstd
from modelota.content.delta.coded import Reader, write_number
from modelota.content.delta.contract import Loops, invalid
from modelota.content.delta.numeric import fit

WIDTHS: Final = (1, 2, 4)


def changed(target: bytes, base: bytes, width: int) -> npt.NDArray[np.intp]:
    """Indices of the elements of `width` bytes in which the two differ."""
    size = len(target) // width * width
    old = fit(base, size).view(f"<u{width}")
    return np.flatnonzero(np.frombuffer(target, dtype=f"<u{width}", count=size // width) != old)


def encode(loops: Loops, target: bytes, where: npt.NDArray[np.intp], width: int) -> bytes:
    """Code `target` by its elements at `where`."""
    count = len(target) // width
    values = np.frombuffer(target, dtype=f"<u{width}", count=count)[where]
    planes = np.ascontiguousarray(values.view(np.uint8).reshape(-1, width).T).tobytes()
    parts = [
        bytes([width]) + write_number(where.size),
        loops.encode_gaps(where),
        zstd.pack(planes),
        target[count * width :],
    ]
    return b"".join(parts)


def decode(loops: Loops, coded: bytes, base: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    reader = Reader(coded)
    width, count = reader.take(1)[0], reader.number()
    if width not in WIDTHS:
        raise invalid("width")
    elements = size_bytes // width
    if count > elements:
        raise invalid("gaps")
    where, used = loops.decode_gaps(reader.rest(), count, elements)
    reader.take(used)
    planes = np.frombuffer(zstd.unpack(reader, count * width), dtype=np.uint8).reshape(width, count)
    out = fit(base, elements * width).copy()
    out.view(f"<u{width}")[where] = np.ascontiguousarray(planes.T).reshape(-1).view(f"<u{width}")
    tail = bytes(reader.take(size_bytes - elements * width))
    reader.end()
    return out.tobytes() + tail
