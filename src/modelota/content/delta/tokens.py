"""Magnitudes as tokens: 0 … 15 as they are; above, the octave and the two bits below the first, the rest left over."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from modelota.content.delta.contract import DIRECT, LISTED, U8


def octave_bits(token: int) -> int:
    """How many bits of a magnitude its token leaves over."""
    return 0 if token < DIRECT else 2 + ((token - DIRECT) >> 2)


OCTAVE_BITS: Final = np.array([octave_bits(token) for token in range(LISTED)], dtype=np.int64)
TOKEN_START: Final = np.array(
    [token if token < DIRECT else (4 + (token & 3)) << octave_bits(token) for token in range(LISTED)], dtype=np.uint32
)


def tokens_of(magnitude: npt.NDArray[np.unsignedinteger]) -> U8:
    """The token of each magnitude."""
    out: U8 = np.minimum(magnitude, DIRECT).astype(np.uint8)
    large = (out == DIRECT).nonzero()[0]
    if large.size:
        wide = magnitude[large].astype(np.float64)  # exact: at most 32 bits
        octave = np.frexp(wide)[1] - 1
        out[large] = DIRECT + (octave - 4) * 4 + ((magnitude[large].astype(np.int64) >> (octave - 2)) & 3)
    return out
