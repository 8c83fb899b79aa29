"""The fields of quantised blocks in NumPy: scales as numeric differences, then quants, predicted from the scales."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np

from modelota.content.delta import arrays, elements_numpy, symbols
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import F32, I8, MOVED, STILL, U8, Elements, Expected, Flags, Residuals
from modelota.content.delta.layouts import Layout

_HALF: Final = Elements(2, 10, 0x1F)
_MOVED_CONTEXTS: Final = 16
_NO_SUBS: Final = np.empty((0, 0), dtype=np.int8)


class Foretold(NamedTuple):
    """What the scales foretell about values.

    Attributes:
        before: (groups, values in a group) of the base.
        moved: groups whose scale or minimum changed, so that the values do, too.
        expected: their values.
    """

    before: I8
    moved: Flags
    expected: Expected


def encode_blocks(new: U8, old: U8, layout: Layout) -> bytes:
    """Code the fields of `new`, (blocks, bytes), against those of as many."""
    out = []
    for field in range(len(layout.halves_at)):
        before, after = layout.split_half(old, field), layout.split_half(new, field)
        out.append(elements_numpy.encode_elements(after, before, _HALF))
    subs = [layout.split_subs(blocks) for blocks in (old, new)] if layout.subs_at else [_NO_SUBS, _NO_SUBS]
    if layout.subs_at:
        out.append(_encode_values(subs[1], _foretell_subs(layout, old, new, subs[0])))
    scales = [_scales(blocks, layout, part) for blocks, part in zip((old, new), subs, strict=True)]
    quants = arrays.split(new, layout).reshape(-1, layout.group)
    were = arrays.split(old, layout).reshape(-1, layout.group)
    out.append(_encode_values(quants, _foretell(were, scales[0], scales[1], layout.limits)))
    return b"".join(out)


def decode_blocks(reader: Reader, old: U8, layout: Layout) -> U8:
    """What `encode_blocks` coded, as many blocks as `old` has.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    new = np.empty_like(old)
    for field, at in enumerate(layout.halves_at):
        found = elements_numpy.decode_elements(reader, layout.split_half(old, field))
        new[:, at : at + 2] = found.reshape(-1, 2)
    subs = [_NO_SUBS, _NO_SUBS]
    if layout.subs_at:
        before = layout.split_subs(old)
        after = _decode_values(reader, _foretell_subs(layout, old, new, before))
        layout.join_subs(after, new)
        subs = [before, layout.split_subs(new)]
    scales = [_scales(blocks, layout, part) for blocks, part in zip((old, new), subs, strict=True)]
    before = arrays.split(old, layout).reshape(-1, layout.group)
    quants = _decode_values(reader, _foretell(before, scales[0], scales[1], layout.limits))
    arrays.join(quants.reshape(-1, layout.values), layout, new)
    return new


def _half(blocks: U8, layout: Layout, field: int) -> F32:
    return layout.split_half(blocks, field).view("<f2").astype(np.float32)


def _foretell(before: I8, old: tuple[F32, F32], new: tuple[F32, F32], limits: tuple[int, int]) -> Foretold:
    with np.errstate(invalid="ignore"):
        moved = ((old[0] != new[0]) | (old[1] != new[1])) & (new[0] != 0)
    moved &= np.isfinite(old[0]) & np.isfinite(old[1]) & np.isfinite(new[0]) & np.isfinite(new[1])
    return Foretold(before, moved, arrays.expect(before, moved, old, new, limits))


def _foretell_subs(layout: Layout, old: U8, new: U8, before: I8) -> Foretold:
    """Scales of groups are multiples of the block's first half, minima of its second."""
    kinds = 2 if layout.minima else 1
    zeros = np.zeros(len(old), dtype=np.float32)
    parts = []
    for kind in range(kinds):
        column = np.ascontiguousarray(before[:, kind::kinds])
        was, now = (_half(blocks, layout, kind) for blocks in (old, new))
        parts.append(_foretell(column, (was, zeros), (now, zeros), layout.sub_limits))
    return parts[0] if kinds == 1 else _beside(before, parts)


def _beside(before: I8, parts: list[Foretold]) -> Foretold:
    """A scale beside its minimum, because they change together; a block is moved if either is."""
    moved = parts[0].moved | parts[1].moved
    values = before[moved]
    side = np.zeros(values.shape, dtype=np.uint8)
    for kind, part in enumerate(parts):
        which = part.moved[moved]
        values[which, kind::2] = part.expected.values
        side[which, kind::2] = part.expected.side
    distance = side & np.uint8(3)
    contexts = (distance[:, 0::2] << np.uint8(2) | distance[:, 1::2]).ravel()
    return Foretold(before, moved, Expected(values, side, contexts))


def _scales(blocks: U8, layout: Layout, subs: I8) -> tuple[F32, F32]:
    """Scale and minimum of each group. Exact in binary32: 11 bits times at most 8."""
    with np.errstate(invalid="ignore"):  # no numbers, or infinity times 0: such groups are not moved
        scale = _half(blocks, layout, 0)
        minimum = _half(blocks, layout, 1) if len(layout.halves_at) > 1 else np.zeros_like(scale)
        if layout.subs_at:
            kinds = 2 if layout.minima else 1
            factors = subs.astype(np.float32)
            scale = (scale[:, None] * factors[:, ::kinds]).ravel()
            minimum = (minimum[:, None] * factors[:, 1::kinds]).ravel() if layout.minima else np.zeros_like(scale)
        return scale, minimum * np.float32(layout.minimum_sign)


def _encode_values(after: I8, foretold: Foretold) -> bytes:
    """Residuals of values whose scale stayed, then of those whose scale moved."""
    before, moved, expected = foretold
    still, rest = arrays.residuals(after, before, moved, expected)
    zeros = np.zeros(still.symbols.size, dtype=np.uint8)
    first = symbols.encode(still.symbols, zeros, 1, still.escapes.tobytes())
    return first + symbols.encode(rest.symbols, expected.contexts, _MOVED_CONTEXTS, rest.escapes.tobytes())


def _decode_values(reader: Reader, foretold: Foretold) -> I8:
    before, moved, expected = foretold
    size = (before.size - expected.values.size) // STILL[0]
    zeros = np.zeros(size, dtype=np.uint8)
    still = Residuals(*_decode_residuals(reader, zeros, 1, STILL))
    rest = Residuals(*_decode_residuals(reader, expected.contexts, _MOVED_CONTEXTS, MOVED))
    return arrays.restore(before, moved, expected, still, rest)


def _decode_residuals(reader: Reader, contexts: U8, count: int, shape: tuple[int, int]) -> tuple[U8, U8]:
    many, bits = shape
    full = np.uint8((1 << bits) - 1)

    def escapes(found: U8) -> int:
        return sum(int(np.count_nonzero((found >> np.uint8(place * bits)) & full == full)) for place in range(many))

    found, tail = symbols.decode(reader, contexts, count, escapes)
    return found, np.frombuffer(tail, dtype=np.uint8)
