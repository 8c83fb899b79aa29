"""Both implementations of the loops, and pairs of tensors that look like two versions of a model."""

from __future__ import annotations

import numpy as np
import pytest

from modelota.content.delta.contract import Loops
from modelota.content.delta.loops import loops


@pytest.fixture(params=["native", "numpy"])
def engine(request: pytest.FixtureRequest) -> Loops:
    """Each implementation of the loops in turn; the native one is shipped for this machine, or the test is skipped."""
    if request.param == "native" and loops().name != "native":
        pytest.skip("no kernel for this machine")
    return loops(request.param)


@pytest.fixture(scope="session")
def weights() -> tuple[np.ndarray, np.ndarray]:
    """(base, target) in binary32: weights, and the same after small steps of equal size in most places."""
    random = np.random.default_rng(7)
    base = (random.standard_normal(1 << 16) * 0.02 * np.exp(random.standard_normal(1 << 16) * 0.5)).astype(np.float32)
    step = random.standard_normal(base.size) * 3e-5 * (random.random(base.size) < 0.7)
    return base, (base + step).astype(np.float32)


def bf16(values: np.ndarray) -> bytes:
    """Rounded to nearest, halves to even."""
    bits = values.view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2").tobytes()
