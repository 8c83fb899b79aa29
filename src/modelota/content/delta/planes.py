"""Operations `planes` and `floats`: bytes of the same place in their elements together.

`planes` is for elements about which nothing else is known: a block of an exotic quantisation, 8-byte numbers. What
differs from the base is the exclusive or. `floats` needs no base: a floating-point number's exponent is coded, the rest
hardly shrinks.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from modelota.content.delta import zstd
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import U8, Loops, invalid
from modelota.content.delta.numeric import fit

_HEAD: Final = struct.Struct("<H")  # bytes of an element
STRIDE_MAX: Final = 1024
FLOAT_WIDTHS: Final = (1, 2, 4)


def encode(target: bytes, base: bytes, stride: int) -> bytes:
    """Code `target` against `base`, in elements of `stride` bytes."""
    size = len(target) // stride * stride
    mixed = np.frombuffer(target, dtype=np.uint8, count=size) ^ fit(base, size)
    planes = np.ascontiguousarray(mixed.reshape(-1, stride).T).tobytes()
    return _HEAD.pack(stride) + zstd.pack(planes) + target[size:]


def decode(coded: bytes, base: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    reader = Reader(coded)
    (stride,) = _HEAD.unpack(reader.take(_HEAD.size))
    if not 1 <= stride <= STRIDE_MAX:
        raise invalid("width")
    size = size_bytes // stride * stride
    planes = np.frombuffer(zstd.unpack(reader, size), dtype=np.uint8).reshape(stride, -1)
    out = np.ascontiguousarray(planes.T).ravel() ^ fit(base, size)  # a copy: of one plane there is only a view so far
    tail = bytes(reader.take(size_bytes - size))
    reader.end()
    return out.tobytes() + tail


def encode_floats(loops: Loops, target: bytes, width: int) -> bytes:
    """Code `target` without a base: the sign moved behind the number, its first byte coded, the others packed."""
    size = len(target) // width * width
    values = np.frombuffer(target, dtype=f"<u{width}", count=size // width)
    kind = values.dtype.type
    turned = ((values << kind(1)) | (values >> kind(8 * width - 1))).view(np.uint8).reshape(-1, width)
    first = np.ascontiguousarray(turned[:, -1])
    coded = loops.encode_symbols(first)
    rest = b"".join(zstd.pack(np.ascontiguousarray(turned[:, place]).tobytes()) for place in range(width - 1))
    return bytes([width]) + coded + rest + target[size:]


def decode_floats(loops: Loops, coded: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    reader = Reader(coded)
    width = reader.take(1)[0]
    if width not in FLOAT_WIDTHS:
        raise invalid("width")
    count = size_bytes // width
    first, used = loops.decode_symbols(reader.rest(), count)
    reader.take(used)
    turned = np.empty((count, width), dtype=np.uint8)
    for place in range(width - 1):
        turned[:, place] = np.frombuffer(zstd.unpack(reader, count), dtype=np.uint8)
    turned[:, -1] = first
    values = turned.reshape(-1).view(f"<u{width}")
    kind = values.dtype.type
    out: U8 = ((values >> kind(1)) | (values << kind(8 * width - 1))).view(np.uint8)
    tail = bytes(reader.take(size_bytes - count * width))
    reader.end()
    return out.tobytes() + tail
