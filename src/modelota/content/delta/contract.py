"""What the codec does for every value, as a seam: in NumPy, or in the native kernel. Both give the same bytes.

`docs/formats/delta.md` says what each function computes; `native/delta.c` and `loops_numpy.py` are two implementations
of it. Whoever calls them has checked sizes: a length that does not fit is an `OurBug`, data that do not fit are a
`RefuseContent`.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, Protocol

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
    """The per-value functions. All arrays are one-dimensional, contiguous, little-endian."""

    name: str

    def read_tables(self, coded: U8, contexts: int) -> tuple[U16, int]:
        """(contexts, 256) frequencies from the front of `coded`, and how many bytes they took.

        Raises:
            RefuseContent: `delta-invalid`.
        """

    def decoding_table(self, frequencies: U16) -> Any:  # noqa: ANN401 - whatever `lanes_decode` wants
        """Prepare (contexts, 256) frequencies, each context's summing to `SCALE`, for `lanes_decode`."""

    def lanes_decode(self, table: Any, contexts: U8, states: U32, words: U16) -> tuple[U8, int]:  # noqa: ANN401
        """Symbols for `contexts`, and how many words that took; `states` are left as they are at the end.

        Raises:
            RefuseContent: `delta-invalid`: the words run out.
        """

    def lanes_encode(self, frequencies: U16, contexts: U8, symbols: U8, states: U32) -> U16:
        """Words from which `lanes_decode` makes `symbols`; turns `states` from the last to the first."""

    def counts(self, contexts: U8, symbols: U8, count: int) -> U32:
        """(count, 256): how often each symbol occurs in each context; contexts are less than `count`."""

    def contexts(self, base: U8, elements: Elements, first: int, count: int) -> U8:
        """Of each element of `base`: its exponent less `first`, at least 0 and less than `count`."""

    def forward(self, base: U8, target: U8, elements: Elements, drop: int, listed: U32) -> Differences:
        """What makes `target` of `base`.

        Args:
            base: bytes of whole elements.
            target: as many.
            elements: what both consist of.
            drop: lower bits of magnitudes that are not looked at.
            listed: differences, modulo the width, with tokens of their own where those are at least `DIRECT`; all of
                other `slot_of`.
        """

    def leftover_bits(self, tokens: U8, listed: int) -> tuple[int, int]:
        """How many bits of signs and of extras these tokens leave over.

        Raises:
            RefuseContent: `delta-invalid`: a token is none, with so many listed.
        """

    def inverse(self, base: U8, tokens: U8, elements: Elements, drop: int, listed: U32, leftover: Leftover) -> U8:
        """The target; `leftover_bits` has accepted `tokens`, and `leftover` has as many."""

    def split(self, blocks: U8, layout: Layout) -> I8:
        """(blocks, values): the quants of (blocks, bytes)."""

    def join(self, quants: I8, layout: Layout, blocks: U8) -> None:
        """Put quants where `split` takes them from; what does not fit its bits is cut."""

    def expect(
        self, before: I8, moved: Flags, old: tuple[F32, F32], new: tuple[F32, F32], limits: tuple[int, int]
    ) -> Expected:
        """What the values of moved groups become when (scale, minimum) change from `old` to `new`.

        Args:
            before: (groups, values in a group).
            moved: of each group; where it is, all four numbers are finite, and the new scale is not 0.
            old: of each group.
            new: of each group.
            limits: least and greatest value.
        """

    def residuals(self, after: I8, before: I8, moved: Flags, expected: Expected) -> tuple[Residuals, Residuals]:
        """What `after` has besides, where groups stayed and where they moved."""

    def restore(self, before: I8, moved: Flags, expected: Expected, still: Residuals, rest: Residuals) -> I8:
        """The reverse: `after`, from as many symbols and escapes as there must be."""


def slot_of(differences: U32) -> U32:
    """What the kernel looks listed differences up by."""
    return (differences * np.uint32(2654435761)) >> np.uint32(24)


def invalid(detail: str) -> RefuseContent:
    """What a delta that is not one raises; `detail` is a word or two, documented in the format."""
    return RefuseContent("delta-invalid", detail=detail)
