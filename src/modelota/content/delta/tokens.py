"""Magnitudes as tokens: 0 … 15 as they are; above, the octave, finely in four steps; the rest is left over."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from modelota.content.delta.contract import DIRECT, LISTED, U8, U32, invalid

_OCTAVES: Final = 28  # of magnitudes of 32 bits, above those with a token of their own


class Alphabet(NamedTuple):
    """How magnitudes from `DIRECT` on become tokens.

    Attributes:
        step_bits: 2 to its power is how many tokens an octave has.
        end: tokens from here to `LISTED` stand for nothing.
        extra_bits: how many bits of a magnitude each token leaves over.
        start: the least magnitude of each token.
    """

    step_bits: int
    end: int
    extra_bits: npt.NDArray[np.int64]
    start: U32


def _alphabet(step_bits: int) -> Alphabet:
    end = DIRECT + (_OCTAVES << step_bits)
    extra_bits, start = np.zeros(LISTED, dtype=np.int64), np.arange(LISTED, dtype=np.uint32)
    for token in range(DIRECT, end):
        octave, step = divmod(token - DIRECT, 1 << step_bits)
        extra_bits[token] = 4 - step_bits + octave
        start[token] = ((1 << step_bits) + step) << extra_bits[token]
    return Alphabet(step_bits, end, extra_bits, start)


FINE: Final = _alphabet(2)
COARSE: Final = _alphabet(0)  # for few elements, which do not repay long tables


def tokens_of(magnitude: npt.NDArray[np.unsignedinteger], alphabet: Alphabet = FINE) -> U8:
    """The token of each magnitude."""
    out: U8 = np.minimum(magnitude, DIRECT).astype(np.uint8)
    large = (out == DIRECT).nonzero()[0]
    if large.size:
        wide = magnitude[large].astype(np.float64)  # exact: at most 32 bits
        octave = np.frexp(wide)[1] - 1
        steps = alphabet.step_bits
        step = (magnitude[large].astype(np.int64) >> (octave - steps)) & ((1 << steps) - 1)
        out[large] = DIRECT + ((octave - 4) << steps) + step
    return out


def leftover_bits(tokens: U8, listed: int, alphabet: Alphabet) -> tuple[int, int]:
    """How many bits of signs and of extras these tokens leave over.

    Raises:
        RefuseContent: `delta-invalid`: a token is none, with so many listed.
    """
    signs = int(np.count_nonzero(tokens))
    large = tokens[tokens >= DIRECT]
    if not large.size:
        return signs, 0
    if int(large.max()) >= LISTED + listed:
        raise invalid("tokens")
    plain = large[large < LISTED] if listed else large
    if plain.size and int(plain.max()) >= alphabet.end:
        raise invalid("tokens")
    return signs - (large.size - plain.size), int(alphabet.extra_bits[plain].sum())
