"""Tests of modelota.testing.clock."""

from datetime import timedelta

import pytest

from modelota.clock import Clock
from modelota.testing.clock import EPOCH, ManualClock


async def test_moves_when_told() -> None:
    """Sleeping and advancing move both clocks; setting moves the wall clock only, and back too."""
    manual = ManualClock()
    clock: Clock = manual
    await clock.sleep(90)
    manual.advance(days=1)
    assert clock.now() == EPOCH + timedelta(days=1, seconds=90)
    assert clock.monotonic() == 86_490
    manual.set(EPOCH - timedelta(days=1))
    assert clock.now() < EPOCH
    assert clock.monotonic() == 86_490
    assert manual.slept == [90]
    with pytest.raises(ValueError, match="backwards"):
        manual.advance(seconds=-1)
