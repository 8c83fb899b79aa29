"""Figures as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.i18n import units


@pytest.mark.parametrize(
    ("size_bytes", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (9_949, "9.9 kB"),
        (9_960, "10 kB"),
        (38_000_000, "38 MB"),
        (999_499, "999 kB"),
        (999_500, "1.0 MB"),
        (4_000_000_000, "4.0 GB"),
        (None, "unknown"),
    ],
)
def test_size(size_bytes: int | None, expected: str) -> None:
    """SI units, two or three digits."""
    assert units.size(size_bytes, "en") == expected


@given(st.integers(min_value=0, max_value=10**17))
def test_size_is_short(size_bytes: int) -> None:
    """Every size fits seven characters and never reads a thousand of a unit that has a next one."""
    text = units.size(size_bytes, "en")
    assert len(text) <= 7
    assert not text.startswith("1000 ")


@pytest.mark.parametrize(
    ("seconds", "english", "chinese"),
    [
        (0.2, "less than a second", "不到 1 秒"),
        (1, "1 second", "1 秒"),
        (12.4, "12 seconds", "12 秒"),
        (59.6, "1 minute", "1 分钟"),
        (360, "6 minutes", "6 分钟"),
        (7_500, "2 hours 5 minutes", "2 小时 5 分钟"),
        (86_400, "24 hours", "24 小时"),
        (3 * 86_400, "3 days", "3 天"),
        (None, "unknown", "未知"),
    ],
)
def test_duration(seconds: float | None, english: str, chinese: str) -> None:
    """Spans in both languages."""
    assert units.duration(seconds, "en") == english
    assert units.duration(seconds, "zh-CN") == chinese


def test_about() -> None:
    """Estimates are rounded up to what they are worth."""
    assert units.about(360, "en") == "about 6 minutes"
    assert units.about(360, "zh-CN") == "约 6 分钟"
    assert units.about(41, "en") == "about 50 seconds"
    assert units.about(50, "en") == "about 1 minute"
    assert units.about(3, "zh-CN") == "几秒钟"
    assert units.about(None, "en") == "time unknown"


def test_rate() -> None:
    """Rates carry the size's unit."""
    assert units.rate(3_200_000, "en") == "3.2 MB/s"
    assert units.rate(None, "zh-CN") == "未知"


def test_moment() -> None:
    """Times are shown in the reader's zone; what is no time is given as it is, without controls."""
    east = timezone(timedelta(hours=8))
    assert units.moment("2026-11-24T06:05:00Z", "en", zone=UTC) == "2026-11-24 06:05"
    assert units.moment("2026-11-24T06:05:00Z", "zh-CN", zone=east) == "2026 年 11 月 24 日 14:05"
    assert units.moment("soon\x1b", "en") == "soon�"
    assert units.moment(None, "en") == "unknown"


@pytest.mark.parametrize(
    ("text", "english", "chinese"),
    [
        ("2026-11-24T06:00:00Z", "today 14:00", "今天 14:00"),
        ("2026-11-24T16:00:00Z", "tomorrow 00:00", "明天 00:00"),
        ("2026-11-23T15:59:00Z", "yesterday 23:59", "昨天 23:59"),
        ("2026-11-26T06:00:00Z", "2026-11-26 14:00", "2026 年 11 月 26 日 14:00"),
        ("2025-11-24T06:00:00Z", "2025-11-24 14:00", "2025 年 11 月 24 日 14:00"),
        ("never", "never", "never"),
        (None, "unknown", "未知"),
    ],
)
def test_a_time_that_is_near_is_named_by_its_day(text: str | None, english: str, chinese: str) -> None:
    """By the reader's own day, not UTC's."""
    zone, now = timezone(timedelta(hours=8)), datetime(2026, 11, 24, 1, 0, tzinfo=UTC)
    assert units.near(text, now, "en", zone=zone) == english
    assert units.near(text, now, "zh-CN", zone=zone) == chinese


def test_day_and_time_of_day() -> None:
    """A list grouped by day shows each in its place, in the reader's zone."""
    east = timezone(timedelta(hours=8))
    assert units.day("2026-11-24T16:05:00Z", "en", zone=east) == "2026-11-25"
    assert units.day("2026-11-24T16:05:00Z", "zh-CN", zone=east) == "2026 年 11 月 25 日"
    assert units.day("soon\x1b", "en") == "soon�"
    assert units.time_of_day("2026-11-24T16:05:00Z", zone=east) == "00:05"
    assert units.time_of_day("soon") == ""
