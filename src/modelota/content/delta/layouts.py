"""Where quantised blocks keep their scales, minima and quants.

The layouts are those of ggml (`ggml-common.h`). Quants are taken out and put back by the loops, the rest here. What is
put back may be anything: it is cut to its field's bits, so that a hostile delta makes other bytes, not errors.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
I8 = npt.NDArray[np.int8]


class Quants(NamedTuple):
    """How a block packs its quants.

    Attributes:
        form: 0: a byte each; 1: 32 quants, nibbles of 16 bytes; 2: 256, four times nibbles of 32 bytes; 3: 256, twice
            nibbles of 64 bytes, and two more bits of each.
        low_at: where bytes or nibbles begin in the block.
        high_at: where further bits begin; 0 if there are none.
        offset: what a stored quant is above its value.
        five: there is a fifth bit of each (forms 1 and 2).
    """

    form: int
    low_at: int
    high_at: int
    offset: int
    five: bool


class Layout(NamedTuple):
    """A kind of block.

    Attributes:
        number: in coded chunks; never reused.
        block_bytes: of a whole block.
        values: quants in a block.
        group: quants that share a scale.
        limits: least and greatest quant.
        halves_at: where binary16 fields are: the scale, and what minima are multiplied by.
        subs_at: where scales of groups begin; 0: the block is one group.
        minimum_sign: 1 where the value is scale * quant - minimum, -1 where the minimum is added.
        quants: how they are packed.
        minima: groups have minima beside their scales, 6 bits each; else scales are a byte each.
    """

    number: int
    block_bytes: int
    values: int
    group: int
    limits: tuple[int, int]
    halves_at: tuple[int, ...]
    subs_at: int
    minimum_sign: int
    quants: Quants
    minima: bool

    @property
    def sub_limits(self) -> tuple[int, int]:
        """Least and greatest scale of a group."""
        return (0, 63) if self.minima else (-128, 127)

    def split_half(self, blocks: U8, field: int) -> U8:
        """A binary16 field of all blocks, as bytes."""
        at = self.halves_at[field]
        return np.ascontiguousarray(blocks[:, at : at + 2]).ravel()

    def split_subs(self, blocks: U8) -> I8:
        """(blocks, groups or 2 groups): scales, each with its minimum behind it."""
        at = self.subs_at
        if not self.minima:
            return np.ascontiguousarray(blocks[:, at : at + self.values // self.group]).view(np.int8)
        first, second, third = (blocks[:, at + start : at + start + 4] for start in (0, 4, 8))
        out = np.empty((len(blocks), 8, 2), dtype=np.uint8)
        out[:, :4, 0] = first & 63
        out[:, :4, 1] = second & 63
        out[:, 4:, 0] = (third & 15) | ((first >> 6) << np.uint8(4))
        out[:, 4:, 1] = (third >> 4) | ((second >> 6) << np.uint8(4))
        return out.view(np.int8).reshape(-1, 16)

    def join_subs(self, subs: I8, blocks: U8) -> None:
        """Put back what `split_subs` takes out."""
        at = self.subs_at
        if not self.minima:
            blocks[:, at : at + subs.shape[1]] = subs.view(np.uint8)
            return
        numbers = subs.view(np.uint8).reshape(-1, 8, 2) & np.uint8(63)
        scales, minima = numbers[:, :, 0], numbers[:, :, 1]
        blocks[:, at : at + 4] = scales[:, :4] | ((scales[:, 4:] >> 4) << np.uint8(6))
        blocks[:, at + 4 : at + 8] = minima[:, :4] | ((minima[:, 4:] >> 4) << np.uint8(6))
        blocks[:, at + 8 : at + 12] = (scales[:, 4:] & 15) | (minima[:, 4:] << np.uint8(4))


# kind (as formats call it) -> its layout
LAYOUTS: Final[dict[str, Layout]] = {
    "q8_0": Layout(1, 34, 32, 32, (-128, 127), (0,), 0, 1, Quants(0, 2, 0, 0, five=False), minima=False),
    "q4_0": Layout(2, 18, 32, 32, (-8, 7), (0,), 0, 1, Quants(1, 2, 0, 8, five=False), minima=False),
    "q4_1": Layout(3, 20, 32, 32, (0, 15), (0, 2), 0, -1, Quants(1, 4, 0, 0, five=False), minima=False),
    "q5_0": Layout(4, 22, 32, 32, (-16, 15), (0,), 0, 1, Quants(1, 6, 2, 16, five=True), minima=False),
    "q5_1": Layout(5, 24, 32, 32, (0, 31), (0, 2), 0, -1, Quants(1, 8, 4, 0, five=True), minima=False),
    "q4_k": Layout(6, 144, 256, 32, (0, 15), (0, 2), 4, 1, Quants(2, 16, 0, 0, five=False), minima=True),
    "q5_k": Layout(7, 176, 256, 32, (0, 31), (0, 2), 4, 1, Quants(2, 48, 16, 0, five=True), minima=True),
    "q6_k": Layout(8, 210, 256, 16, (-32, 31), (208,), 192, 1, Quants(3, 0, 128, 32, five=False), minima=False),
}
BY_NUMBER: Final = {layout.number: layout for layout in LAYOUTS.values()}
