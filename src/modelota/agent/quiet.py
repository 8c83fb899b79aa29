"""Quiet hours: the local times in which only what is urgent is told. Pure."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from typing import Final

from modelota.agent.readings import in_window

_LONGEST: Final = timedelta(hours=26)  # quiet hours of a day on which the clock is set back by two


def is_quiet(quiet: str | None, now: datetime, zone: tzinfo | None = None) -> bool:
    """Whether it is quiet now. Only the clock on the wall counts, also where it is changed for the summer.

    Args:
        quiet: `HH:MM-HH:MM`, checked by the settings; an end before the start is on the next day, equal ones are no
            time at all, None neither.
        now: aware.
        zone: of the device; None is the system's.
    """
    if quiet is None or quiet[:5] == quiet[6:]:
        return False
    return in_window(quiet, now, zone)


def quiet_ends(quiet: str | None, now: datetime, zone: tzinfo | None = None) -> datetime:
    """When it is not quiet any more: `now` if it is not.

    Looks at each minute in turn, because the hour of the end may be left out, or come twice, when the clock changes.
    """
    moment, last = now, now + _LONGEST
    while is_quiet(quiet, moment, zone) and moment < last:
        moment = moment.replace(second=0, microsecond=0) + timedelta(minutes=1)
    return moment
