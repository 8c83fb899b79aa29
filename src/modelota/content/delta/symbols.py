"""Residual symbols: coded one by one, or, where nearly all are 0, as the gaps between those that are not.

Gaps cost about the same, and far less time: the decoder looks only at what changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from modelota.content.delta import arrays, lanes
from modelota.content.delta.coded import Reader, write_number
from modelota.content.delta.contract import U8, invalid
from modelota.content.delta.gaps import counts_of, decode_gaps, encode_gaps, estimate_gaps
from modelota.content.delta.lanes import COST_ONE, coded_cost

_DENSE: Final = 0
_GAPS: Final = 1
_MERGED: Final = 2  # the greater of a context's two digits of base 4
_SINGLE: Final = 3  # one context
_GAPS_ONE_IN: Final = 16  # with more symbols than this that are not 0, gaps save no time
_GAPS_BITS: Final = 64  # more than the rest they may cost, and one for so many symbols:
_GAPS_BITS_ONE_IN: Final = 512
_GREATER: Final = np.array([max(context >> 2, context & 3) for context in range(16)], dtype=np.uint8)


def encode(symbols: U8, contexts: U8, count: int, tail: bytes) -> bytes:
    """Code `symbols`, and `tail` behind them.

    Args:
        symbols: any number.
        contexts: of each symbol, less than `count`.
        count: of contexts: 1 or 16.
        tail: what `decode` returns beside the symbols.
    """
    counts = arrays.counts(contexts, symbols, count)
    form, cost = _DENSE, coded_cost(counts, len(tail))
    if count > 1:
        # A short stream does not repay many tables.
        merged = np.stack([counts[one == _GREATER].sum(axis=0, dtype=np.uint32) for one in range(4)])
        single = counts.sum(axis=0, dtype=np.uint32)[None]
        for other, fewer in ((_MERGED, merged), (_SINGLE, single)):
            less = coded_cost(fewer, len(tail))
            if less < cost:
                form, counts, cost = other, fewer, less
    if int(counts[:, 0].sum()) * _GAPS_ONE_IN > symbols.size * (_GAPS_ONE_IN - 1):
        where = np.flatnonzero(symbols)
        values = symbols[where]
        value_counts = counts_of(values)
        gaps_cost = estimate_gaps(where) + coded_cost(value_counts, len(tail))
        if gaps_cost <= cost + (_GAPS_BITS + symbols.size // _GAPS_BITS_ONE_IN) * COST_ONE:
            zeros = np.zeros(where.size, dtype=np.uint8)
            coded = lanes.encode(values, zeros, value_counts, tail)
            return bytes([_GAPS]) + write_number(where.size) + encode_gaps(where) + coded
    return bytes([form]) + lanes.encode(symbols, _contexts(form, contexts), counts, tail)


def _contexts(form: int, contexts: U8) -> U8:
    if form == _MERGED:
        return _GREATER[contexts]
    return np.zeros(contexts.size, dtype=np.uint8) if form == _SINGLE else contexts


def decode(reader: Reader, contexts: U8, count: int, tail_bytes: Callable[[U8], int]) -> tuple[U8, bytes]:
    """The symbols and the tail; the arguments are those of `lanes.decode`.

    Raises:
        RefuseContent: `delta-invalid`.
    """
    form = reader.take(1)[0]
    if form == _DENSE:
        return lanes.decode(reader, contexts, count, tail_bytes)
    if form in {_MERGED, _SINGLE} and count > 1:
        return lanes.decode(reader, _contexts(form, contexts), 4 if form == _MERGED else 1, tail_bytes)
    if form != _GAPS:
        raise invalid("form")
    size = reader.number()
    if size > contexts.size:
        raise invalid("gaps")
    where = decode_gaps(reader, size, contexts.size)
    values, tail = lanes.decode(reader, np.zeros(size, dtype=np.uint8), 1, tail_bytes)
    out = np.zeros(contexts.size, dtype=np.uint8)
    out[where] = values
    return out, tail
