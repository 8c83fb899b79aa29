"""The elements of `numeric` in NumPy: integer differences, coded with the base's exponent as context."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import numpy as np

from modelota.content.delta import arrays, lanes
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import DIRECT, LISTED, U8, U32, Elements, Leftover, invalid, slot_of
from modelota.content.delta.lanes import CONTEXTS_MAX, COST_ONE, context_costs
from modelota.content.delta.tables import SYMBOLS
from modelota.content.delta.tokens import COARSE, FINE, leftover_bits

WIDTHS: Final = (1, 2, 4)
LISTED_MAX: Final = 128

# width, shift, mask, first exponent, contexts, dropped bits and alphabet, listed differences
_HEAD: Final = struct.Struct("<BBBBBBB")
_COARSE_WIDTH: Final = 4  # of elements for which the coarse alphabet is tried: steps of others are short
_COARSE: Final = 0x80  # beside the dropped bits: tokens of `COARSE`
_NONE: Final = np.empty(0, dtype=np.uint32)
_LISTED_SAMPLE: Final = 1 << 16
_LISTED_ONE_IN: Final = {1: 64, 2: 64, 4: 1024}  # a difference as frequent as this is worth a token


class Choice(NamedTuple):
    """Which exponents have which table.

    Attributes:
        first: the exponent that, with all below, has the first.
        counts: (contexts, 256): how often each token occurs in each.
        cost: about what all cost, in bits times `COST_ONE`.
    """

    first: int
    counts: U32
    cost: int


def encode_elements(target: U8, base: U8, elements: Elements) -> bytes:
    """Code the bytes of whole elements."""
    drop, alphabet = 0, FINE
    listed = _frequent(target, base, elements.width)
    found = arrays.forward(base, target, elements, 0, listed, FINE)
    if found.seen and not found.seen & 1:  # all differences are multiples of 2: values of a narrower type, widened
        drop = (found.seen & -found.seen).bit_length() - 1
        found = arrays.forward(base, target, elements, drop, listed, FINE)
    choice = choose_contexts(found.counts)
    large = int(found.counts[:, DIRECT:LISTED].sum())
    if elements.width == _COARSE_WIDTH and large * 2 > found.tokens.size:
        coarse = choose_contexts(_coarsened(found.counts))
        if coarse.cost + FINE.step_bits * large * COST_ONE < choice.cost:
            alphabet, choice = COARSE, coarse
            found = arrays.forward(base, target, elements, drop, listed, COARSE)
    contexts = arrays.contexts(base, elements, choice.first, len(choice.counts))
    form = drop | (_COARSE if alphabet is COARSE else 0)
    head = _HEAD.pack(*elements, choice.first, len(choice.counts), form, listed.size)
    tail = found.leftover.signs.tobytes() + found.leftover.extras.tobytes()
    coded = lanes.encode(found.tokens, contexts, choice.counts, tail)
    return b"".join([head, listed.astype(f"<u{elements.width}").tobytes(), coded])


def _coarsened(counts: U32) -> U32:
    """How often each token of `COARSE` occurs, given the same of `FINE`."""
    out = counts.copy()
    out[:, DIRECT:LISTED] = 0
    out[:, DIRECT : COARSE.end] = counts[:, DIRECT:LISTED].reshape(len(counts), -1, 1 << FINE.step_bits).sum(axis=2)
    return out


def _frequent(target: U8, base: U8, width: int) -> U32:
    """Large differences that occur often: what weight decay alone did to 32-bit numbers."""
    count = target.size // width
    stride = max(1, count // _LISTED_SAMPLE)
    new, old = (part.view(f"<u{width}")[::stride] for part in (target, base))
    difference = new - old
    large = difference[difference + difference.dtype.type(DIRECT - 1) >= 2 * DIRECT - 1]
    one_in = _LISTED_ONE_IN[width]
    if large.size * one_in < difference.size or large.size < one_in:
        return _NONE
    found, often = np.unique(large, return_counts=True)
    order = np.argsort(-often, kind="stable")[:LISTED_MAX]
    order = order[often[order] * one_in >= difference.size]
    chosen: U32 = found[order].astype(np.uint32)
    # The kernel looks them up by a hash: of two with the same one, the more frequent stays.
    kept: U32 = chosen[np.sort(np.unique(slot_of(chosen), return_index=True)[1])]
    return kept


def decode_elements(reader: Reader, base: U8) -> U8:
    """What `encode_elements` coded, as many bytes as `base` has.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    width, shift, mask, first, count, form, list_size = _HEAD.unpack(reader.take(_HEAD.size))
    drop, alphabet = form & ~_COARSE, COARSE if form & _COARSE else FINE
    if width not in WIDTHS or base.size % width:
        raise invalid("width")
    bits = 8 * width
    if shift >= bits or drop >= bits or not 1 <= count <= CONTEXTS_MAX or list_size > LISTED_MAX:
        raise invalid("elements")
    elements = Elements(width, shift, mask)
    listed = np.frombuffer(reader.take(width * list_size), dtype=f"<u{width}").astype(np.uint32)
    contexts = arrays.contexts(base, elements, first, count)
    signs = 0

    def tail_bytes(tokens: U8) -> int:
        nonlocal signs
        sign_bits, extra_bits = leftover_bits(tokens, listed.size, alphabet)
        signs = (sign_bits + 7) // 8
        return signs + (extra_bits + 7) // 8

    tokens, tail = lanes.decode(reader, contexts, count, tail_bytes)
    packed = np.frombuffer(tail, dtype=np.uint8)
    leftover = Leftover(packed[:signs], packed[signs:])
    return arrays.inverse(base, tokens, elements, drop, listed, alphabet, leftover)


def choose_contexts(counts: U32) -> Choice:
    """Which exponents share a table: the lowest, and the highest, so that all cost least."""
    used = np.flatnonzero(counts.any(axis=1))
    if not used.size:
        return Choice(0, np.zeros((1, SYMBOLS), dtype=np.uint32), 0)
    tokens = np.flatnonzero(counts.any(axis=0))
    rows = counts[used[0] : used[-1] + 1, tokens]
    low, high = np.cumsum(rows, axis=0, dtype=np.uint32), np.cumsum(rows[::-1], axis=0, dtype=np.uint32)[::-1]
    alone, low_costs, high_costs = (context_costs(part, tokens) for part in (rows, low, high))
    # Of row i and column j: up to exponent i all in one table, from j on all in another, and between each in its own.
    between = np.cumsum(alone)
    costs = (low_costs - between)[:, None] + (between - alone + high_costs)
    apart = np.arange(len(rows)) - np.arange(len(rows))[:, None]
    costs[(apart < 1) | (apart >= CONTEXTS_MAX)] = np.iinfo(np.int64).max
    i, j = divmod(int(costs.argmin()), len(rows))
    cost, chosen = int(costs[i, j]), [low[i : i + 1], rows[i + 1 : j], high[j : j + 1]]
    if high_costs[0] <= cost:
        i, cost, chosen = 0, int(high_costs[0]), [high[:1]]
    merged = np.zeros((sum(map(len, chosen)), SYMBOLS), dtype=np.uint32)
    merged[:, tokens] = np.concatenate(chosen)
    return Choice(int(used[0]) + i, merged, cost)
