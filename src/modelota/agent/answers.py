"""The life of people's answers: when they expire, when *later* is told of again, and how each stands.

Whether the time of an answer is over is told by the wall clock, or by how long the agent ran since: whichever comes
first. So a clock that was set back never makes an answer count for longer than its span of running time, and one that
jumped ahead ends only what is due by it. Running time is kept every `KEPT_EVERY_S`, so restarts add at most that much.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import msgspec

from modelota.agent.config import Answers
from modelota.agent.decision_table import DecisionRow
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.standing import may_be_revoked, may_expire
from modelota.agent.states import AnswerExpired, MachineEvent, Reminded, Standing, State
from modelota.clock import Clock, from_iso
from modelota.errors import ModelotaError
from modelota.spec.api import StandingAnswer
from modelota.spec.api_owner import AnswerState, DecisionView

KEPT_EVERY_S: Final = 3600.0
AGAIN_S: Final = 60.0  # after an error of the disk

Remind = Callable[[str, str, int], None]  # model, digest of the offer, number of the reminder


class _Deadline(NamedTuple):
    """When an answer expires or is reminded of, and since when that counts."""

    key: str
    since: str
    due: str
    event: MachineEvent

    @property
    def span_s(self) -> float:
        return (from_iso(self.due) - from_iso(self.since)).total_seconds()


class AnswerLife:
    """Watches the deadlines of one model's answers.

    Args:
        model: its name.
        settings: the integrator's.
        journal: keeps how long the agent ran.
        hub: told of every answer that is given, moved or ended.
        clock: the time.
        state: of the model, now.
        post: posts an event to the model's state machine.
        remind: tells the user of an offer again; the same number is told once, however often it is called.
        noticed: told an error that does not end this.
    """

    def __init__(
        self,
        model: str,
        settings: Answers,
        journal: Journal,
        hub: Hub,
        clock: Clock,
        *,
        state: Callable[[], State],
        post: Callable[[MachineEvent], Awaitable[bool]],
        remind: Remind,
        noticed: Callable[[ModelotaError], None],
    ) -> None:
        self._model = model
        self._settings = settings
        self._journal = journal
        self._hub = hub
        self._clock = clock
        self._state = state
        self._post = post
        self._remind = remind
        self._noticed = noticed
        self._changed = asyncio.Event()
        self._ran: dict[str, float] | None = None  # seconds that the agent ran since each deadline was set
        self._looked = 0.0
        self._kept = 0.0

    def changed(self, before: State, after: State) -> None:
        """Tell of answers that were given, moved or ended, and of an offer that stands again because one ended."""
        numbers = {given.id for given in set(before.standing) ^ set(after.standing)}
        if not numbers:
            return
        self._changed.set()
        try:
            told = [decision_view(row, after) for row in self._journal.decisions.rows(numbers)]
            view = self._journal.offer(after.offer) if after.offer and before.offer is None else None
        except ModelotaError as error:  # it is decided all the same
            self._noticed(error)
            return
        for decision in told:
            self._hub.publish("decision", self._model, msgspec.to_builtins(decision))
        if view is not None:
            self._hub.publish("offer", self._model, {"digest": view.digest, "to_version": view.offer.to_version})

    async def run(self) -> None:
        """Post what is due, when it is due; never ends by itself."""
        while True:
            self._changed.clear()
            try:
                await self.look()
            except ModelotaError as error:  # a full disk: what is due stays due
                self._noticed(error)
                await self._clock.sleep(AGAIN_S)
            else:
                await self._wait()

    def keep(self) -> None:
        """Keep for how long the agent ran, when it ends."""
        if self._ran:
            self._count(self._deadlines())
            self._keep(self._looked)

    async def look(self) -> None:
        """Post what is due now; also once before the agent goes on with what was under way.

        Raises:
            ModelotaError: the journal can't be written.
        """
        for deadline in self._due():
            if isinstance(deadline.event, Reminded):
                given = self._state().answer
                if given is None or given.id != deadline.event.id:
                    continue
                # told before it is on record: a kill between the two repeats a number, which is told once
                self._remind(self._model, given.offer_digest, self._state().reminders + 1)
            await self._post(deadline.event)

    def _deadlines(self) -> list[_Deadline]:
        state, found = self._state(), []
        for given in state.standing:
            expires = given.answer != "accept" or may_expire(state)
            if given.expires_at is not None and expires:
                key = f"{given.id} expires {given.expires_at}"
                found.append(_Deadline(key, given.at, given.expires_at, AnswerExpired(id=given.id)))
            if given.remind_at is not None and state.update is None:
                key = f"{given.id} reminds {given.remind_at}"
                remind_s = self._settings.remind_urgent_s if self._is_urgent(given) else self._settings.remind_s
                since = given.remind_from or given.at
                found.append(_Deadline(key, since, given.remind_at, Reminded(id=given.id, remind_s=remind_s)))
        return found

    def _is_urgent(self, given: Standing) -> bool:
        view = self._journal.offer(given.offer_digest)
        return view is not None and is_urgent(view.offer.kind, view.offer.urgency_reason)

    def _due(self) -> list[_Deadline]:
        deadlines = self._deadlines()
        ran = self._count(deadlines)
        now = self._clock.now()
        return [each for each in deadlines if from_iso(each.due) <= now or ran[each.key] >= each.span_s]

    def _count(self, deadlines: list[_Deadline]) -> dict[str, float]:
        """Add the time since the last look to every deadline that was there then."""
        now_s = self._clock.monotonic()
        if self._ran is None:
            kept = self._journal.fact(self._fact)
            try:
                self._ran = msgspec.json.decode(kept, type=dict[str, float]) if kept else {}
            except msgspec.MsgspecError:  # written otherwise by another agent: counted anew
                self._ran = {}
            self._looked = self._kept = now_s
        passed_s, self._looked = now_s - self._looked, now_s
        before = self._ran
        self._ran = {each.key: before[each.key] + passed_s if each.key in before else 0.0 for each in deadlines}
        if now_s - self._kept >= KEPT_EVERY_S and self._ran:
            self._keep(now_s)
        return self._ran

    def _keep(self, now_s: float) -> None:
        try:
            self._journal.set_fact(self._fact, msgspec.json.encode(self._ran))
            self._kept = now_s
        except ModelotaError as error:  # kept at the next look
            self._noticed(error)

    @property
    def _fact(self) -> str:
        return f"answers-ran {self._model}"

    async def _wait(self) -> None:
        """Until the next deadline, or a while, so that a clock that was set is noticed; or until answers change."""
        deadlines = self._deadlines()
        change = asyncio.create_task(self._changed.wait())
        tasks: list[asyncio.Task[Any]] = [change]
        if deadlines:
            now, ran = self._clock.now(), self._ran or {}
            left = [
                min((from_iso(each.due) - now).total_seconds(), each.span_s - ran.get(each.key, 0.0))
                for each in deadlines
            ]
            wait_s = max(1.0, min(KEPT_EVERY_S, *left))
            tasks.append(asyncio.create_task(self._clock.sleep(wait_s)))
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def is_urgent(kind: str, urgency_reason: object) -> bool:
    """Whether a publisher may call an offer urgent, and does: a security update with its reason (requirement 5.1-d)."""
    return kind == "security" and bool(urgency_reason)


def standing_answers(state: State) -> tuple[StandingAnswer, ...]:
    """The answers that count now, as the status tells them."""
    return tuple(
        StandingAnswer(
            id=given.id,
            answer=given.answer,
            to_version=given.target.version,
            at=given.at,
            expires_at=_expiry(given, state),
            remind_at=given.remind_at,
            revocable=may_be_revoked(state, given),
            not_before=_begins(given, state),
        )
        for given in state.standing
    )


def _begins(given: Standing, state: State) -> str | None:
    """The time before which an accepted update does not begin; None once it has begun."""
    waits = state.update is not None and given == state.answer and may_expire(state)
    return state.update.not_before if waits and state.update is not None else None


def decision_view(row: DecisionRow, state: State) -> DecisionView:
    """One answer and what became of it, by the state of its model."""
    given = next((entry for entry in state.standing if entry.id == row.id), None)
    ended: AnswerState = row.ended_as or "done"  # a row of an agent that did not keep how it ended
    return DecisionView(
        id=row.id,
        model=row.model,
        offer_digest=row.offer_digest,
        to_version=row.to_version,
        operation=row.operation,
        answer=row.answer,
        authority=row.authority,
        channel=row.channel,
        at=row.at,
        state=ended if given is None else "standing",
        expires_at=None if given is None else _expiry(given, state),
        remind_at=None if given is None else given.remind_at,
        conditions=row.conditions,
        not_before=row.not_before,
        revocable=given is not None and may_be_revoked(state, given),
    )


def _expiry(given: Standing, state: State) -> str | None:
    """When an answer stops to count by itself; of an update that has begun to fetch nothing is left to expire."""
    return given.expires_at if given.answer != "accept" or may_expire(state) else None
