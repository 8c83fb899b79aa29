"""Quiet hours: over midnight, where the clock changes for the summer, and what is no time at all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.agent.quiet import is_quiet, quiet_ends

BERLIN = ZoneInfo("Europe/Berlin")
SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("quiet", "now", "zone", "ends"),
    [
        # over midnight: begins at its first minute, ends at the minute it names
        ("22:00-07:00", "2026-11-24T13:59:59", SHANGHAI, None),
        ("22:00-07:00", "2026-11-24T14:00:00", SHANGHAI, "2026-11-24T23:00:00"),
        ("22:00-07:00", "2026-11-24T16:00:00", SHANGHAI, "2026-11-24T23:00:00"),  # 00:00
        ("22:00-07:00", "2026-11-24T22:59:59", SHANGHAI, "2026-11-24T23:00:00"),
        ("22:00-07:00", "2026-11-24T23:00:00", SHANGHAI, None),
        # within a day
        ("12:30-13:30", "2026-11-24T05:00:30", SHANGHAI, "2026-11-24T05:30:00"),
        # spring: 02:00 becomes 03:00 in Berlin; an end of 02:30 is left out, and the night ends with the change
        ("22:00-02:30", "2026-03-29T00:10:00", BERLIN, "2026-03-29T01:00:00"),
        ("22:00-07:00", "2026-03-28T23:00:00", BERLIN, "2026-03-29T05:00:00"),
        # autumn: 03:00 becomes 02:00; an end of 02:30 comes twice, the first one counts
        ("22:00-02:30", "2026-10-24T23:00:00", BERLIN, "2026-10-25T00:30:00"),
        ("22:00-07:00", "2026-10-24T22:00:00", BERLIN, "2026-10-25T06:00:00"),
    ],
)
def test_when_it_ends(quiet: str, now: str, zone: ZoneInfo, ends: str | None) -> None:
    """By the clock on the wall, to the minute; outside there is nothing to wait for."""
    moment = at(now)
    assert is_quiet(quiet, moment, zone) == (ends is not None)
    assert quiet_ends(quiet, moment, zone) == (at(ends) if ends else moment)


@pytest.mark.parametrize("quiet", [None, "22:00-22:00", "00:00-00:00"])
def test_no_quiet_hours(quiet: str | None) -> None:
    """Without the setting, or with equal times, it is never quiet: nobody is left untold for ever."""
    for hour in range(24):
        moment = at("2026-11-24T00:00:00") + timedelta(hours=hour)
        assert not is_quiet(quiet, moment, SHANGHAI)
        assert quiet_ends(quiet, moment, SHANGHAI) == moment


@given(
    start=st.times().map(lambda time: time.strftime("%H:%M")),
    end=st.times().map(lambda time: time.strftime("%H:%M")),
    now=st.integers(0, 366 * 86_400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)),
)
def test_they_always_end(start: str, end: str, now: datetime) -> None:
    """Whatever the times and the day, the end is not quiet, at most a day and an hour away, and not before now."""
    quiet = f"{start}-{end}"
    ends = quiet_ends(quiet, now, BERLIN)
    assert not is_quiet(quiet, ends, BERLIN)
    assert now <= ends <= now + timedelta(hours=25)
