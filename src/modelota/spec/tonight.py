"""When “tonight” is (requirement 5.3-b): one meaning for every place where an offer can be put off until then."""

from __future__ import annotations

from datetime import datetime, time, tzinfo
from typing import Final

EVENING: Final = time(22, 0)
MORNING: Final = time(6, 0)


def tonight(now: datetime, zone: tzinfo | None = None) -> datetime | None:
    """The beginning of the night on this device's wall, or None when it is night already.

    Args:
        now: aware.
        zone: of the device; None for the system's.
    """
    local = now.astimezone(zone)
    if local.time() >= EVENING or local.time() < MORNING:
        return None
    # made aware as a time of that day, so that it reads 22:00 also where the clocks change in between
    return datetime.combine(local.date(), EVENING, tzinfo=zone).astimezone(zone)
