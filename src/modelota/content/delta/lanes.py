"""Coded symbols: interleaved range asymmetric numeral systems with one static table per context.

Many lanes share one stream of words: lane i codes symbols i, i + lanes, i + 2 lanes, … The kernel walks through them,
and NumPy decodes one symbol of every lane at once. A lane costs about a byte, because its last state, which would
otherwise be a constant, carries two bytes of whatever the decoder needs only afterwards. `docs/formats/delta.md` has
the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from modelota.content.delta import arrays
from modelota.content.delta.coded import Reader, write_number
from modelota.content.delta.contract import LOWER, SCALE, SCALE_BITS, U8, U16, U32, invalid
from modelota.content.delta.tables import SYMBOLS, read_tables, write_tables

I64 = npt.NDArray[np.int64]

LANES_MAX: Final = 4096
CONTEXTS_MAX: Final = 32
COST_ONE: Final = 1 << 16  # a bit, in costs

_BITS_A_LANE: Final = 450  # where a tail fills the lanes, they then take about 2 % of what they code
_BITS_A_BARE_LANE: Final = 1100  # where none does: the same
_BITS_A_DENSE_LANE: Final = 500
_STEPS_MAX: Final = 8192  # symbols of a lane: NumPy takes several microseconds for each
_LANES_WANTED: Final = 8  # in short streams, as long as they are affordable
_BITS_A_WANTED_LANE: Final = 256
_STEPS_WANTED: Final = 512
ALL_SYMBOLS: Final = np.arange(SYMBOLS)
_CONTEXT_BITS: Final = 8  # of a table, besides one for each symbol up to the last, and
_LENGTH_BITS: Final = 4  # besides the length itself, for each frequency


def encode(symbols: U8, contexts: U8, counts: U32, tail: bytes) -> bytes:
    """Code `symbols`, and `tail` behind them, partly inside the lanes' states.

    Args:
        symbols: any number.
        contexts: of each symbol, an index into `counts`.
        counts: (contexts, 256), how often each symbol occurs in each context.
        tail: what `decode` returns beside the symbols.
    """
    frequencies = normalise(counts)
    lanes = _lanes(estimate_cost(counts) // COST_ONE, symbols.size, len(tail))
    carried = tail[: 2 * lanes].ljust(2 * lanes, b"\0")
    states = np.frombuffer(carried, dtype="<u2").astype(np.uint32) + np.uint32(LOWER)
    words = arrays.lanes_encode(frequencies, contexts, symbols, states)
    head = write_number(lanes) + write_number(words.size) + write_tables(frequencies)
    return b"".join([head, states.astype("<u4").tobytes(), words.astype("<u2").tobytes(), tail[2 * lanes :]])


def decode(reader: Reader, contexts: U8, context_count: int, tail_bytes: Callable[[U8], int]) -> tuple[U8, bytes]:
    """The symbols and the tail.

    Args:
        reader: stands where `encode`'s bytes begin.
        contexts: of each symbol, less than `context_count`.
        context_count: how many tables there are.
        tail_bytes: how long the tail is, given the symbols.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    lanes, word_count = reader.number(), reader.number()
    if not 1 <= lanes <= LANES_MAX:
        raise invalid("lanes")
    if word_count > contexts.size:  # a symbol takes one word at most
        raise invalid("words")
    frequencies, table_bytes = read_tables(reader.rest(), context_count)
    reader.take(table_bytes)
    states = np.frombuffer(reader.take(4 * lanes), dtype="<u4").astype(np.uint32)
    words = np.frombuffer(reader.take(2 * word_count), dtype="<u2").astype(np.uint16, copy=False)
    if int(states.min()) < LOWER:
        raise invalid("states")
    symbols, used = arrays.lanes_decode(arrays.decoding_table(frequencies), contexts, states, _aligned(words))
    if used != word_count:
        raise invalid("words")
    if np.any(states >> np.uint32(16) != 1):
        raise invalid("states")
    carried = (states & np.uint32(0xFFFF)).astype("<u2").tobytes()
    size_bytes = tail_bytes(symbols)
    if any(carried[size_bytes:]):
        raise invalid("states")
    return symbols, carried[:size_bytes] + bytes(reader.take(max(0, size_bytes - 2 * lanes)))


