"""Operation `blocks`: quantised blocks, split into fields, the quants predicted from the scales.

Scales come first, as numeric differences. They tell which quants to expect: what the old quant stood for, divided by
the new scale. A quantiser that is run again finds nearly that, and errs where the quotient was nearly halfway between
two whole numbers; so how far it was from one, and on which side, is the context.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from modelota.content.delta import numeric
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import Loops, invalid
from modelota.content.delta.layouts import BY_NUMBER, Layout

_HEAD: Final = struct.Struct("<B")


def encode(loops: Loops, target: bytes, base: bytes, layout: Layout) -> bytes:
    """Code `target` against `base`, of which what is missing reads as zeros and what is too much is not used."""
    size = len(target) // layout.block_bytes * layout.block_bytes
    new = np.frombuffer(target, dtype=np.uint8, count=size).reshape(-1, layout.block_bytes)
    old = numeric.fit(base, size).reshape(-1, layout.block_bytes)
    return b"".join([_HEAD.pack(layout.number), loops.encode_blocks(new, old, layout), target[size:]])


def decode(loops: Loops, coded: bytes, base: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    reader = Reader(coded)
    (number,) = _HEAD.unpack(reader.take(_HEAD.size))
    layout = BY_NUMBER.get(number)
    if layout is None:
        raise invalid("layout")
    size = size_bytes // layout.block_bytes * layout.block_bytes
    old = numeric.fit(base, size).reshape(-1, layout.block_bytes)
    new, used = loops.decode_blocks(reader.rest(), old, layout)
    reader.take(used)
    tail = reader.take(size_bytes - size)
    reader.end()
    return b"".join([new.data, tail])
