"""What the device itself says about conditions: power, network cost, time of day, the integrator's hook, logind.

Unknown is None with a reason. Nothing here fails: a command that is missing, hangs or answers nonsense is a reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, tzinfo
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from modelota.agent.short_command import run_briefly
from modelota.spec.api_life import GatedStep
from modelota.telemetry.circumstances import circumstances

BUS_TIMEOUT_S: Final = 5.0
HOOK_OPENS: Final = 0
HOOK_CLOSES: Final = 75  # sysexits.h EX_TEMPFAIL
_ROOT: Final = Path("/")
_NAME_MAX_CHARS: Final = 40
_BUS: Final = ("busctl", "--system", "--json=short", "--auto-start=no", "--allow-interactive-authorization=no")
_NETWORK: Final = (
    *(*_BUS, "get-property", "org.freedesktop.NetworkManager", "/org/freedesktop/NetworkManager"),
    *("org.freedesktop.NetworkManager", "Metered"),
)
_INHIBITORS: Final = (
    *(*_BUS, "call", "org.freedesktop.login1", "/org/freedesktop/login1"),
    *("org.freedesktop.login1.Manager", "ListInhibitors"),
)
_METERED: Final = {1: False, 2: True, 3: False, 4: True}  # NMMetered: yes, no, and the same as guesses
_BLOCKS: Final = frozenset({"shutdown", "sleep"})


class Reading(NamedTuple):
    """Whether something holds; None is unknown, with the reason."""

    holds: bool | None
    reason: str | None = None


def charging(*, base: Path = _ROOT) -> Reading:
    """Whether the device runs on external power. One that lists no battery has nothing else to run on."""
    return Reading(circumstances(base=base).power != "battery")


async def unmetered() -> Reading:
    """Whether the connection costs nothing extra, as far as NetworkManager knows."""
    ended = await run_briefly(_NETWORK, timeout_s=BUS_TIMEOUT_S)
    if ended.status != 0:
        return Reading(None, ended.reason or "no NetworkManager")
    try:
        holds = _METERED.get(msgspec.json.decode(ended.output, type=_Number).data)
    except msgspec.MsgspecError:
        return Reading(None, "NetworkManager answered something else")
    return Reading(holds, None if holds is not None else "NetworkManager does not know")


class _Number(msgspec.Struct):
    data: int


def in_window(window: str, now: datetime, zone: tzinfo | None = None) -> bool:
    """Whether the local time lies in `HH:MM-HH:MM`; an end before the start is on the next day.

    Only the clock on the wall counts, so a change to or from summer time moves the window with it; one that lies in the
    hour that is left out comes a day later.

    Args:
        window: checked by the settings.
        now: aware.
        zone: of the device; None is the system's.
    """
    start, end = (time.fromisoformat(text) for text in window.split("-"))
    local = now.astimezone(zone).time()
    if start <= end:
        return start <= local < end or start == end
    return local >= start or local < end


async def hook_reason(argv: Sequence[str], step: GatedStep, timeout_s: float) -> str | None:
    """Ask the integrator's hook; None when it opens, else why not: its own first line, or how it ended."""
    ended = await run_briefly((*argv, step), timeout_s=timeout_s)
    if ended.status == HOOK_OPENS:
        return None
    if ended.status is None:
        return _named(ended.reason)
    first = ended.output.decode("utf-8", "replace").strip().partition("\n")[0]
    if ended.status == HOOK_CLOSES:
        return _named(first) or "closed"
    return f"status {ended.status}"


async def shutdown_blockers() -> tuple[str, ...]:
    """Who blocks shutdown or sleep, by logind; nobody where there is no logind."""
    ended = await run_briefly(_INHIBITORS, timeout_s=BUS_TIMEOUT_S)
    if ended.status != 0:
        return ()
    try:
        rows = msgspec.json.decode(ended.output, type=_Inhibitors).data[0]
    except (msgspec.MsgspecError, IndexError):
        return ()
    found = [
        _named(who) for what, who, _, mode, *_ in rows if mode.startswith("block") and _BLOCKS & set(what.split(":"))
    ]
    return tuple(dict.fromkeys(found))


class _Inhibitors(msgspec.Struct):
    """`a(ssssuu)`: what, who, why, mode, user, process."""

    data: list[list[tuple[str, str, str, str, Any, Any]]]


def _named(text: str | None) -> str:
    """A short printable name for what comes from elsewhere."""
    kept = "".join(letter if letter.isprintable() else " " for letter in text or "")
    return " ".join(kept.split())[:_NAME_MAX_CHARS]
