"""Sizes, durations, rates and times as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from typing import Final

from modelota.i18n import Language
from modelota.i18n.texts import clean, texts_for

_STEPS: Final = ("B", "kB", "MB", "GB", "TB", "PB")  # SI (ISO/IEC 80000-13): 1 kB = 1000 B


def size(size_bytes: float | None, language: Language) -> str:
    """Render a number of bytes: `512 B`, `4.0 GB`, `38 MB`; None reads “unknown”."""
    if size_bytes is None:
        return texts_for(language).unknown
    value, step = float(size_bytes), 0
    while step < len(_STEPS) - 1 and (value >= 1000 or (step > 0 and round(value) >= 1000)):
        value, step = value / 1000, step + 1
    digits = 1 if step > 0 and round(value, 1) < 10 else 0
    return f"{value:.{digits}f} {_STEPS[step]}"


def rate(bytes_per_s: float | None, language: Language) -> str:
    """Render a transfer rate: `3.2 MB/s`; None reads “unknown”."""
    if bytes_per_s is None:
        return texts_for(language).unknown
    return f"{size(bytes_per_s, language)}/s"


def duration(seconds: float | None, language: Language) -> str:
    """Render a span of time: `12 seconds`, `6 minutes`, `2 hours 5 minutes`, `3 days`; None reads “unknown”."""
    texts = texts_for(language)
    if seconds is None:
        return texts.unknown
    if seconds < 0.95:
        return texts.say("less than a second")
    if round(seconds) < 60:
        return texts.count("{n} second", "{n} seconds", round(seconds))
    minutes = round(seconds / 60)
    if minutes < 60:
        return texts.count("{n} minute", "{n} minutes", minutes)
    if minutes < 48 * 60:
        hours, rest = divmod(minutes, 60)
        text = texts.count("{n} hour", "{n} hours", hours)
        return text if rest == 0 else f"{text} {texts.count('{n} minute', '{n} minutes', rest)}"
    return texts.count("{n} day", "{n} days", round(seconds / 86_400))


def about(seconds: float | None, language: Language) -> str:
    """Render an estimate: `about 6 minutes`, 约 6 分钟; short ones read “a few seconds”, None “time unknown”."""
    texts = texts_for(language)
    if seconds is None:
        return texts.say("time unknown")
    if seconds < 10:
        return texts.say("a few seconds")
    if seconds < 60:
        seconds = 60.0 if seconds > 45 else -(-seconds // 10) * 10  # to the next ten: an estimate is no measurement
    return texts.say("about {duration}", duration=duration(seconds, language))


def moment(text: str | None, language: Language, *, zone: tzinfo | None = None) -> str:
    """Render an RFC 3339 time in the reader's time zone, to the minute; what is no such time is given as it is.

    Args:
        text: for example `2026-11-24T06:00:00Z`; None reads “unknown”.
        language: of the reader.
        zone: time zone to show; None for the system's.
    """
    if text is None:
        return texts_for(language).unknown
    local = _local(text, zone)
    if local is None:
        return clean(text)
    if language == "zh-CN":
        return f"{local.year} 年 {local.month} 月 {local.day} 日 {local:%H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"


def day(text: str, language: Language, *, zone: tzinfo | None = None) -> str:
    """Render the day of an RFC 3339 time, as `moment` does; what is no such time is given as it is."""
    local = _local(text, zone)
    if local is None:
        return clean(text)
    return f"{local.year} 年 {local.month} 月 {local.day} 日" if language == "zh-CN" else f"{local:%Y-%m-%d}"


def time_of_day(text: str, *, zone: tzinfo | None = None) -> str:
    """Render the time of day of an RFC 3339 time, to the minute; empty for what is no such time."""
    local = _local(text, zone)
    return "" if local is None else f"{local:%H:%M}"


def near(text: str | None, now: datetime, language: Language, *, zone: tzinfo | None = None) -> str:
    """Render an RFC 3339 time as one says it: `today 06:00`, 明天 22:00; further away like `moment`.

    Args:
        text: for example `2026-11-24T06:00:00Z`; None reads “unknown”.
        now: aware.
        language: of the reader.
        zone: time zone to show; None for the system's.
    """
    local = None if text is None else _local(text, zone)
    if local is None:
        return moment(text, language, zone=zone)
    texts, days = texts_for(language), (local.date() - now.astimezone(zone).date()).days
    if days == 0:
        return texts.say("today {time}", time=f"{local:%H:%M}")
    if days == 1:
        return texts.say("tomorrow {time}", time=f"{local:%H:%M}")
    if days == -1:
        return texts.say("yesterday {time}", time=f"{local:%H:%M}")
    return moment(text, language, zone=zone)


def stamp(text: str | None, *, zone: tzinfo | None = None) -> str:
    """Render an RFC 3339 time for a column of a table, the same in every language; None reads `–`."""
    if text is None:
        return "–"
    local = _local(text, zone)
    return clean(text) if local is None else f"{local:%Y-%m-%d %H:%M}"


def _local(text: str, zone: tzinfo | None) -> datetime | None:
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return when.astimezone(zone)
