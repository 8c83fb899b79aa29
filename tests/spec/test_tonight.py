"""When “tonight” is: ten in the evening on the device's wall, and now in the night."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from modelota.spec.tonight import tonight

SHANGHAI = ZoneInfo("Asia/Shanghai")


@pytest.mark.parametrize(
    ("now", "begins"),
    [
        ("2026-11-24T06:00:00Z", "2026-11-24T14:00:00Z"),  # 14:00 there: ten in the evening of that day
        ("2026-11-24T13:59:59Z", "2026-11-24T14:00:00Z"),
        ("2026-11-24T14:00:00Z", None),  # 22:00
        ("2026-11-24T21:59:00Z", None),  # 05:59 of the next day: still night
        ("2026-11-24T22:00:00Z", "2026-11-25T14:00:00Z"),  # 06:00
    ],
)
def test_tonight(now: str, begins: str | None) -> None:
    """The evening of the device's own day; in the night there is nothing to wait for."""
    found = tonight(datetime.fromisoformat(now), SHANGHAI)
    assert (found and found.astimezone(UTC)) == (begins and datetime.fromisoformat(begins))


def test_a_change_of_clocks_before_the_evening() -> None:
    """It reads 22:00 on the wall also on the day on which the clocks change."""
    berlin = ZoneInfo("Europe/Berlin")
    found = tonight(datetime(2026, 10, 24, 23, 30, tzinfo=UTC).astimezone(berlin).replace(hour=12, day=25), berlin)
    assert found is not None
    assert (found.astimezone(berlin).hour, found.astimezone(UTC).hour) == (22, 21)
