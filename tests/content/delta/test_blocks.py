"""Quantised blocks are exact whatever their scales are, and small where a quantiser ran again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import gguf
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.content import coding
from modelota.content.delta import blocks, planes
from modelota.content.delta.contract import Loops
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops

KINDS = sorted(LAYOUTS)


@given(st.sampled_from(KINDS), st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(0, 40), st.booleans())
@settings(max_examples=120, deadline=None)
def test_any_blocks(kind: str, seed: int, count: int, odd: int, short: bool) -> None:
    """Random blocks (scales of any kind: NaN, infinite, 0, negative), bytes left over, a base of another length."""
    layout = LAYOUTS[kind]
    random = np.random.default_rng(seed)
    size = count * layout.block_bytes + odd % layout.block_bytes
    base = random.integers(0, 256, size).astype(np.uint8)
    flips = (random.random(size) < 0.1) * random.integers(0, 256, size)
    target = (base ^ flips.astype(np.uint8)).tobytes()
    old = base[: size // 2].tobytes() if short else base.tobytes()
    made = {blocks.encode(one, target, old, layout) for one in (loops(), loops("numpy"))}
    assert len(made) == 1
    for one in (loops(), loops("numpy")):
        assert blocks.decode(one, next(iter(made)), old, size) == target


@pytest.mark.parametrize("scale", [0x0000, 0x8000, 0x7C00, 0xFC00, 0x7E01, 0x0001, 0x7BFF, 0x3C00])
def test_scales_that_become_special(engine: Loops, scale: int) -> None:
    """From an ordinary scale to 0, -0, infinity, NaN, the smallest, the largest; and back."""
    layout = LAYOUTS["q4_0"]
    random = np.random.default_rng(scale)
    first = random.integers(0, 256, (64, 18)).astype(np.uint8)
    first[:, :2] = [0x00, 0x2C]
    second = first.copy()
    second[:, :2] = [scale & 255, scale >> 8]
    for old, new in ((first, second), (second, first)):
        coded = blocks.encode(engine, new.tobytes(), old.tobytes(), layout)
        assert blocks.decode(engine, coded, old.tobytes(), new.size) == new.tobytes()


def family_quantiser() -> ModuleType:
    path = Path(__file__).parents[3] / "examples" / "family" / "quantise.py"
    spec = importlib.util.spec_from_file_location("family_quantise", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def quantise(values: np.ndarray, kind: str) -> bytes:
    rows = values.reshape(-1, 256)
    if kind in {"q4_k", "q6_k"}:
        return bytes(getattr(family_quantiser(), kind)(rows).tobytes())
    return bytes(gguf.quants.quantize(rows, gguf.GGMLQuantizationType[kind.upper()]).tobytes())


@pytest.mark.parametrize(("kind", "bar"), [("q8_0", 0.75), ("q4_0", 0.75), ("q4_k", 0.65), ("q6_k", 0.75)])
def test_quantised_again(engine: Loops, weights: tuple[np.ndarray, np.ndarray], kind: str, bar: float) -> None:
    """Far smaller than exclusive or by planes, and than the blocks compressed by themselves."""
    base, target = (quantise(part, kind) for part in weights)
    coded = blocks.encode(engine, target, base, LAYOUTS[kind])
    assert blocks.decode(engine, coded, base, len(target)) == target
    assert len(coded) < bar * len(planes.encode(target, base, LAYOUTS[kind].block_bytes))
    assert len(coded) < 0.5 * len(coding.encode(target)[1])
