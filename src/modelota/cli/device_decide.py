"""What the owner decides: `check`, `update`, `pause`, `resume`, `cancel`, `rollback`."""

from __future__ import annotations

import asyncio
import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from modelota.cli import agent_access
from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.device_answers import tell_answered
from modelota.cli.device_gates import Wishes
from modelota.cli.failure import Reported
from modelota.cli.follow import follow, last_outcome, uncancel
from modelota.cli.options import device_root
from modelota.cli.question import WORDS_YES, ask_answer, ask_word, can_ask
from modelota.cli.session import Session, current
from modelota.clock import iso
from modelota.errors import AskPerson, RefuseContent
from modelota.i18n import units
from modelota.i18n.errors import render_error
from modelota.i18n.offer import render_offer
from modelota.i18n.texts import mark
from modelota.spec import api, api_life
from modelota.spec.tonight import tonight

Action = Literal["pause", "resume", "cancel"]
Channel = Literal["terminal", "script"]

NO_WISHES: Final = Wishes()

_DIGEST: Final = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DONE: Final[dict[Action, str]] = {
    "pause": mark("The update is paused; what was fetched is kept. “modelota device resume” lets it go on."),
    "resume": mark("The update goes on."),
    "cancel": mark("The update was cancelled, and what was fetched for it is removed."),
}


async def check(
    root: Path, model: str | None, *, allow_stale: bool, version: str | None = None, place: Path | None = None
) -> None:
    """Look for new versions and show what each would mean, with the digest that a decision names."""
    session = current()
    async with agent_access.open_access(root) as access:
        results = await _check(access, model, allow_stale=allow_stale, version=version, place=place)
        texts = {}
        for result in results:
            if result.offer is not None:
                texts[result.offer.digest] = await _declare_shown(access, session, result.offer)
    session.emit({"results": results, "texts": texts})
    for result in results:
        _tell_result(session, result)
        if result.offer is not None:
            session.line(texts[result.offer.digest])
            _tell_how_to_accept(session, root, result.offer.digest)


async def update(
    root: Path,
    model: str | None,
    *,
    allow_stale: bool,
    version: str | None = None,
    place: Path | None = None,
    wishes: Wishes = NO_WISHES,
) -> int:
    """Look for a new version, show it, ask, and carry out the answer; an update that was agreed to already goes on.

    Raises:
        AskPerson: `decision-required`: nobody sits at a terminal; `argument-invalid` (detail `several-models`).
    """
    session = current()
    async with agent_access.open_access(root) as access:
        decided = await _under_way(access, model)
        if decided is not None:
            return await _go_on(access, session, decided)
        if not can_ask(session):
            raise Reported(AskPerson("decision-required", digest=None), "unchanged")
        results = await _check(access, model, allow_stale=allow_stale, version=version, place=place)
        offers = [result.offer for result in results if result.offer is not None]
        for result in results:
            _tell_result(session, result)
        if not offers:
            return 0
        if len(offers) > 1:
            raise AskPerson("argument-invalid", argument="--model", detail="several-models")
        return await _decide(access, session, offers[0], wishes)


async def accept(root: Path, digest: str, wishes: Wishes = NO_WISHES) -> int:
    """Accept an offer that was shown before, and follow the update.

    Raises:
        AskPerson: `argument-invalid`: not a digest.
        Reported: `offer-not-shown`, `no-offer`, `offer-changed` and others of the agent.
    """
    session = current()
    if not _DIGEST.fullmatch(digest):
        raise AskPerson("argument-invalid", argument=digest, detail="not-a-digest")
    async with agent_access.open_access(root) as access:
        view = await ask(access, api.OfferView, "GET", f"/v1/offers/{digest}")
        decided = await _under_way(access, view.offer.model)
        if decided is not None and view.answer == "accept" and decided.target_version == view.offer.to_version:
            return await _go_on(access, session, decided)
        return await _carry_out(access, session, view, "terminal" if can_ask(session) else "script", wishes)


async def control(root: Path, model: str | None, action: Action) -> int:
    """Pause, resume or cancel the update under way."""
    session = current()
    async with agent_access.open_access(root) as access:
        followed: str | None = None
        before: api.Outcome | None = None
        if action == "resume" and access.embedded:
            followed = await _model_under_way(access, model)
            before = await last_outcome(access, followed)
        await access.request("POST", f"/v1/{action}", api.ControlRequest(model=model))
        if followed is not None:
            # nobody else would carry it on
            return await follow(
                access, session, followed, before, patient=_patient(access, session), stays=can_ask(session)
            )
    session.emit({"done": action})
    session.say(_DONE[action])
    return 0


