"""Element layouts: how many bytes one whole value or quantisation block takes, and how many values it holds.

The names are what a delta codec is told (`TensorSpan.dtype`); they never change meaning. All are little-endian.
GGUF block types are those of ggml's `ggml-common.h`; the others are those of safetensors' `Dtype`.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final, NamedTuple

OPAQUE: Final = "opaque"


class Element(NamedTuple):
    """One whole value or block: `block_bytes` bytes that hold `block_values` values."""

    block_bytes: int
    block_values: int


ELEMENTS: Final = MappingProxyType(
    {
        OPAQUE: Element(1, 1),
        # plain values
        "bool": Element(1, 1),
        "i8": Element(1, 1),
        "u8": Element(1, 1),
        "i16": Element(2, 1),
        "u16": Element(2, 1),
        "i32": Element(4, 1),
        "u32": Element(4, 1),
        "i64": Element(8, 1),
        "u64": Element(8, 1),
        "f16": Element(2, 1),
        "bf16": Element(2, 1),
        "f32": Element(4, 1),
        "f64": Element(8, 1),
        "c64": Element(8, 1),
        "f8_e4m3": Element(1, 1),
        "f8_e5m2": Element(1, 1),
        "f8_e8m0": Element(1, 1),
        "f8_e4m3fnuz": Element(1, 1),
        "f8_e5m2fnuz": Element(1, 1),
        "f4": Element(1, 2),
        "f6_e2m3": Element(3, 4),
        "f6_e3m2": Element(3, 4),
        # ggml blocks
        "q1_0": Element(18, 128),
        "q2_0": Element(18, 64),
        "q4_0": Element(18, 32),
        "q4_1": Element(20, 32),
        "q5_0": Element(22, 32),
        "q5_1": Element(24, 32),
        "q8_0": Element(34, 32),
        "q8_1": Element(36, 32),
        "q2_k": Element(84, 256),
        "q3_k": Element(110, 256),
        "q4_k": Element(144, 256),
        "q5_k": Element(176, 256),
        "q6_k": Element(210, 256),
        "q8_k": Element(292, 256),
        "iq1_s": Element(50, 256),
        "iq1_m": Element(56, 256),
        "iq2_xxs": Element(66, 256),
        "iq2_xs": Element(74, 256),
        "iq2_s": Element(82, 256),
        "iq3_xxs": Element(98, 256),
        "iq3_s": Element(110, 256),
        "iq4_nl": Element(18, 32),
        "iq4_xs": Element(136, 256),
        "tq1_0": Element(54, 256),
        "tq2_0": Element(66, 256),
        "mxfp4": Element(17, 32),
        "nvfp4": Element(36, 64),
    }
)
