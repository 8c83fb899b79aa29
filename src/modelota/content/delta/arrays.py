"""What `loops_numpy` does for every value, as array operations on a whole chunk or on tiles that fit the cache."""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from modelota.content.delta.bits import pack_bits, unpack_bits
from modelota.content.delta.contract import (
    BELOW,
    DIRECT,
    F32,
    I8,
    LISTED,
    LOWER,
    MOVED,
    SCALE,
    SCALE_BITS,
    STILL,
    U8,
    U16,
    U32,
    Differences,
    Elements,
    Expected,
    Flags,
    Leftover,
    Residuals,
    invalid,
)
from modelota.content.delta.layouts import Layout
from modelota.content.delta.tokens import Alphabet, tokens_of

I64 = npt.NDArray[np.int64]

_TILE: Final = 1 << 16  # values; a few arrays of this many 8-byte numbers fit a processor's cache
# Arrays, because NumPy takes longer to make one of a number than to use it.
_SLOT: Final = np.array(SCALE - 1)
_BITS: Final = np.array(SCALE_BITS)
_LOWER: Final = np.array(LOWER)
_WORD: Final = np.array(16)
_RUNS: Final = {1: (1, 16), 2: (4, 32), 3: (2, 64)}  # of nibbles: how many, and bytes of each
_EIGHT: Final = np.arange(8, dtype=np.uint8)[:, None]
_PAIRS: Final = np.arange(0, 8, 2, dtype=np.uint8)[:, None]


class Table(NamedTuple):
    """By context << 12 | slot."""

    frequency: I64
    bias: I64  # slot less the symbol's first slot
    symbol: U8


def decoding_table(frequencies: U16) -> Table:
    """Prepare (contexts, 256) frequencies, each context's summing to `SCALE`, for `lanes_decode`."""
    flat = frequencies.ravel()
    place = flat.nonzero()[0]
    used = flat[place].astype(np.int64)
    bias = np.arange(len(frequencies) * SCALE) - np.repeat(np.cumsum(used) - used, used)
    return Table(np.repeat(used, used), bias, np.repeat(place.astype(np.uint8), used))


