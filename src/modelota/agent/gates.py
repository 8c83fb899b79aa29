"""Gates: what an update waits for before it fetches, activates and switches. Closed means wait, visibly, never fail.

A gate is closed by a *holder*: an inhibitor that somebody holds for a reason (an operating-system update, a car that
drives), the integrator's hook, or whoever blocks shutdown at logind. Or by a *condition* of comfort: of the device's
settings, or of the very decision. A rollback or repair that its user asked for asks holders, and of conditions only
those of its decision. The rollback that makes the device safe again asks no gate at all.
"""

from __future__ import annotations

import asyncio
from datetime import tzinfo
from typing import Final, get_args

from modelota.agent import readings
from modelota.agent.config import GateSettings
from modelota.agent.journal import Journal
from modelota.agent.readings import Reading
from modelota.agent.states import Gate, Update
from modelota.clock import Clock, from_iso, iso
from modelota.errors import AskPerson
from modelota.spec.api_life import (
    ConditionsPage,
    ConditionsRequest,
    ConditionView,
    GatedStep,
    InhibitorRequest,
    InhibitorView,
)
from modelota.spec.offer import Condition

COMFORT_FREE: Final = ("rollback", "repair")

# Where each condition is asked: what was fetched costs nothing to use, and a time of day is for what is noticed.
_ASKED_AT: Final[dict[Condition, tuple[GatedStep, ...]]] = {
    "charging": ("fetch", "activate", "switch"),
    "parked": ("fetch", "activate", "switch"),
    "unmetered": ("fetch",),
}
_NOTICED: Final = ("activate", "switch")


class Gates:
    """The gates of one device root.

    Args:
        settings: the integrator's.
        journal: keeps the inhibitors.
        clock: the time.
        zone: of the time window; None is the system's.
    """

    def __init__(self, settings: GateSettings, journal: Journal, clock: Clock, *, zone: tzinfo | None = None) -> None:
        self._settings = settings
        self._journal = journal
        self._clock = clock
        self._zone = zone
        self._changed = asyncio.Event()
        self.turn = 0  # how often something was told
        self._told: dict[Condition, tuple[bool, str]] = {}  # by the host, and when; forgotten with the process

    async def closed(self, gate: Gate, update: Update) -> tuple[str, ...]:
        """What keeps `gate` closed for `update`; nothing: it is open.

        Returns:
            `inhibitor:<holder>`, `time`, `window`, `charging`, `unmetered`, `parked`, `hook:<reason>`, `logind:<who>`.
            Hook and logind are asked only when nothing else is in the way: they cost a process each.
        """
        if gate == "":
            return ()
        closed = [f"inhibitor:{held.holder}" for held in self._journal.inhibitors.held() if gate in held.steps]
        closed += await self._comfort(gate, update)
        if not closed:
            closed = await self._asked(gate)
        return tuple(dict.fromkeys(closed))

    async def _comfort(self, gate: GatedStep, update: Update) -> list[str]:
        free = update.direction in COMFORT_FREE
        closed: list[str] = []
        now = self._clock.now()
        if update.not_before is not None and now < from_iso(update.not_before):
            closed.append("time")
        window = None if free or gate not in _NOTICED else self._settings.window
        if window is not None and not readings.in_window(window, now, self._zone):
            closed.append("window")
        wanted = {*update.conditions} if free else {*update.conditions, *self._settings.conditions}
        for condition, gates in _ASKED_AT.items():
            if condition in wanted and gate in gates and not (await self._reading(condition)).holds:
                closed.append(condition)
        return closed

    async def _asked(self, gate: GatedStep) -> list[str]:
        settings = self._settings
        if settings.hook:
            reason = await readings.hook_reason(settings.hook, gate, settings.hook_timeout_s)
            if reason is not None:
                return [f"hook:{reason}"]
        if settings.logind and gate in _NOTICED:
            return [f"logind:{who}" for who in await readings.shutdown_blockers()]
        return []

    async def _reading(self, condition: Condition) -> Reading:
        told = self._told.get(condition)
        if told is not None:
            return Reading(told[0])
        if condition == "charging":
            return readings.charging()
        if condition == "unmetered":
            return await readings.unmetered()
        return Reading(None, "the host did not say")

    # -- told by others ----------------------------------------------------------------------------------------------

    def inhibit(self, request: InhibitorRequest, authority: str) -> InhibitorView:
        """Keep updates from their steps for somebody; asking again renews it.

        Raises:
            AskPerson: `argument-invalid`.
            ModelotaError: the database can't be written.
        """
        view = self._journal.inhibitors.hold(request, _uid(authority))
        facts = {"holder": view.holder, "reason": view.reason, "steps": list(view.steps), "until": view.until}
        self._journal.note("", "inhibited", {**facts, "authority": authority})
        self.told()
        return view

    def release(self, key: str, authority: str) -> InhibitorView:
        """Let go of an inhibitor, whoever holds it.

        Raises:
            AskPerson: `inhibitor-unknown`.
            ModelotaError: the database can't be written.
        """
        view = self._journal.inhibitors.release(key)
        if view is None:
            raise AskPerson("inhibitor-unknown", id=key[:64])
        self._journal.note("", "inhibitor-released", {"holder": view.holder, "authority": authority})
        self.told()
        return view

    def inhibitors(self) -> tuple[InhibitorView, ...]:
        """Those that are held now."""
        return self._journal.inhibitors.held()

    async def tell(self, request: ConditionsRequest) -> ConditionsPage:
        """Take note of what the host knows; it goes before what the device can read by itself."""
        at = iso(self._clock.now())
        for condition in get_args(Condition):
            holds = getattr(request, condition)
            if holds is not None:
                self._told[condition] = (holds, at)
        self.told()
        return await self.conditions()

    async def conditions(self) -> ConditionsPage:
        """Every condition as it is now."""
        return ConditionsPage(**{name: await self._view(name) for name in get_args(Condition)})

    async def _view(self, condition: Condition) -> ConditionView:
        reading, told = await self._reading(condition), self._told.get(condition)
        return ConditionView(holds=reading.holds, reason=reading.reason, told_at=told[1] if told else None)

    # -- waiting -----------------------------------------------------------------------------------------------------

    def told(self) -> None:
        """Something that gates depend on changed: whoever waits looks again."""
        self.turn += 1
        self._changed.set()
        self._changed = asyncio.Event()

    async def change(self, since: int) -> None:
        """Wait until something was told after `turn` was `since`, or conditions should be read again by themselves."""
        if self.turn != since:
            return
        changed = asyncio.ensure_future(self._changed.wait())
        pause = asyncio.ensure_future(self._clock.sleep(self._settings.poll_s))
        try:
            await asyncio.wait((changed, pause), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (changed, pause):
                task.cancel()
            await asyncio.gather(changed, pause, return_exceptions=True)


def _uid(authority: str) -> int | None:
    kind, _, number = authority.partition(":")
    return int(number) if kind == "uid" and number.isdecimal() else None
