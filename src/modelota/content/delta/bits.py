"""Fields of a few bits, one after the other from the lowest bit of the first byte, as array operations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U32 = npt.NDArray[np.uint32]
I64 = npt.NDArray[np.int64]


def pack_bits(values: U32, bits: I64) -> U8:
    """The low `bits` (0 … 32 each) of each of `values`; zeros fill the last byte."""
    total = int(bits.sum())
    if not total:
        return np.empty(0, dtype=np.uint8)
    ends = np.cumsum(bits)
    place = np.arange(total) - np.repeat(ends - bits, bits)
    return np.packbits((np.repeat(values, bits) >> place.astype(np.uint32)) & np.uint32(1) != 0, bitorder="little")


def unpack_bits(packed: U8, at: I64, bits: I64) -> U32:
    """The fields of `bits` (0 … 32 each) that begin at bit `at` of `packed`; zeros follow its end."""
    if not at.size:
        return np.empty(0, dtype=np.uint32)
    first = int(at[0]) >> 3
    size = (int(at[-1] + bits[-1]) >> 3) + 8 - first
    padded = np.zeros(size, dtype=np.uint8)
    part = packed[first : first + size]
    padded[: part.size] = part
    windows = np.ndarray(size - 7, dtype="<u8", buffer=padded, strides=(1,))
    at = at - 8 * first
    found = windows[at >> 3] >> (at & 7).astype(np.uint64)
    out: U32 = (found & ((np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1))).astype(np.uint32)
    return out
