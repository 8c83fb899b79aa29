"""Notices: what the user is told of once, wherever they are (clause 5.1-c). Kept, so that a restart repeats nothing.

`notice_drafts` decides what a model's state calls for; this keeps it, and hands out each notice when it is due: now, or
after the quiet hours. `notifying` has the channels through which it then goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import tzinfo
from typing import Final, Protocol

import msgspec

from modelota.agent.config import NotificationSettings
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.notice_drafts import Known, drafts, offer_draft, stands
from modelota.agent.quiet import is_quiet, quiet_ends
from modelota.agent.states import State
from modelota.agent.withdrawals import warning_about
from modelota.clock import Clock, from_iso, iso
from modelota.errors import AskPerson, ModelotaError
from modelota.spec.api import ErrorBody, Event, EventKind
from modelota.spec.api_owner import Notice, NoticesPage, NoticeTold
from modelota.spec.api_query import NoticesQuery

NOTICES_PAGE_MAX: Final = 500
RETRY_S: Final = 60.0  # when the database could not be written
LOOK_S: Final = 900.0  # the longest wait for the end of quiet hours: the device may sleep, or its clock be set
_TELLING: Final[frozenset[EventKind]] = frozenset({"phase", "offer", "outcome", "decision", "notice"})


class _Model(Protocol):
    """What of a model's loop is looked at."""

    @property
    def state(self) -> State: ...


