"""A seeded sample of the walk over all fail points and operations; the whole of it is in the soak."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scenarios.walking import DEVICE_POINTS, OPERATIONS, Figures, Operation, Walker, sample

ROUNDS_IN_CI = 2  # of each operation
SEED = 5


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_a_sample_of_passages(operation: Operation, tmp_path: Path) -> None:
    """Killed, or with an error, at some passages: the device serves, and the operation comes to its end."""
    passages = sample(len(OPERATIONS), ROUNDS_IN_CI, SEED)[OPERATIONS.index(operation)]
    walker = Walker(tmp_path / "walk", operation)
    figures = Figures()
    try:
        walker.walk(iter(passages), figures)
    finally:
        walker.close()
    assert not figures.violations, "\n".join(figures.violations)
    assert figures.rounds == ROUNDS_IN_CI


def test_the_sample_knows_every_point() -> None:
    """Each fail point of the device is in a sample that is long enough, with each kind of fault."""
    passages = [passage for operation in sample(4, len(DEVICE_POINTS), SEED) for passage in operation]
    assert {passage.point for passage in passages} == set(DEVICE_POINTS)
