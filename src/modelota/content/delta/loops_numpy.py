"""The loops in NumPy: what runs where the kernel cannot, and what the kernel is tested against."""

from __future__ import annotations

import numpy as np

from modelota.content.delta import blocks_numpy, elements_numpy, gaps, lanes
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import U8, Elements, Positions
from modelota.content.delta.layouts import Layout


class NumpyLoops:
    """`Loops` by array operations."""

    name = "numpy"

    def encode_elements(self, target: U8, base: U8, elements: Elements) -> bytes:
        """See `Loops`."""
        return elements_numpy.encode_elements(target, base, elements)

    def decode_elements(self, coded: U8, base: U8) -> tuple[U8, int]:
        """See `Loops`."""
        reader = Reader(coded.data)
        return elements_numpy.decode_elements(reader, base), coded.size - reader.left_bytes

    def encode_blocks(self, target: U8, base: U8, layout: Layout) -> bytes:
        """See `Loops`."""
        return blocks_numpy.encode_blocks(target, base, layout)

    def decode_blocks(self, coded: U8, base: U8, layout: Layout) -> tuple[U8, int]:
        """See `Loops`."""
        reader = Reader(coded.data)
        return blocks_numpy.decode_blocks(reader, base, layout), coded.size - reader.left_bytes

    def encode_gaps(self, positions: Positions) -> bytes:
        """See `Loops`."""
        return gaps.encode_gaps(positions)

    def decode_gaps(self, coded: U8, count: int, places: int) -> tuple[Positions, int]:
        """See `Loops`."""
        reader = Reader(coded.data)
        return gaps.decode_gaps(reader, count, places), coded.size - reader.left_bytes

    def encode_symbols(self, symbols: U8) -> bytes:
        """See `Loops`."""
        return lanes.encode(symbols, np.zeros(symbols.size, dtype=np.uint8), gaps.counts_of(symbols), b"")

    def decode_symbols(self, coded: U8, count: int) -> tuple[U8, int]:
        """See `Loops`."""
        reader = Reader(coded.data)
        symbols, _ = lanes.decode(reader, np.zeros(count, dtype=np.uint8), 1, lambda _: 0)
        return symbols, coded.size - reader.left_bytes