class Notices:
    """The notices of one device root.

    Args:
        journal: keeps them.
        hub: tells of what happens.
        models: of the root.
        settings: the integrator's.
        clock: the time.
        zone: of quiet hours; None is the system's.
    """

    def __init__(
        self,
        journal: Journal,
        hub: Hub,
        models: Mapping[str, _Model],
        settings: NotificationSettings,
        clock: Clock,
        *,
        zone: tzinfo | None = None,
    ) -> None:
        self._journal = journal
        self._hub = hub
        self._models = models
        self._settings = settings
        self._clock = clock
        self._zone = zone
        self._changed: dict[str, ErrorBody | None] = {}  # models to look at, with damage that was just found
        self._wake = asyncio.Event()

    # -- making -----------------------------------------------------------------------------------------------------

    def reminder(self, model: str, digest: str, number: int) -> Notice | None:
        """Remind of an offer whose user answered *later*; the same number reminds once.

        Args:
            model: of the offer.
            digest: of the offer.
            number: of the reminder: 1 is the first after the first *later*.

        Returns:
            the notice, or None when it was given before, or the offer is unknown.

        Raises:
            ModelotaError: the database can't be written.
        """
        view = self._journal.offer(digest)
        if view is None or view.offer.model != model:
            return None
        answer = self._journal.notices.newest_answer(digest)
        answered = answer.seq if answer is not None else 0
        draft = offer_draft(view, f"reminder {digest} {number}", kind="reminder", number=number, answer=answered)
        notice = self._journal.notices.keep(draft, self._due_at())
        self._changed.setdefault(model, None)  # the reminder before is over
        self._wake.set()
        return notice

    def look(self, model: str, damage: ErrorBody | None = None) -> None:
        """Keep what the state of a model calls for, and note what is over.

        Args:
            model: which.
            damage: what a reading of its versions just found.

        Raises:
            ModelotaError: the database can't be read or written.
        """
        loop = self._models.get(model)
        if loop is None:
            return
        table, state = self._journal.notices, loop.state
        known = self._known(model, state, damage)
        found = {draft.key: draft for draft in drafts(model, state, known)}
        current = table.current(model)
        reminders = [notice.id for notice in current if notice.kind == "reminder"]
        over = [
            notice.id
            for notice in current
            if not stands(notice, state, known, found.keys())
            or (notice.kind == "reminder" and notice.id != reminders[-1])
        ]
        table.over(over)
        for number in over:
            self._publish(number)
        standing = {notice.key.partition("#")[0] for notice in current}
        for key, draft in found.items():
            if key not in standing:
                table.keep(draft, iso(self._clock.now()) if draft.urgent else self._due_at())

    def _known(self, model: str, state: State, damage: ErrorBody | None) -> Known:
        journal = self._journal
        last = state.last
        return Known(
            title=journal.title(model),
            offer=journal.offer(state.offer) if state.offer else None,
            answer=journal.notices.newest_answer(state.offer) if state.offer else None,
            warning=warning_about(journal, model, state.current.version if state.current else None),
            damage=damage,
            is_damaged=damage is not None or bool(journal.damaged(model)),
            outcome_age_s=(self._clock.now() - from_iso(last.finished_at)).total_seconds() if last else None,
        )

    def _due_at(self) -> str:
        return iso(quiet_ends(self._settings.quiet, self._clock.now(), self._zone))

    # -- handing out ------------------------------------------------------------------------------------------------

    async def run(self, announce: Callable[[Notice], None]) -> None:
        """Watch what happens, and hand each notice to `announce` once, when it is due. Ends only by being cancelled."""
        following = asyncio.create_task(self._follow(self._hub.listen(None)))
        self._changed |= dict.fromkeys(self._models)
        try:
            while True:
                self._wake.clear()
                await self._wait(self._turn(announce))
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self, events: AsyncIterator[Event]) -> None:
        async for event in events:
            if event.kind in _TELLING:
                damage = _damage(event)
                self._changed[event.model] = damage or self._changed.get(event.model)
                self._wake.set()

    def _turn(self, announce: Callable[[Notice], None]) -> float | None:
        """Do what is to be done now; returns seconds until there may be more, None: until something happens."""
        try:
            for model in list(self._changed):
                self.look(model, self._changed[model])
                self._changed.pop(model)
            waiting = self._journal.notices.unannounced()
            for notice in waiting:
                if self._is_due(notice) and self._journal.notices.announce(notice.id):
                    announce(notice)
        except ModelotaError:  # a full disk: what is not on record is not told, and tried again
            return RETRY_S
        if all(self._is_due(notice) for notice in waiting):
            return None
        ends = quiet_ends(self._settings.quiet, self._clock.now(), self._zone)
        return min(LOOK_S, max(1.0, (ends - self._clock.now()).total_seconds()))

    def _is_due(self, notice: Notice) -> bool:
        """Whether it may be told now: by the clock on the wall as it is, also when that was wrong before."""
        return notice.urgent or not is_quiet(self._settings.quiet, self._clock.now(), self._zone)

    async def _wait(self, seconds: float | None) -> None:
        woken = asyncio.ensure_future(self._wake.wait())
        pause = asyncio.ensure_future(self._clock.sleep(seconds)) if seconds is not None else None
        tasks = [woken, *([pause] if pause is not None else [])]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # -- asked through the socket -------------------------------------------------------------------------------------

    def page(self, query: NoticesQuery, *, authority: str) -> NoticesPage:
        """Notices, oldest first; without `all` those that stand and are due, or that who asks was shown before."""
        found = self._journal.notices.notices(query.after, authority, everything=query.all)
        kept = [
            notice
            for notice in found
            if (query.all or self._is_due(notice) or notice.told_at is not None)
            and not (query.untold and notice.told_at is not None)
        ]
        quiet, now = self._settings.quiet, self._clock.now()
        return NoticesPage(
            notices=tuple(kept[: min(query.limit, NOTICES_PAGE_MAX)]),
            quiet_until=iso(quiet_ends(quiet, now, self._zone)) if is_quiet(quiet, now, self._zone) else None,
        )

    def tell(self, number: str, request: NoticeTold, *, authority: str) -> Notice:
        """Note that somebody was shown a notice; with `dismiss`, that they put it away for everybody.

        Raises:
            AskPerson: `notice-unknown`.
            ModelotaError: the database can't be written.
        """
        known = number.isascii() and number.isdigit() and len(number) < 19
        notice = self._journal.notices.notice(int(number)) if known else None
        if notice is None:
            raise AskPerson("notice-unknown", id=number[:64])
        if self._journal.notices.tell(notice.id, authority, dismiss=request.dismiss):
            event = "notice-dismissed" if request.dismiss else "notice-shown"
            facts = {"id": notice.id, "channel": request.channel, "authority": authority}
            self._journal.note(notice.model, event, facts)
            if request.dismiss:
                self._publish(notice.id)
        told = self._journal.notices.notice(notice.id, authority)
        assert told is not None
        return told

    def _publish(self, number: int) -> None:
        """Tell who shows a notice that it can go."""
        notice = self._journal.notices.notice(number)
        if notice is not None:
            self._hub.publish("notification", notice.model, msgspec.to_builtins(notice))


def _damage(event: Event) -> ErrorBody | None:
    """What an event says of damaged files, or None."""
    error = event.data.get("error")
    if event.kind != "notice" or not error or error["code"] != "slot-damaged":
        return None
    return msgspec.convert(error, ErrorBody)
