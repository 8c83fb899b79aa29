"""The elements of `numeric` in NumPy: integer differences, coded with the base's exponent as context."""

from __future__ import annotations

import struct
from typing import Final

import numpy as np

from modelota.content.delta import arrays, lanes
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import DIRECT, U8, U32, Elements, Leftover, invalid, slot_of
from modelota.content.delta.lanes import CONTEXTS_MAX, context_costs, estimate_cost
from modelota.content.delta.tables import SYMBOLS

WIDTHS: Final = (1, 2, 4)
LISTED_MAX: Final = 128

# width, shift, mask, first exponent, contexts, dropped bits, listed differences
_HEAD: Final = struct.Struct("<BBBBBBB")
_NONE: Final = np.empty(0, dtype=np.uint32)
_LISTED_SAMPLE: Final = 1 << 16
_LISTED_ONE_IN: Final = {1: 64, 2: 64, 4: 1024}  # a difference as frequent as this is worth a token


def encode_elements(target: U8, base: U8, elements: Elements) -> bytes:
    """Code the bytes of whole elements."""
    drop = 0
    listed = _frequent(target, base, elements.width)
    tokens, counts, seen, leftover = arrays.forward(base, target, elements, 0, listed)
    if seen and not seen & 1:  # all differences are multiples of 2: values of a narrower type, widened
        drop = (seen & -seen).bit_length() - 1
        tokens, counts, _, leftover = arrays.forward(base, target, elements, drop, listed)
    first, merged = choose_contexts(counts)
    contexts = arrays.contexts(base, elements, first, len(merged))
    head = _HEAD.pack(*elements, first, len(merged), drop, listed.size) + listed.astype(f"<u{elements.width}").tobytes()
    return head + lanes.encode(tokens, contexts, merged, leftover.signs.tobytes() + leftover.extras.tobytes())


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
    width, shift, mask, first, count, drop, list_size = _HEAD.unpack(reader.take(_HEAD.size))
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
        sign_bits, extra_bits = arrays.leftover_bits(tokens, listed.size)
        signs = (sign_bits + 7) // 8
        return signs + (extra_bits + 7) // 8

    tokens, tail = lanes.decode(reader, contexts, count, tail_bytes)
    packed = np.frombuffer(tail, dtype=np.uint8)
    return arrays.inverse(base, tokens, elements, drop, listed, Leftover(packed[:signs], packed[signs:]))


def choose_contexts(counts: U32) -> tuple[int, U32]:
    """Which exponents share a table: the lowest, and the highest, while that saves more than it costs.

    Returns:
        The first exponent with a table of its own, and the counts by context.
    """
    used = np.flatnonzero(counts.any(axis=1))
    if not used.size:
        return 0, np.zeros((1, SYMBOLS), dtype=np.uint32)
    first = int(used[0])
    tokens = counts.any(axis=0)
    rows = list(counts[first : int(used[-1]) + 1, tokens])
    costs = context_costs(np.stack(rows)).tolist()
    for end in (0, -1):
        beside = 1 if end == 0 else -2
        while len(rows) > 1:
            both = rows[end] + rows[beside]
            cost = estimate_cost(both[None])
            if cost > costs[end] + costs[beside] and len(rows) <= CONTEXTS_MAX:
                break
            rows[beside], costs[beside] = both, cost
            rows.pop(end)
            costs.pop(end)
            first += end == 0
    merged = np.zeros((len(rows), SYMBOLS), dtype=np.uint32)
    merged[:, tokens] = rows
    return first, merged
