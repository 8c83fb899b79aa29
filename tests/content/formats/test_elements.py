"""`modelota.content.formats.elements`, and the numbers GGUF has for them."""

from __future__ import annotations

import pytest

from modelota.content.formats.elements import ELEMENTS
from modelota.content.formats.gguf import TYPES
from modelota.content.formats.safetensors import DTYPES
from modelota.spec.limits import CHUNK_MAX_BYTES


def test_every_ggml_type_as_the_gguf_package_has_it() -> None:
    """Every type of the gguf package is known with its name and block, except where that package is behind ggml."""
    constants = pytest.importorskip("gguf.constants")
    for kind, (values, size_bytes) in constants.GGML_QUANT_SIZES.items():
        expected = (36, 32) if kind.name == "Q8_1" else (size_bytes, values)  # ggml halved its two scales in 2023
        assert TYPES[int(kind)] == kind.name.lower()
        assert ELEMENTS[TYPES[int(kind)]] == expected


def test_every_name_is_an_element_and_fits_a_chunk() -> None:
    """Formats use only names from the table, and no block is too large to be cut around."""
    assert {*TYPES.values(), *DTYPES.values()} <= ELEMENTS.keys()
    assert all(1 <= element.block_bytes <= CHUNK_MAX_BYTES // 1024 for element in ELEMENTS.values())


def test_bits_per_value() -> None:
    """Spot checks against the figures that ggml's documentation gives."""
    bits = {name: 8 * element.block_bytes / element.block_values for name, element in ELEMENTS.items()}
    known = {"q4_0": 4.5, "q8_0": 8.5, "q4_k": 4.5, "q6_k": 6.5625, "iq2_xxs": 2.0625, "iq1_s": 1.5625, "mxfp4": 4.25}
    assert known.items() <= bits.items()
    assert bits["f4"] == 4
    assert bits["f6_e2m3"] == 6
