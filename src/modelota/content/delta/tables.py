"""Frequencies as bytes; the "Tables" of `docs/formats/delta.md`."""

from __future__ import annotations

from typing import Final

import numpy as np

from modelota.content.delta.bits import pack_bits, unpack_bits
from modelota.content.delta.contract import SCALE, SCALE_BITS, U8, U16, invalid

SYMBOLS: Final = 256


def write_tables(frequencies: U16) -> bytes:
    """Of each context: the last symbol used, which of 1 … last are, how long their frequencies are, and their bits."""
    used = frequencies > 0
    last = (SYMBOLS - 1 - used[:, ::-1].argmax(axis=1)).astype(np.uint8)
    listed = (np.arange(1, SYMBOLS) <= last[:, None]).ravel()
    flags = used[:, 1:].ravel()[listed]
    present = frequencies[:, 1:].ravel()[listed][flags].astype(np.uint32)
    lengths = np.frexp(present.astype(np.float64))[1].astype(np.int64) - 1  # of 1, 2-3, 4-7, …: 0, 1, 2, …
    nibbles = np.concatenate([lengths, [0] * (present.size % 2)]).astype(np.uint8)
    mantissas = pack_bits(present & ((1 << lengths) - 1).astype(np.uint32), lengths)
    parts = [last, np.packbits(flags, bitorder="little"), nibbles[::2] | nibbles[1::2] << 4, mantissas]
    return b"".join(part.tobytes() for part in parts)


def read_tables(coded: U8, contexts: int) -> tuple[U16, int]:
    """What `write_tables` wrote at the front of `coded`, and how many bytes that took.

    Raises:
        RefuseContent: `delta-invalid`: they are cut off, or a context's frequencies sum to too much.
    """
    last = coded[:contexts]
    listed = int(last.sum(dtype=np.int64))
    at = contexts + (listed + 7) // 8
    if coded.size < at:
        raise invalid("tables")
    flags = np.unpackbits(coded[contexts:at], bitorder="little", count=listed).astype(np.bool_)
    count = int(np.count_nonzero(flags))
    nibbles = coded[at : at + (count + 1) // 2]
    at += (count + 1) // 2
    if coded.size < at:
        raise invalid("tables")
    lengths = np.stack([nibbles & 15, nibbles >> 4], axis=1).ravel()[:count].astype(np.int64)
    if count and int(lengths.max()) > SCALE_BITS:
        raise invalid("tables")
    size = (int(lengths.sum()) + 7) // 8
    if coded.size < at + size:
        raise invalid("tables")
    present = (1 << lengths) | unpack_bits(coded[at : at + size], np.cumsum(lengths) - lengths, lengths)
    found = np.zeros(contexts * (SYMBOLS - 1), dtype=np.uint16)
    found[np.flatnonzero(np.arange(1, SYMBOLS) <= last[:, None])[flags]] = present
    out = np.zeros((contexts, SYMBOLS), dtype=np.uint16)
    out[:, 1:] = found.reshape(contexts, SYMBOLS - 1)
    totals = out.sum(axis=1, dtype=np.int64)
    if int(totals.max()) > SCALE:
        raise invalid("tables")
    out[:, 0] = SCALE - totals
    return out, at + size
