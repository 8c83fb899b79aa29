"""What the codec does for every value, as a seam: in NumPy, or in the native kernel. Both give the same bytes.

`docs/formats/delta.md` says what each function reads and writes; `native/delta.c` and the modules around
`loops_numpy.py` are two implementations of it. Whoever calls them has checked sizes: a length that does not fit is an
`OurBug`, data that do not fit are a `RefuseContent`.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from modelota.content.delta.layouts import Layout
from modelota.errors import RefuseContent

U8 = npt.NDArray[np.uint8]
U16 = npt.NDArray[np.uint16]
U32 = npt.NDArray[np.uint32]
I8 = npt.NDArray[np.int8]
Flags = npt.NDArray[np.bool_]
F32 = npt.NDArray[np.float32]
Positions = npt.NDArray[np.intp]

SCALE_BITS: Final = 12
SCALE: Final = 1 << SCALE_BITS  # what the frequencies of a context sum to
LOWER: Final = 1 << 16  # a lane's state is at least this between symbols
LISTED: Final = 128  # tokens from here on stand for differences that are listed
DIRECT: Final = 16  # magnitudes below have a token of their own
BELOW: Final = 128  # in what `expect` says about a value
STILL: Final = (4, 2)  # residuals in a symbol, bits of each, in groups whose scale and minimum did not change
MOVED: Final = (2, 4)


class Elements(NamedTuple):
    """How bytes become integers, and which of their bits give the context.

    Attributes:
        width: bytes of an element: 1, 2 or 4.
        shift: of a base element, to the right, before `mask`.
        mask: what remains then is the element's exponent: at most 255.
    """

    width: int
    shift: int
    mask: int


class Leftover(NamedTuple):
    """Bits that tokens leave over, filled from the lowest bit of the first byte."""

    signs: U8
    extras: U8


class Differences(NamedTuple):
    """Of each element: target - base.

    Attributes:
        tokens: magnitudes as tokens, or places in a list.
        counts: (256, 256): how often each token occurs with each exponent.
        seen: the bitwise or of all magnitudes.
        leftover: the bits that tokens leave over.
    """

    tokens: U8
    counts: U32
    seen: int
    leftover: Leftover


class Expected(NamedTuple):
    """What scales foretell about the values of moved groups.

    Attributes:
        values: (moved groups, values in a group).
        side: how far each was from a whole number, in 0 … 3, plus `BELOW` if it was rounded up.
        contexts: of each pair of values, by their two distances: less than 16.
    """

    values: I8
    side: U8
    contexts: U8


class Residuals(NamedTuple):
    """Differences between values and what was expected, several in a symbol.

    Attributes:
        symbols: of `STILL` or `MOVED` shape.
        escapes: those too large for their place in a symbol.
    """

    symbols: U8
    escapes: U8


class Loops(Protocol):
    """The functions that look at every value. All arrays are contiguous and little-endian.

    What decodes reads from the front of `coded`, returns how many bytes it took beside what it found, and raises
    `RefuseContent` (`delta-invalid`).
    """

    name: str

    def encode_elements(self, target: U8, base: U8, elements: Elements) -> bytes:
        """Code what makes `target` of `base`: as many bytes, of whole elements."""

    def decode_elements(self, coded: U8, base: U8) -> tuple[U8, int]:
        """The target, as many bytes as `base` has."""

    def encode_blocks(self, target: U8, base: U8, layout: Layout) -> bytes:
        """Code the fields of whole blocks; both are (blocks, bytes)."""

    def decode_blocks(self, coded: U8, base: U8, layout: Layout) -> tuple[U8, int]:
        """The target, as many blocks as `base` has."""

    def encode_gaps(self, positions: Positions) -> bytes:
        """Code ascending positions."""

    def decode_gaps(self, coded: U8, count: int, places: int) -> tuple[Positions, int]:
        """`count` ascending positions below `places`."""

    def encode_symbols(self, symbols: U8) -> bytes:
        """Code symbols in one context, without a tail."""

    def decode_symbols(self, coded: U8, count: int) -> tuple[U8, int]:
        """`count` symbols."""


def slot_of(differences: U32) -> U32:
    """What the kernel looks listed differences up by."""
    return (differences * np.uint32(2654435761)) >> np.uint32(24)


def invalid(detail: str) -> RefuseContent:
    """What a delta that is not one raises; `detail` is a word or two, documented in the format."""
    return RefuseContent("delta-invalid", detail=detail)