async def rollback(root: Path, model: str | None, version: str | None, despite: str | None = None) -> int:
    """Go back: at once to a version that is kept, otherwise by way of an offer.

    Args:
        root: of the device.
        model: which; None is the only one.
        version: which; None is the one before.
        despite: the flaw for which its publisher revoked it, named by who wants it all the same.

    Raises:
        AskPerson: `decision-required`: the version has to be fetched, and nobody sits at a terminal.
    """
    session = current()
    channel: Channel = "terminal" if can_ask(session) else "script"
    async with agent_access.open_access(root) as access:
        statuses = (await ask(access, api.Status, "GET", "/v1/status")).models
        request = api.RollbackRequest(model=model, version=version, despite=despite, channel=channel)
        result = await ask(access, api.RollbackResult, "POST", "/v1/rollback", request)
        if result.warning is not None:
            session.emit({"warning": result.warning})
            told = render_error(result.warning.code, result.warning.params, session.language)
            session.aside(f"{told.what} [{told.code}]")
        if result.started:
            before = next((each.last_outcome for each in statuses if each.model == result.model), None)
            return await follow(
                access, session, result.model, before, patient=_patient(access, session), stays=can_ask(session)
            )
        if result.offer is None:
            raise AskPerson("nothing-to-roll-back", model=result.model)
        if can_ask(session):
            return await _decide(access, session, result.offer)
        session.line(await _declare_shown(access, session, result.offer))
        raise Reported(AskPerson("decision-required", digest=result.offer.digest), "offered")


async def verify(root: Path, model: str | None, *, repair: bool) -> int:
    """Read every installed version; with `repair` mend the first damaged one, by an offer when it takes fetching.

    Returns:
        0 when everything is whole, or was mended; the status of `slot-damaged` when damage was only found.

    Raises:
        AskPerson: `decision-required`: something has to be fetched, and nobody sits at a terminal.
    """
    session = current()
    channel: Channel = "terminal" if can_ask(session) else "script"
    async with agent_access.open_access(root) as access:
        request = api_life.VerifyRequest(model=model, repair=repair, channel=channel)
        before = (await ask(access, api.Status, "GET", "/v1/status")).models
        result = await ask(access, api_life.VerifyResult, "POST", "/v1/verify", request)
        session.emit(result)
        _tell_slots(session, result)
        damaged = [slot for slot in result.slots if slot.damaged]
        if result.started:
            known = next((each.last_outcome for each in before if each.model == result.model), None)
            return await follow(
                access, session, result.model, known, patient=_patient(access, session), stays=can_ask(session)
            )
        if result.offer is not None and can_ask(session):
            return await _decide(access, session, result.offer)
        if result.offer is not None:
            session.line(await _declare_shown(access, session, result.offer))
            _tell_how_to_accept(session, root, result.offer.digest)
            raise Reported(AskPerson("decision-required", digest=result.offer.digest), "offered")
        if damaged:
            slot = f"{damaged[0].version}+{damaged[0].variant}"
            raise RefuseContent("slot-damaged", slot=slot, path=damaged[0].damaged[0].path)
        return 0


def _tell_how_to_accept(session: Session, root: Path, digest: str) -> None:
    command = f"modelota device update --accept {digest}"
    session.line()
    session.say("To accept: {command}", command=command if root == device_root(None) else f"{command} --root {root}")


def _tell_slots(session: Session, result: api_life.VerifyResult) -> None:
    for slot in result.slots:
        size = units.size(slot.checked_bytes, session.language)
        if not slot.damaged:
            session.say(
                "{version} (variant {variant}): {size} are whole.",
                version=slot.version,
                variant=slot.variant,
                size=size,
            )
        for file in slot.damaged:
            session.say(
                "{version} (variant {variant}): {path} is damaged; damaged parts: {chunks}, together {size}.",
                version=slot.version,
                variant=slot.variant,
                path=file.path,
                size=units.size(file.damaged_bytes, session.language),
                chunks=file.chunks,
            )


async def _check(
    access: AgentAccess, model: str | None, *, allow_stale: bool, version: str | None, place: Path | None
) -> tuple[api.CheckResult, ...]:
    request = api.CheckRequest(
        model=model, allow_stale=allow_stale, version=version, place=None if place is None else str(place)
    )
    return await ask(access, tuple[api.CheckResult, ...], "POST", "/v1/check", request)


