from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import pytest
from peers.bounds import adaptive_bits, bounds, entropy_bits, foretell, zigzag
from training.containers import write_gguf
from training.ggml import Type, quantise


def test_the_closed_form_is_what_an_adaptive_coder_spends() -> None:
    """Coding symbol after symbol at the estimator's probabilities costs exactly what the counts say."""
    rng = np.random.default_rng(1)
    values = rng.geometric(0.02, 400).astype(np.uint32) * rng.integers(0, 3, 400).astype(np.uint32)
    contexts = rng.integers(100, 104, 400).astype(np.uint32)
    seen: dict[int, Counter[int]] = {}
    bits = 0.0
    for value, context in zip(values.tolist(), contexts.tolist(), strict=True):
        counts = seen.setdefault(context, Counter())
        symbol = min(value, 256)
        bits -= math.log2((counts[symbol] + 0.5) / (counts.total() + 257 / 2))
        counts[symbol] += 1
        if value >= 256:
            bits += 2 * math.floor(math.log2(value - 255)) + 1
    assert adaptive_bits(values, contexts) == pytest.approx(bits)
    assert max(values) >= 256


def test_zigzag_wraps_at_the_width() -> None:
    """A difference is taken modulo the width of the values, so that none needs another bit."""
    old, new = np.array([5, 5, 5, 65535, 0], np.uint32), np.array([5, 4, 6, 0, 65535], np.uint32)
    assert zigzag(old, new, 16).tolist() == [0, 1, 2, 2, 1]
    assert zigzag(np.array([0], np.uint32), np.array([1 << 31], np.uint32), 32).tolist() == [2**32 - 1]


def test_entropy_given_contexts() -> None:
    """Two contexts: one certain, one a fair coin."""
    assert entropy_bits(np.array([7, 7, 0, 1]), np.array([0, 0, 1, 1])) == pytest.approx(2.0)


def test_foretelling_survives_scales_that_are_no_numbers() -> None:
    """A new scale of zero or infinity leaves the old quants."""
    quants = np.array([[-8, 7], [3, -3], [4, 4]])
    old, new = np.array([1, 1, 2], np.float16).view(np.uint16), np.array([0, np.inf, 1], np.float16).view(np.uint16)
    assert foretell(quants, old, new, "q4_0").tolist() == [[-8, 7], [0, 0], [7, 7]]


@pytest.mark.parametrize("dtype", ["BF16", "F16"])
def test_the_bound_of_a_small_pair(dtype: str, small_pair: Callable[[str], tuple[Path, Path]]) -> None:
    """The code length of a pair that changed little lies far below the file's size; that of no change, lower."""
    base, target = small_pair(dtype)
    changed, same = bounds(base, target), bounds(base, base)
    assert changed.keys() == same.keys() == {"adaptive_code_length"}
    assert 0 < same["adaptive_code_length"] < changed["adaptive_code_length"] < 0.9


def test_the_bound_of_quantised_blocks(tmp_path: Path) -> None:
    """Q4_0 files have the residuals' entropy; K-quants have no bound."""
    rng = np.random.default_rng(2)
    names = ("token_embd.weight", "blk.0.ffn_up.weight", "blk.0.attn_v.weight")
    tensors = {name: (rng.standard_normal((64, 256)) * 0.02).astype(np.float32) for name in names}
    moved = {name: values * np.float32(1.01) for name, values in tensors.items()}
    for kind, expected in (("q4_0", {"order0_residuals"}), ("q4_k_m", set())):
        paths = [tmp_path / f"{kind}-{index}.gguf" for index in range(2)]
        for path, weights in zip(paths, (tensors, moved), strict=True):
            write_gguf(path, weights, kind, architecture="llama", tokens=["a", "b"], template="{{ x }}")
        found = bounds(*paths)
        assert found.keys() == expected
        assert all(0 < value < 0.5 for value in found.values())


def test_the_quantiser_writes_what_gguf_reads() -> None:
    """Blocks of every kind the benchmark uses come back near the values; Q8_0 and Q4_0 are the reference's bytes."""
    values = (np.random.default_rng(3).standard_normal((8, 512)) * 0.02).astype(np.float32)
    for kind, tolerance in ((Type.Q8_0, 0.001), (Type.Q4_0, 0.02), (Type.Q4_K, 0.02), (Type.Q6_K, 0.004)):
        blocks = quantise(values, kind)
        assert np.abs(gguf.quants.dequantize(blocks, kind) - values).max() < tolerance
        if kind in {Type.Q8_0, Type.Q4_0}:
            assert np.array_equal(blocks, gguf.quants.quantize(values, kind))
