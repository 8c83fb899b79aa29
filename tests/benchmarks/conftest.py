"""The benchmarks are scripts, not a package: their folder is put where Python would find it when one of them runs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from training.storing import store

Pair = tuple[Path, Path]


@pytest.fixture
def small_pair(tmp_path: Path) -> Callable[[str], Pair]:
    """A base and a target of a few thousand weights, of which every fourth moved a little; by safetensors dtype."""

    def make(dtype: str) -> Pair:
        rng = np.random.default_rng(5)
        base = {
            name: (rng.standard_normal(shape) * 0.02).astype(np.float32)
            for name, shape in {"a": (64, 48), "b": (32, 64), "c": (2048,), "d": (3, 700)}.items()
        }
        target = {
            name: values + (rng.random(values.shape) < 0.25) * rng.standard_normal(values.shape).astype("f4") * 1e-4
            for name, values in base.items()
        }
        target["b"] = base["b"]
        paths = tmp_path / f"base-{dtype}.safetensors", tmp_path / f"target-{dtype}.safetensors"
        for path, tensors in zip(paths, (base, target), strict=True):
            store(path, tensors, dtype=dtype, metadata={"format": "pt"})
        return paths

    return make
