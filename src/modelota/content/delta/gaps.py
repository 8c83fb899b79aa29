"""Ascending positions as gaps between them, coded as magnitudes."""

from __future__ import annotations

import numpy as np

from modelota.content.delta import lanes
from modelota.content.delta.bits import pack_bits, unpack_bits
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import U8, U32, Positions, invalid
from modelota.content.delta.lanes import COST_ONE, coded_cost
from modelota.content.delta.tables import SYMBOLS
from modelota.content.delta.tokens import FINE, leftover_bits, tokens_of


def gaps_between(positions: Positions) -> U32:
    """How many places lie before each position, from the one before it or the start."""
    return (np.diff(positions, prepend=-1) - 1).astype(np.uint32)


def estimate_gaps(positions: Positions) -> int:
    """About what `encode_gaps` costs, in bits times `COST_ONE`."""
    tokens = tokens_of(gaps_between(positions))
    extra_bits = int(FINE.extra_bits[tokens].sum())
    return coded_cost(counts_of(tokens), (extra_bits + 7) // 8) + extra_bits * COST_ONE


def encode_gaps(positions: Positions) -> bytes:
    """Code ascending positions."""
    gaps = gaps_between(positions)
    tokens = tokens_of(gaps)
    bits = FINE.extra_bits[tokens]
    extras = pack_bits(gaps & ((np.int64(1) << bits) - 1).astype(np.uint32), bits).tobytes()
    return lanes.encode(tokens, np.zeros(tokens.size, dtype=np.uint8), counts_of(tokens), extras)


def decode_gaps(reader: Reader, count: int, places: int) -> Positions:
    """`count` positions below `places`.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    zeros = np.zeros(count, dtype=np.uint8)
    tokens, extras = lanes.decode(reader, zeros, 1, lambda found: (leftover_bits(found, 0, FINE)[1] + 7) // 8)
    bits = FINE.extra_bits[tokens]
    gaps = FINE.start[tokens] | unpack_bits(np.frombuffer(extras, dtype=np.uint8), np.cumsum(bits) - bits, bits)
    where = np.cumsum(gaps.astype(np.int64) + 1) - 1
    if count and int(where[-1]) >= places:
        raise invalid("gaps")
    return where


def counts_of(symbols: U8) -> U32:
    """(1, 256): how often each symbol occurs."""
    return np.bincount(symbols, minlength=SYMBOLS).astype(np.uint32)[None]
