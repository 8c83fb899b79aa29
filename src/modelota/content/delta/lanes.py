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

from modelota.content.delta.contract import LOWER, SCALE, U8, U16, U32, Loops, invalid
from modelota.content.delta.tables import write_tables

F64 = npt.NDArray[np.float64]

LANES_MAX: Final = 4096
CONTEXTS_MAX: Final = 32

_BITS_A_LANE: Final = 450  # where a tail fills the lanes, they then take about 2 % of what they code
_BITS_A_BARE_LANE: Final = 1100  # where none does: the same
_STEPS_MAX: Final = 8192  # symbols of a lane: NumPy takes several microseconds for each
_LANES_WANTED: Final = 8  # in short streams, as long as they are affordable
_BITS_A_WANTED_LANE: Final = 256
_ENTRY_BITS: Final = 9  # of a frequency in a table, about
_CONTEXT_BITS: Final = 8
_NUMBER_BITS: Final = 7


class Reader:
    """Takes a coded chunk apart from the front."""

    def __init__(self, coded: bytes) -> None:
        self._coded = memoryview(coded)
        self._at = 0

    @property
    def left_bytes(self) -> int:
        """How much was not taken yet."""
        return len(self._coded) - self._at

    def take(self, size_bytes: int) -> memoryview:
        """The next `size_bytes`.

        Raises:
            RefuseContent: `delta-invalid`: fewer are left.
        """
        if size_bytes > self.left_bytes:
            raise invalid("short")
        self._at += size_bytes
        return self._coded[self._at - size_bytes : self._at]

    def peek(self, size_bytes: int) -> memoryview:
        """The next `size_bytes`, which stay where they are; raises like `take`."""
        found = self.take(size_bytes)
        self._at -= size_bytes
        return found

    def array(self, size_bytes: int) -> U8:
        """The next `size_bytes` as an array."""
        return np.frombuffer(self.take(size_bytes), dtype=np.uint8)

    def number(self) -> int:
        """A number below 2^28: seven bits in a byte, the lowest first, and the highest bit where more follow.

        Raises:
            RefuseContent: `delta-invalid`: it does not end.
        """
        value = 0
        for place in range(4):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (_NUMBER_BITS * place)
            if byte < 0x80:
                return value
        raise invalid("number")

    def rest(self) -> U8:
        """All that was not taken, which stays where it is."""
        return np.frombuffer(self._coded[self._at :], dtype=np.uint8)

    def end(self) -> None:
        """Raises `delta-invalid` unless everything was taken."""
        if self.left_bytes:
            raise invalid("long")


def write_number(value: int) -> bytes:
    """What `Reader.number` reads."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= _NUMBER_BITS
    out.append(value)
    return bytes(out)


def encode(loops: Loops, symbols: U8, contexts: U8, counts: U32, tail: bytes) -> bytes:
    """Code `symbols`, and `tail` behind them, partly inside the lanes' states.

    Args:
        loops: the implementation.
        symbols: any number.
        contexts: of each symbol, an index into `counts`.
        counts: (contexts, 256), how often each symbol occurs in each context.
        tail: what `decode` returns beside the symbols.
    """
    frequencies = normalise(counts)
    lanes = _lanes(int(estimate_bits(counts)), symbols.size, len(tail))
    carried = tail[: 2 * lanes].ljust(2 * lanes, b"\0")
    states = np.frombuffer(carried, dtype="<u2").astype(np.uint32) + np.uint32(LOWER)
    words = loops.lanes_encode(frequencies, contexts, symbols, states)
    head = write_number(lanes) + write_number(words.size) + write_tables(frequencies)
    return b"".join([head, states.astype("<u4").tobytes(), words.astype("<u2").tobytes(), tail[2 * lanes :]])


def decode(
    loops: Loops, reader: Reader, contexts: U8, context_count: int, tail_bytes: Callable[[U8], int]
) -> tuple[U8, bytes]:
    """The symbols and the tail.

    Args:
        loops: the implementation.
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
    frequencies, table_bytes = loops.read_tables(reader.rest(), context_count)
    reader.take(table_bytes)
    states = np.frombuffer(reader.take(4 * lanes), dtype="<u4").astype(np.uint32)
    words = np.frombuffer(reader.take(2 * word_count), dtype="<u2").astype(np.uint16, copy=False)
    if int(states.min()) < LOWER:
        raise invalid("states")
    symbols, used = loops.lanes_decode(loops.decoding_table(frequencies), contexts, states, _aligned(words))
    if used != word_count:
        raise invalid("words")
    if np.any(states >> np.uint32(16) != 1):
        raise invalid("states")
    carried = (states & np.uint32(0xFFFF)).astype("<u2").tobytes()
    size_bytes = tail_bytes(symbols)
    if any(carried[size_bytes:]):
        raise invalid("states")
    return symbols, carried[:size_bytes] + bytes(reader.take(max(0, size_bytes - 2 * lanes)))


def estimate_bits(counts: U32) -> float:
    """About how many bits symbols with these (contexts, symbols) counts take, tables included."""
    return float(context_bits(counts).sum())


def context_bits(counts: U32) -> F64:
    """The same for each context."""
    have = counts.astype(np.float64)
    total = have.sum(axis=1)
    bits: F64 = total * np.log2(np.maximum(total, 1))
    bits -= np.einsum("ij,ij->i", have, np.log2(np.maximum(have, 1)))
    bits += _ENTRY_BITS * np.count_nonzero(counts, axis=1) + _CONTEXT_BITS
    return bits


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
        exact = have[used] * SCALE / total
        share = np.maximum(1, np.floor(exact)).astype(np.int64)
        missing = SCALE - int(share.sum())
        if missing > 0:
            order = np.argsort(share - exact, kind="stable")
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
        lanes = max(tail_bytes // 2, bits // _BITS_A_BARE_LANE, min(math.isqrt(count) // 4, bits // 400))
    lanes = max(lanes, count // _STEPS_MAX, min(_LANES_WANTED, bits // _BITS_A_WANTED_LANE))
    return max(1, min(LANES_MAX, count, lanes))


def _aligned(words: U16) -> U16:
    return words if words.flags.aligned else words.copy()
