"""Following an operation until it ended, whether its events arrive or have to be asked for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import Final, TypeVar

import msgspec

from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.failure import STOPPED_STATUS, Reported, tell
from modelota.cli.progress import Display, display_for
from modelota.cli.session import Session
from modelota.errors import CODES, AskPerson, TryLater, error_from
from modelota.i18n.errors import error_lines, render_error
from modelota.i18n.flow import render_outcome
from modelota.spec import api

_LOOK_AFTER_S: Final = 2.0
_LOST_MAX: Final = 15
_OVER: Final = frozenset({"idle", "offered", "watching", "degraded"})

T = TypeVar("T")


class _Told(msgspec.Struct, frozen=True):
    """What a `phase` event and a status say alike."""

    phase: str
    target_version: str | None = None
    paused: bool = False
    waits_for: tuple[str, ...] = ()
    error: api.ErrorBody | None = None


class _Noticed(msgspec.Struct, frozen=True):
    """What a `notice` event says."""

    error: api.ErrorBody


class Following:
    """Follows one model's operation.

    Args:
        access: the agent that carries it out.
        session: of this run.
        model: whose operation.
        before: the model's last outcome before the operation began.
        patient: stay while the update waits for something that passes by itself.
        stays: stay while a gate is closed: a person watches, and can stop watching.
    """

    def __init__(
        self,
        access: AgentAccess,
        session: Session,
        model: str,
        before: api.Outcome | None,
        *,
        patient: bool,
        stays: bool = True,
    ) -> None:
        self._access = access
        self._session = session
        self._model = model
        self._before = before
        self._patient = patient
        self._stays = stays
        self._last_id: int | None = None
        self._told: tuple[str, tuple[str, ...]] | None = None
        self._lost = 0

    async def until_over(self) -> api.Outcome:
        """Show progress until the outcome.

        Raises:
            Reported: the update is paused by an error, or waits at a gate, and waiting here would not help.
            TryLater: the agent went away and did not come back.
        """
        queue: asyncio.Queue[api.Event] = asyncio.Queue()
        feeder = asyncio.create_task(self._feed(queue))
        try:
            with display_for(self._session) as display:
                while True:
                    outcome = await self._next(queue, display)
                    if outcome is not None:
                        return outcome
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    async def _feed(self, queue: asyncio.Queue[api.Event]) -> None:
        # Events make it prompt; what is missed (a restart of the agent, say) is found by looking at the status.
        while True:
            try:
                async with aclosing(self._access.events(self._last_id)) as events:
                    async for event in events:
                        self._last_id = event.id
                        await queue.put(event)
            except TryLater:
                pass  # the status request tells whether the agent is gone for good
            await asyncio.sleep(_LOOK_AFTER_S)

    async def _next(self, queue: asyncio.Queue[api.Event], display: Display) -> api.Outcome | None:
        try:
            # not wait_for: in Python 3.11 it can swallow the cancellation that Ctrl-C is (cpython#86296)
            async with asyncio.timeout(_LOOK_AFTER_S):
                event = await queue.get()
        except TimeoutError:
            return await self._look(display)
        if event.kind == "reset":  # what happened meanwhile is in the status
            return await self._look(display)
        if event.model != self._model:
            return None
        self._session.emit(event)
        if event.kind == "outcome":
            return _as(event.data, api.Outcome)
        if event.kind == "progress":
            progress = _as(event.data, api.Progress)
            if progress is not None:
                display.progress(progress)
        elif event.kind == "notice":
            self._notice(event)
        elif event.kind == "phase":
            told = _as(event.data, _Told)
            if told is not None and told.phase not in _OVER:
                self._tell(told, display)
        return None

    def _notice(self, event: api.Event) -> None:
        error = _as(event.data, _Noticed)
        if error is not None:
            told = render_error(error.error.code, error.error.params, self._session.language)
            self._session.aside(f"{told.what} [{told.code}]")

    async def _look(self, display: Display) -> api.Outcome | None:
        try:
            status = await ask(self._access, api.Status, "GET", "/v1/status")
        except TryLater:
            self._lost += 1
            if self._lost >= _LOST_MAX:
                raise
            return None
        self._lost = 0
        model = next((each for each in status.models if each.model == self._model), None)
        if model is None:
            raise AskPerson("no-model-installed", model=self._model)
        if model.phase in _OVER:
            return model.last_outcome if model.last_outcome != self._before else None
        self._tell(
            _Told(model.phase, model.target_version, model.paused, model.waits_for, model.error),
            display,
        )
        if model.progress is not None:
            display.progress(model.progress)
        return None

    def _tell(self, told: _Told, display: Display) -> None:
        """Show the phase, or end here: paused, and nobody in this conversation will make it go on."""
        if told.paused:
            self._judge_pause(told)
        elif told.phase == "waiting" and told.waits_for and not self._stays:
            waits = TryLater("update-waits", version=told.target_version, waits_for=told.waits_for)
            raise Reported(waits, "paused" if self._access.embedded else "waiting")
        if told.phase == "waiting" and not told.waits_for:  # only looking whether a gate is closed
            return
        if (told.phase, told.waits_for) != self._told:
            self._told = (told.phase, told.waits_for)
            display.phase(told.phase, told.waits_for)

    def _judge_pause(self, told: _Told) -> None:
        code = told.error.code if told.error is not None else next(iter(told.waits_for), "person")
        if code == "person":
            raise Reported(AskPerson("update-paused", version=told.target_version), "paused")
        if code == "self-test":
            code = "self-test-inconclusive"
        if self._patient and CODES.get(code) == "try-later":
            return
        raise Reported(error_from(code, told.error.params if told.error is not None else {}), "paused")


async def follow(
    access: AgentAccess,
    session: Session,
    model: str,
    before: api.Outcome | None,
    *,
    patient: bool,
    stays: bool = True,
) -> int:
    """Follow an operation and tell how it ended.

    Args:
        access: the agent that carries it out.
        session: of this run.
        model: whose operation.
        before: the model's last outcome before the operation began.
        patient: stay while the update waits for something that passes by itself.
        stays: stay while a gate is closed.

    Returns:
        the exit status: 0 when it was done, the error's when it failed, 130 when the user stopped watching.
    """
    try:
        outcome = await Following(access, session, model, before, patient=patient, stays=stays).until_over()
    except asyncio.CancelledError:
        return await _leave(access, session, model)
    return tell_outcome(session, outcome)


def tell_outcome(session: Session, outcome: api.Outcome) -> int:
    """Print how an operation ended; returns the exit status."""
    session.reported = True
    session.emit({"outcome": outcome})
    rendered = render_outcome(outcome, session.language)
    session.line(rendered.sentence)
    if rendered.error is not None:
        for line in error_lines(rendered.error, session.language):
            session.line(line)
    if outcome.result == "done":
        return 0
    if outcome.error is None:
        return STOPPED_STATUS
    return error_from(outcome.error.code, outcome.error.params).exit_status


async def _leave(access: AgentAccess, session: Session, model: str) -> int:
    """Ctrl-C: the running agent goes on without us; one of our own pauses."""
    uncancel()
    now = "continuing"
    if access.embedded:
        try:
            await access.request("POST", "/v1/pause", api.ControlRequest(model=model))
            now = "paused"
        except Reported:  # a step that can't be paused: it is finished, or undone, at the next start
            now = "waiting"
    session.aside("")
    return tell(session, AskPerson("cancelled-by-user", action="watch"), now)


def uncancel() -> None:
    """Take note of the cancellation that Ctrl-C is, so that this task can end in its own way."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()


async def last_outcome(access: AgentAccess, model: str) -> api.Outcome | None:
    """The model's last outcome at this moment."""
    status = await ask(access, api.Status, "GET", "/v1/status")
    return next((each.last_outcome for each in status.models if each.model == model), None)


def _as(data: dict[str, object], kind: type[T]) -> T | None:
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError:
        return None  # a newer agent; the status has what matters