def estimate_cost(counts: U32) -> int:
    """About how many bits, times `COST_ONE`, symbols with these (contexts, 256) counts take, tables included."""
    return int(context_costs(counts, ALL_SYMBOLS).sum())


def coded_cost(counts: U32, tail_bytes: int) -> int:
    """The same with lanes, as `encode` makes it of these counts and a tail, the tail itself excepted."""
    cost = estimate_cost(counts)
    lanes = _lanes(cost // COST_ONE, int(counts.sum(dtype=np.int64)), tail_bytes)
    return cost + 8 * (lanes + max(0, 2 * lanes - tail_bytes)) * COST_ONE


def context_costs(counts: U32, symbols: I64) -> I64:
    """What each context costs, given (contexts, symbols) counts. In integers, so that every encoder chooses the same.

    Args:
        counts: how often each symbol occurs in each context.
        symbols: which symbols the columns stand for, ascending.
    """
    have = counts.astype(np.int64)
    total = have.sum(axis=1)
    logs, log_total = log2_of(have), log2_of(total)
    cost: I64 = total * log_total - (have * logs).sum(axis=1)
    listed = (have > 0) & (symbols > 0)
    lengths = np.maximum(0, SCALE_BITS + ((logs - log_total[:, None]) >> 16))
    entries = np.where(listed, _LENGTH_BITS + lengths, 0).sum(axis=1)
    cost += (entries + np.where(listed, symbols, 0).max(axis=1) + _CONTEXT_BITS) * COST_ONE
    return cost


def log2_of(numbers: I64) -> I64:
    """Logarithms to base 2, times `COST_ONE`, of numbers below 2^32, within 0.0005; of 0 that of 1."""
    octave = np.frexp(np.maximum(numbers, 1).astype(np.float64))[1].astype(np.int64) - 1
    x = ((numbers << (31 - octave)) & 0x7FFFFFFF) >> 15
    curve = 29013 - ((16213 * x) >> 16) + ((5466 * ((x * x) >> 16)) >> 16)
    out: I64 = (octave << 16) + x + ((((x * (65536 - x)) >> 16) * curve) >> 16)
    return out


def normalise(counts: U32) -> U16:
    """Frequencies that sum to `SCALE` in each context, at least 1 for what occurs.

    How they are chosen is the encoder's affair. Here: by largest remainder, then what the small ones took too much is
    taken from those to whom it matters least.
    """
    out = np.zeros(counts.shape, dtype=np.uint16)
    for row, have in zip(out, counts.astype(np.int64), strict=True):
        total = int(have.sum())
        if not total:
            row[0] = SCALE
            continue
        used = have.nonzero()[0]
        exact = have[used] * SCALE
        share = np.maximum(1, exact // total)
        missing = SCALE - int(share.sum())
        if missing > 0:
            order = np.argsort(share * total - exact, kind="stable")
            share[order[:missing]] += 1
        while missing < 0:
            # Removing one slot from f costs count * log2(f / (f - 1)) bits.
            cost = np.where(share > 1, have[used] / np.maximum(share - 1, 1), np.inf)
            share[int(np.argmin(cost))] -= 1
            missing += 1
        row[used] = share
    return out


def _lanes(bits: int, count: int, tail_bytes: int) -> int:
    lanes = bits // _BITS_A_LANE
    if 2 * lanes > tail_bytes:
        # A long stream of few bits gets some more, or its lanes would be long, and slow.
        dense = min(math.isqrt(count) // 4, bits // _BITS_A_DENSE_LANE)
        lanes = max(tail_bytes // 2, bits // _BITS_A_BARE_LANE, dense)
    lanes = max(lanes, count // _STEPS_MAX, min(_LANES_WANTED, bits // _BITS_A_WANTED_LANE, count // _STEPS_WANTED))
    return max(1, min(LANES_MAX, count, lanes))


def _aligned(words: U16) -> U16:
    return words if words.flags.aligned else words.copy()
