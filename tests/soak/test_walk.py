"""The whole walk: every fail point × every operation × every kind of fault, n = 1, 2, 3 … until none is reached."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import asdict
from pathlib import Path

import pytest
from tests.scenarios.interrupting import Interruptions
from tests.scenarios.walking import ACTIONS, DEVICE_POINTS, OPERATIONS, Figures, Operation, Walker

INTERRUPTS = int(os.environ.get("MODELOTA_SOAK_INTERRUPTS", "2000"))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_passage(operation: Operation, tmp_path: Path) -> None:
    """At every passage through every point the device serves, and the operation comes to its end."""
    walker = Walker(tmp_path / "walk", operation)
    figures = Figures()
    try:
        for point, action in itertools.product(DEVICE_POINTS, ACTIONS):
            walker.exhaust(point, action, figures)
            print(json.dumps({"operation": operation.name, "point": point, "action": action, **asdict(figures)}))  # noqa: T201  the figures of the soak
    finally:
        walker.close()
    assert figures.reached > 0
    assert not figures.violations, "\n".join(figures.violations)


@pytest.mark.soak
@pytest.mark.timeout(0)
def test_interrupts_at_random_times(tmp_path: Path) -> None:
    """Killed thousands of times while it goes forth and back, the device always serves one whole version."""
    walk = Interruptions(tmp_path / "walk", seed=int(os.environ.get("MODELOTA_SOAK_SEED", "1")))
    try:
        walk.run(INTERRUPTS)
    finally:
        walk.close()
        print(json.dumps({**walk.counted, "violations": walk.violations}))  # noqa: T201  the figures of the soak
    assert not walk.violations, "\n".join(walk.violations)
    assert walk.counted["operations"] > 0
