"""Operation `numeric`: integer differences, coded with the base's exponent as context.

An optimiser's step is about equally large for all weights; counted in units of the last place it depends on the
weight's exponent, and the decoder has the base. So the exponent chooses the table, and costs nothing.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import U8, Elements, Loops, invalid

# kind (as formats call it) -> how its bytes become integers
ELEMENTS: Final[dict[str, Elements]] = {
    "bf16": Elements(2, 7, 0xFF),
    "f16": Elements(2, 10, 0x1F),
    "f32": Elements(4, 23, 0xFF),
    "f8_e4m3": Elements(1, 3, 0x0F),
    "f8_e5m2": Elements(1, 2, 0x1F),
    "f8_e4m3fnuz": Elements(1, 3, 0x0F),
    "f8_e5m2fnuz": Elements(1, 2, 0x1F),
    "f8_e8m0": Elements(1, 4, 0x0F),
    "c64": Elements(4, 23, 0xFF),  # pairs of f32
    "i8": Elements(1, 4, 0x0F),
    "u8": Elements(1, 4, 0x0F),
    "i16": Elements(2, 12, 0x0F),
    "u16": Elements(2, 12, 0x0F),
    "i32": Elements(4, 28, 0x0F),
    "u32": Elements(4, 28, 0x0F),
}

WIDTHS: Final = (1, 2, 4)


def encode(loops: Loops, target: bytes, base: bytes, elements: Elements, lead: int = 0) -> bytes:
    """Code `target` against `base`, of which what is missing reads as zeros and what is too much is not used.

    Args:
        loops: the implementation.
        target: any bytes.
        base: any bytes.
        elements: what both consist of.
        lead: bytes before the first whole element, less than its width.
    """
    lead = min(lead, len(target))
    end = lead + (len(target) - lead) // elements.width * elements.width
    new = np.frombuffer(target, dtype=np.uint8)[lead:end]
    body = loops.encode_elements(np.ascontiguousarray(new), _after(base, lead, new.size), elements)
    return b"".join([bytes([lead]), body, target[:lead], target[end:]])


def decode(loops: Loops, coded: bytes, base: bytes, size_bytes: int) -> bytes:
    """The target.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    reader = Reader(coded)
    lead, width = reader.peek(2)
    if width not in WIDTHS or lead >= width or lead > size_bytes:
        raise invalid("width")
    reader.take(1)
    size = (size_bytes - lead) // width * width
    out, used = loops.decode_elements(reader.rest(), _after(base, lead, size))
    reader.take(used)
    rest = reader.take(size_bytes - size)
    reader.end()
    return b"".join([rest[:lead], out.data, rest[lead:]])


def _after(base: bytes, lead: int, size_bytes: int) -> U8:
    found = fit(base, lead + size_bytes)[lead:]
    return found.copy() if lead else found  # elements are aligned


def fit(base: bytes, size_bytes: int) -> U8:
    """The first `size_bytes` of `base`, zeros where it has none."""
    if len(base) >= size_bytes:
        return np.frombuffer(base, dtype=np.uint8, count=size_bytes)
    out = np.zeros(size_bytes, dtype=np.uint8)
    out[: len(base)] = np.frombuffer(base, dtype=np.uint8)
    return out