def lanes_decode(table: Table, contexts: U8, states: U32, words: U16) -> tuple[U8, int]:
    """Symbols for `contexts`, and how many words that took; `states` are left as they are at the end.

    Raises:
        RefuseContent: `delta-invalid`: the words run out.
    """
    lanes = states.size
    symbols = np.empty(contexts.size, dtype=np.uint8)
    state = states.astype(np.int64)
    used = 0
    tile = max(1, _TILE // lanes) * lanes
    for start in range(0, contexts.size, tile):
        # In tiles, because slots are kept to look all symbols up at once.
        slots = contexts[start : start + tile].astype(np.int64)
        slots <<= SCALE_BITS
        whole = slots.size // lanes * lanes
        used = _decode_rows(table, slots[:whole].reshape(-1, lanes), state, words, used)
        if whole < slots.size:
            rest = slots[whole:].reshape(1, -1)
            used = _decode_rows(table, rest, state[: rest.size], words, used)
        table.symbol.take(slots, out=symbols[start : start + tile], mode="clip")
    states[:] = state
    return symbols, used


def _decode_rows(table: Table, slots: I64, state: I64, words: U16, used: int) -> int:
    """Turns each row of `slots` from contexts << 12 to slots, and `state` on; returns how many words were used."""
    # This is where the time goes, several microseconds a row: everything is at hand, and in place.
    frequency, bias = table.frequency.take, table.bias.take
    both, add, shift, times, less = np.bitwise_and, np.add, np.right_shift, np.multiply, np.less
    factor = np.empty(state.size, dtype=np.int64)
    need = np.empty(state.size, dtype=np.bool_)
    available = words.size
    for row in slots:
        both(state, _SLOT, factor)
        add(row, factor, row)
        shift(state, _BITS, state)
        frequency(row, None, factor, "clip")
        times(state, factor, state)
        bias(row, None, factor, "clip")
        add(state, factor, state)
        less(state, _LOWER, need)
        short = need.nonzero()[0]
        count = short.size
        if count:
            if used + count > available:
                raise invalid("words")
            low = state.take(short)
            low <<= _WORD
            low |= words[used : used + count]
            state[short] = low
            used += count
    return used


def lanes_encode(frequencies: U16, contexts: U8, symbols: U8, states: U32) -> U16:
    """Words from which `lanes_decode` makes `symbols`; turns `states` from the last to the first."""
    flat = frequencies.astype(np.int64)
    starts = (np.cumsum(flat, axis=1) - flat).ravel()
    flat = flat.ravel()
    lanes = states.size
    x = states.astype(np.int64)
    rows: list[U16] = []
    last = (symbols.size - 1) // lanes * lanes
    for start in range(last, -1, -lanes):
        code = contexts[start : start + lanes].astype(np.int64) << 8 | symbols[start : start + lanes]
        active = x[: code.size]
        frequency = flat[code]
        full = (active >= frequency << 20).nonzero()[0]
        rows.append(active[full].astype(np.uint16))
        active[full] >>= 16
        quotient, remainder = np.divmod(active, frequency)
        active[:] = (quotient << SCALE_BITS) + remainder + starts[code]
    states[:] = x
    return np.concatenate(rows[::-1]) if rows else np.empty(0, dtype=np.uint16)


def counts(contexts: U8, symbols: U8, count: int) -> U32:
    """(count, 256): how often each symbol occurs in each context; contexts are less than `count`."""
    pairs = contexts.astype(np.uint16) << np.uint16(8) | symbols if count > 1 else symbols
    return np.bincount(pairs, minlength=count << 8).astype(np.uint32).reshape(count, 256)


def contexts(base: U8, elements: Elements, first: int, count: int) -> U8:
    """Of each element of `base`: its exponent less `first`, at least 0 and less than `count`."""
    e = _exponents(base, elements)
    return np.minimum(np.maximum(e, first) - e.dtype.type(first), count - 1).astype(np.uint8)


def forward(base: U8, target: U8, elements: Elements, drop: int, listed: U32, alphabet: Alphabet) -> Differences:
    """What makes `target` of `base`.

    Args:
        base: bytes of whole elements.
        target: as many.
        elements: what both consist of.
        drop: lower bits of magnitudes that are not looked at.
        listed: differences, modulo the width, with tokens of their own where those are at least `DIRECT`; all of
            other `slot_of`.
        alphabet: of the tokens.
    """
    exponent = _exponents(base, elements)
    difference = _difference(base, target, elements)
    magnitude = _magnitude(difference)
    seen = int(np.bitwise_or.reduce(magnitude)) if magnitude.size else 0
    tokens = tokens_of(magnitude >> magnitude.dtype.type(drop), alphabet)
    if listed.size:
        order = np.argsort(listed)
        large = (tokens >= DIRECT).nonzero()[0]
        wide = difference[large].astype(np.uint32)
        place = np.searchsorted(listed, wide, sorter=order)
        place = order[np.minimum(place, listed.size - 1)]
        found = listed[place] == wide
        tokens[large[found]] = (LISTED + place[found]).astype(np.uint8)
    both = exponent.astype(np.int64) << 8 | tokens
    counts = np.bincount(both, minlength=65536).astype(np.uint32).reshape(256, 256)
    changed = _signed(tokens).nonzero()[0]
    top = difference.dtype.type(8 * elements.width - 1)
    signs = np.packbits(difference[changed] >> top != 0, bitorder="little")
    changed = changed[tokens[changed] >= DIRECT]
    bits = alphabet.extra_bits[tokens[changed]]
    lower = magnitude[changed].astype(np.uint32) >> np.uint32(drop)
    extras = pack_bits(lower & ((np.int64(1) << bits) - 1).astype(np.uint32), bits)
    return Differences(tokens, counts, seen, Leftover(signs, extras))


def inverse(
    base: U8, tokens: U8, elements: Elements, drop: int, listed: U32, alphabet: Alphabet, leftover: Leftover
) -> U8:
    """The target; `leftover_bits` has accepted `tokens`, and `leftover` has as many."""
    kind = np.dtype(f"<u{elements.width}")
    out = base.copy()
    values = out.view(kind)
    bit = 0  # of the extras
    seen = 0  # signs
    for tile in range(0, tokens.size, _TILE):
        part = tokens[tile : tile + _TILE]
        place = values[tile : tile + _TILE]
        if listed.size:
            given = (part >= LISTED).nonzero()[0]
            place[given] += listed[part[given] - LISTED].astype(kind)
            changed = _signed(part).nonzero()[0]
        else:
            changed = part.nonzero()[0]
        if not changed.size:
            continue
        token = part[changed]
        magnitude = alphabet.start[token]
        large = (token >= DIRECT).nonzero()[0]
        if large.size:
            bits = alphabet.extra_bits[token[large]]
            ends = np.cumsum(bits)
            magnitude[large] |= unpack_bits(leftover.extras, bit + ends - bits, bits)
            bit += int(ends[-1])
        first = seen >> 3
        sign = np.unpackbits(leftover.signs[first : (seen + token.size + 7) >> 3], bitorder="little")
        negative = -sign[seen & 7 : (seen & 7) + token.size].astype(kind)
        seen += token.size
        step = (magnitude << np.uint32(drop)).astype(kind)
        step ^= negative
        step -= negative
        place[changed] += step
    return out


def split(blocks: U8, layout: Layout) -> I8:
    """(blocks, values): the quants of (blocks, bytes)."""
    form, low_at, high_at, offset, five = layout.quants
    if form == 0:
        return np.ascontiguousarray(blocks[:, low_at:]).view(np.int8)
    runs, run_bytes = _RUNS[form]
    low = np.ascontiguousarray(blocks[:, low_at : low_at + runs * run_bytes]).reshape(-1, runs, run_bytes)
    out = np.empty((len(blocks), runs, 2, run_bytes), dtype=np.uint8)
    np.bitwise_and(low, np.uint8(15), out=out[:, :, 0])
    np.right_shift(low, np.uint8(4), out=out[:, :, 1])
    if form == 1 and five:
        bits = np.unpackbits(blocks[:, high_at : high_at + 4], axis=1, bitorder="little")
        out |= (bits << np.uint8(4)).reshape(out.shape)
    elif form == 2 and five:
        high = (blocks[:, None, high_at : high_at + 32] >> _EIGHT) & np.uint8(1)
        out |= (high << np.uint8(4)).reshape(out.shape)
    elif form == 3:
        high = (blocks[:, high_at : high_at + 64].reshape(-1, 2, 1, 32) >> _PAIRS) & np.uint8(3)
        out |= (high << np.uint8(4)).reshape(out.shape)
    if offset:
        out -= np.uint8(offset)
    return out.view(np.int8).reshape(-1, layout.values)


def join(quants: I8, layout: Layout, blocks: U8) -> None:
    """Put quants where `split` takes them from; what does not fit its bits is cut."""
    form, low_at, high_at, offset, five = layout.quants
    stored = quants.view(np.uint8)
    if form == 0:
        blocks[:, low_at:] = stored
        return
    if offset:
        stored = stored + np.uint8(offset)
    runs, run_bytes = _RUNS[form]
    both = stored.reshape(-1, runs, 2, run_bytes)
    low = (both[:, :, 0] & np.uint8(15)) | (both[:, :, 1] << np.uint8(4))
    blocks[:, low_at : low_at + runs * run_bytes] = low.reshape(-1, runs * run_bytes)
    rest = stored >> np.uint8(4)
    if form == 1 and five:
        blocks[:, high_at : high_at + 4] = np.packbits(rest & np.uint8(1), axis=1, bitorder="little")
    elif form == 2 and five:
        placed = (rest & np.uint8(1)).reshape(-1, 8, 32) << _EIGHT
        blocks[:, high_at : high_at + 32] = np.bitwise_or.reduce(placed, axis=1)
    elif form == 3:
        placed = (rest & np.uint8(3)).reshape(-1, 2, 4, 32) << _PAIRS
        blocks[:, high_at : high_at + 64] = np.bitwise_or.reduce(placed, axis=2).reshape(-1, 64)


def expect(before: I8, moved: Flags, old: tuple[F32, F32], new: tuple[F32, F32], limits: tuple[int, int]) -> Expected:
    """What the values of moved groups become when (scale, minimum) change from `old` to `new`.

    Args:
        before: (groups, values in a group).
        moved: of each group; where it is, all four numbers are finite, and the new scale is not 0.
        old: of each group.
        new: of each group.
        limits: least and greatest value.
    """
    which = moved.nonzero()[0]
    group = before.shape[1]
    values = np.empty((which.size, group), dtype=np.int8)
    side = np.empty((which.size, group), dtype=np.uint8)
    rows = max(1, _TILE // max(1, group))
    for start in range(0, which.size, rows):
        some = which[start : start + rows]
        value = before[some].astype(np.float32)
        value *= old[0][some, None]
        value -= old[1][some, None]
        value += new[1][some, None]
        value /= new[0][some, None]
        np.clip(value, np.float32(limits[0]), np.float32(limits[1]), out=value)
        whole = np.rint(value)
        values[start : start + rows] = whole  # whole numbers of one byte: the cast is exact
        value -= whole  # exact
        value *= np.float32(16)
        beside = (value < 0).view(np.uint8) << np.uint8(7)
        np.abs(value, out=value)
        for edge in (4, 6, 7):
            beside += (value >= np.float32(edge)).view(np.uint8)
        side[start : start + rows] = beside
    distance = side.ravel() & np.uint8(3)
    return Expected(values, side, distance[0::2] << np.uint8(2) | distance[1::2])


def residuals(after: I8, before: I8, moved: Flags, expected: Expected) -> tuple[Residuals, Residuals]:
    """What `after` has besides, where groups stayed and where they moved."""
    now = after.view(np.uint8)
    still = (now[~moved] - before.view(np.uint8)[~moved]).ravel()
    rest = (now[moved] - expected.values.view(np.uint8)).ravel()
    np.negative(rest, out=rest, where=expected.side.ravel() >= BELOW)
    return _symbols(still, STILL), _symbols(rest, MOVED)


def restore(before: I8, moved: Flags, expected: Expected, still: Residuals, rest: Residuals) -> I8:
    """The reverse: `after`, from as many symbols and escapes as there must be."""
    out = before.copy()
    view = out.view(np.uint8)
    group = before.shape[1]
    if still.symbols.any():
        view[~moved] += _unpacked(still, STILL).reshape(-1, group)
    found = expected.values.view(np.uint8)
    if rest.symbols.any():
        residuals = _unpacked(rest, MOVED)
        np.negative(residuals, out=residuals, where=expected.side.ravel() >= BELOW)
        found = found + residuals.reshape(-1, group)
    view[moved] = found
    return out


def _exponents(base: U8, elements: Elements) -> U8:
    values, kind = base.view(f"<u{elements.width}"), np.dtype(f"<u{elements.width}").type
    out: U8 = ((values >> kind(elements.shift)) & kind(elements.mask)).astype(np.uint8)
    return out


def _difference(base: U8, target: U8, elements: Elements) -> npt.NDArray[np.unsignedinteger]:
    kind = f"<u{elements.width}"
    out: npt.NDArray[np.unsignedinteger] = target.view(kind) - base.view(kind)
    return out


def _magnitude(difference: npt.NDArray[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    kind = difference.dtype.type
    negative = np.negative(difference >> kind(8 * difference.dtype.itemsize - 1))
    out: npt.NDArray[np.unsignedinteger] = (difference ^ negative) - negative
    return out


def _signed(tokens: U8) -> npt.NDArray[np.bool_]:
    """Which tokens have a sign: all but 0 and those that are listed."""
    out: npt.NDArray[np.bool_] = tokens - np.uint8(1) < LISTED - 1
    return out


def _symbols(residuals: U8, shape: tuple[int, int]) -> Residuals:
    """Folds (0, -1, 1, -2, … to 0, 1, 2, 3, …) and packs; what is too large fills its place and is listed."""
    many, bits = shape
    full = np.uint8((1 << bits) - 1)
    folded = (residuals << np.uint8(1)) ^ (0 - (residuals >> np.uint8(7)))
    digits = np.minimum(folded, full)
    symbols = digits[0::many].copy()
    for place in range(1, many):
        symbols |= digits[place::many] << np.uint8(place * bits)
    return Residuals(symbols, folded[folded >= full])


def _unpacked(residuals: Residuals, shape: tuple[int, int]) -> U8:
    many, bits = shape
    full = np.uint8((1 << bits) - 1)
    folded = np.empty(residuals.symbols.size * many, dtype=np.uint8)
    for place in range(many):
        folded[place::many] = (residuals.symbols >> np.uint8(place * bits)) & full
    if residuals.escapes.size:
        folded[folded == full] = residuals.escapes
    out: U8 = (folded >> np.uint8(1)) ^ (0 - (folded & np.uint8(1)))
    return out