async def _decide(access: AgentAccess, session: Session, view: api.OfferView, wishes: Wishes = NO_WISHES) -> int:
    session.line(await _declare_shown(access, session, view))
    session.line()
    try:
        answer = await ask_answer(session)
    except asyncio.CancelledError as stopped:
        uncancel()
        session.aside("")
        raise Reported(AskPerson("cancelled-by-user", action="answer"), "offered") from stopped
    wishes = _tonight(session, wishes) if answer == "tonight" else wishes
    if answer in {"accept", "tonight"} and view.takes_long and not wishes.although_long:
        question = session.texts.say("This takes longer than five minutes. Type “yes” to go back all the same: ")
        await ask_word(question, WORDS_YES, action="answer")
        wishes = wishes._replace(although_long=True)
    if answer == "tonight" or answer == "accept":  # noqa: PLR1714  the type checker follows only this
        return await _carry_out(access, session, view, "terminal", wishes)
    request = api.DecisionRequest(offer_digest=view.digest, answer=answer, channel="terminal")
    status = await ask(access, api.ModelStatus, "POST", "/v1/decisions", request)
    tell_answered(session, status, answer, view.offer.to_version)
    return 0


def _tonight(session: Session, wishes: Wishes) -> Wishes:
    """What “tonight” adds to the wishes of the command line: the evening, and that the device is charging."""
    begin = tonight(datetime.now(UTC))
    if begin is not None:
        wishes = wishes._replace(not_before=iso(begin))
        session.say(
            "The update begins at {at}, once the device is charging.", at=units.moment(iso(begin), session.language)
        )
    else:
        session.say("The update begins once the device is charging.")
    return wishes._replace(conditions=tuple(dict.fromkeys((*wishes.conditions, "charging"))))


async def _carry_out(
    access: AgentAccess, session: Session, view: api.OfferView, channel: Channel, wishes: Wishes = NO_WISHES
) -> int:
    before = await last_outcome(access, view.offer.model)
    request = api.DecisionRequest(
        offer_digest=view.digest,
        answer="accept",
        conditions=wishes.conditions,
        not_before=wishes.not_before,
        although_long=wishes.although_long,
        channel=channel,
    )
    await access.request("POST", "/v1/decisions", request)
    return await follow(
        access, session, view.offer.model, before, patient=_patient(access, session), stays=can_ask(session)
    )


async def _declare_shown(access: AgentAccess, session: Session, view: api.OfferView) -> str:
    """Render an offer and have it journalled that this text is shown."""
    text = render_offer(view, session.language, title=view.title.get(session.language))
    channel: Channel = "terminal" if sys.stdout.isatty() else "script"
    request = api.ShownRequest(offer_digest=view.digest, language=session.language, text=text, channel=channel)
    await access.request("POST", "/v1/shown", request)
    return text


def _tell_result(session: Session, result: api.CheckResult) -> None:
    for error in result.refused:
        told = render_error(error.code, error.params, session.language)
        session.line(f"{told.what} {told.remedy} [{told.code}]")
    if result.stale_since is not None:
        since = units.moment(result.stale_since, session.language)
        session.say("The repository's information has been out of date since {since}.", since=since)
    for version in result.turned_down:
        session.say(
            "Version {version} of {model} is not offered, as you answered; “modelota device answers” takes that back.",
            version=version,
            model=result.model,
        )
    if result.turned_down:
        return
    if result.offer is None and result.up_to_date:
        session.say("{model} is up to date.", model=result.model)
    elif result.offer is None and not result.refused:
        session.say("There is no version of {model} that this device could install.", model=result.model)


async def _under_way(access: AgentAccess, model: str | None) -> api.ModelStatus | None:
    """The model whose update was agreed to and has not ended, if there is one."""
    status = await ask(access, api.Status, "GET", "/v1/status")
    busy = (each for each in status.models if each.target_version is not None and model in {None, each.model})
    return next(busy, None)


async def _go_on(access: AgentAccess, session: Session, status: api.ModelStatus) -> int:
    session.aside(
        session.texts.say("The change to version {version} that you agreed to goes on.", version=status.target_version)
    )
    await access.request("POST", "/v1/resume", api.ControlRequest(model=status.model))
    return await follow(
        access, session, status.model, status.last_outcome, patient=_patient(access, session), stays=can_ask(session)
    )


async def _model_under_way(access: AgentAccess, model: str | None) -> str:
    """The model whose update is meant.

    Raises:
        AskPerson: `no-update-in-progress`, `argument-invalid` (detail `several-models`).
    """
    status = await ask(access, api.Status, "GET", "/v1/status")
    busy = [each.model for each in status.models if each.target_version is not None and model in {None, each.model}]
    if not busy:
        raise AskPerson("no-update-in-progress", model=model or ", ".join(each.model for each in status.models))
    if len(busy) > 1:
        raise AskPerson("argument-invalid", argument="--model", detail="several-models")
    return busy[0]


def _patient(access: AgentAccess, session: Session) -> bool:
    """Whether to stay until something passes: only an agent that stays tries again, and only a person waits."""
    return can_ask(session) and not access.embedded
