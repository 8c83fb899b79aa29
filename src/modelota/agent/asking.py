"""What can be asked of an open device root: check, show an offer, pause, go back, verify, chat.

Whoever calls has checked who may ask (`modelota.agent.access`); the authority is journalled with what was asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from modelota.agent.core import Core
from modelota.agent.deciding import offer, take
from modelota.agent.model_loop import ModelLoop
from modelota.agent.states import (
    CancelAsked,
    Offered,
    OfferGone,
    PauseAsked,
    Resumed,
    RollbackAsked,
    State,
    Withdrawn,
)
from modelota.agent.withdrawals import as_error, newly_withdrawn, warning_about, withdrawal_of
from modelota.errors import AskPerson, ModelotaError, RefuseContent, error_from
from modelota.runtime.gateway import new_token
from modelota.runtime.messages import plain
from modelota.spec import api, api_life
from modelota.spec.names import is_name
from modelota.spec.slot import SlotId
from modelota.spec.version import Version


async def check(core: Core, request: api.CheckRequest, *, authority: str) -> list[api.CheckResult]:
    """Look for something newer; the answer is an offer, or why there is none (clause 5.3-a).

    Of several models, one that can't be checked does not keep the others from it: its error is in its `refused`.

    Raises:
        ModelotaError: the check itself did not succeed, for any of them.
    """
    loops = [core.loop(request.model)] if request.model else list(core.models.values())
    results: list[api.CheckResult] = []
    errors: list[ModelotaError] = []
    for loop in loops:
        try:
            results.append(await _check_one(core, loop, request, authority))
        except ModelotaError as error:
            errors.append(error)
            body = api.ErrorBody(code=error.code, params=plain(error.params))
            results.append(api.CheckResult(model=loop.model, refused=(body,)))
    if len(errors) == len(loops):
        raise errors[0]
    return results


async def _check_one(core: Core, loop: ModelLoop, request: api.CheckRequest, authority: str) -> api.CheckResult:
    arguments: dict[str, Any] = {
        "model": loop.model,
        "allow_stale": request.allow_stale,
        "version": request.version,
        "place": request.place or _place_in_use(core),
    }
    seeded = None if request.version is not None else seeded_to_offer(loop.state)
    if seeded is not None:
        return await _offer_seeded(core, loop, seeded)
    if request.allow_stale:
        core.journal.note(loop.model, "stale-allowed", {"authority": authority})
    try:
        result = await core.foreground.run("check", arguments, holding=core.refreshing)
    except ModelotaError as error:
        core.journal.note(loop.model, "check-failed", {"code": error.code, "params": plain(error.params)})
        raise
    found = msgspec.json.decode(result, type=dict[str, Any])
    digest, stale_since = found["offer_digest"], found["stale_since"]
    core.journal.note(loop.model, "checked", {"offer_digest": digest, "stale_since": stale_since})
    for version, reason in found["withdrawn"].items():
        await loop.post(Withdrawn(version=version, reason=reason))
    in_use = loop.state.current.version if loop.state.current else None
    warning = newly_withdrawn(core.journal, loop.model, in_use)
    if warning is not None:
        core.hub.publish("notice", loop.model, {"error": msgspec.to_builtins(warning)})
    view = core.journal.offer(digest) if digest else None
    if view is not None:
        target = SlotId(view.offer.to_version, view.offer.to_variant)
        await loop.post(Offered(offer_digest=view.digest, target=target, asked=request.version is not None))
        if loop.state.offer == view.digest:  # during an update nothing else is on offer
            core.hub.publish("offer", loop.model, {"digest": view.digest, "to_version": view.offer.to_version})
    elif loop.state.offer is not None:
        await loop.post(OfferGone(reason="nothing newer can be offered"))
    return api.CheckResult(
        model=loop.model,
        offer=view,
        up_to_date=found["up_to_date"],
        refused=tuple(msgspec.convert(found["refused"], list[api.ErrorBody])),
        turned_down=tuple(found.get("turned_down", ())),
        stale_since=stale_since,
    )


def _place_in_use(core: Core) -> str | None:
    """The directory that an update under way comes from: a check meanwhile, by the timer, does not take it away."""
    busy = any(loop.state.update is not None for loop in core.models.values())
    return core.journal.place() if busy else None


def seeded_to_offer(state: State) -> SlotId | None:
    """What came with the device and waits for its owner's first decision; None when that was made."""
    seeded = state.seeded
    if seeded is None or state.current is not None or seeded.version in {*state.failed, *state.skipped}:
        return None
    if state.offer is None and any(given.target.version == seeded.version for given in state.silent):
        return None  # declined: the repository may have something else
    return seeded


async def _offer_seeded(core: Core, loop: ModelLoop, seeded: SlotId) -> api.CheckResult:
    """Offer what came with the device, before anything is asked of a network; every chunk of it is looked at."""
    arguments = {"model": loop.model, "slot": seeded.name}
    digest = msgspec.json.decode(await core.background.run("offer-kept", arguments), type=str)
    await loop.post(Offered(offer_digest=digest, target=seeded))
    if loop.state.offer == digest:
        core.hub.publish("offer", loop.model, {"digest": digest, "to_version": seeded.version})
    return api.CheckResult(model=loop.model, offer=offer(core, digest))


def shown(core: Core, request: api.ShownRequest, *, authority: str) -> None:
    """Note that an offer was shown to a person, in which words.

    Raises:
        AskPerson: `no-offer`.
    """
    view = offer(core, request.offer_digest)
    core.journal.note_shown(
        view.digest,
        language=request.language,
        channel=request.channel,
        authority=authority,
        text=request.text,
    )
    facts = {"digest": view.digest, "language": request.language, "channel": request.channel}
    core.journal.note(view.offer.model, "offer-shown", facts)


async def control(
    core: Core, action: Literal["pause", "resume", "cancel"], request: api.ControlRequest, *, authority: str
) -> api.ModelStatus:
    """Pause, resume or cancel the update under way (clause 5.3-b); possible until activation.

    Raises:
        AskPerson: `no-update-in-progress`, `cannot-cancel`, `not-now`.
    """
    loop = core.loop(request.model)
    update = loop.state.update
    if update is None:
        raise AskPerson("no-update-in-progress", model=loop.model)
    events: dict[str, Callable[[], PauseAsked | Resumed | CancelAsked]] = {
        "pause": lambda: PauseAsked(authority=authority),
        "resume": lambda: Resumed(authority=authority),
        "cancel": lambda: CancelAsked(authority=authority),
    }
    if not await loop.post(events[action]()):
        if action == "cancel":
            raise AskPerson("cannot-cancel", phase=update.phase)
        if action == "resume" and loop.state.update is not None and not loop.state.update.paused:
            return core.model_status(loop)  # it goes on already
        raise AskPerson("not-now", action=action, phase=update.phase)
    return core.model_status(loop)


async def roll_back(core: Core, request: api.RollbackRequest, *, authority: str) -> api.RollbackResult:
    """Go back to an earlier version (clause 6.3): at once from a kept slot, else by an offer to fetch it.

    Raises:
        AskPerson: `nothing-to-roll-back`, `update-in-progress`, `no-model-installed`, `version-invalid`,
            `version-not-kept`, `release-revoked` (its flaw was not named).
        ModelotaError: the version has to be fetched, and no offer could be made.
    """
    loop = core.loop(request.model)
    state = loop.state
    if state.update is not None:
        raise AskPerson("update-in-progress", version=state.update.target.version, phase=state.update.phase)
    if state.current is None:
        raise AskPerson("no-model-installed", model=loop.model)
    wanted = request.version or (state.previous.version if state.previous else None)
    if wanted is None:
        raise AskPerson("nothing-to-roll-back", model=loop.model)
    if Version.parse(wanted) >= Version.parse(state.current.version):
        raise AskPerson("nothing-to-roll-back", model=loop.model)
    withdrawal = withdrawal_of(core.journal, loop.model, wanted)
    if withdrawal is not None and withdrawal.revoked and request.despite != withdrawal.reason:
        raise as_error(loop.model, withdrawal)
    warning = warning_about(core.journal, loop.model, wanted)
    kept = next((slot for slot in state.slots if slot.version == wanted), None)
    if kept is not None:
        description = core.journal.slot(loop.model, kept)
        if description is None:
            raise RefuseContent("slot-damaged", slot=kept.name, path="")
        started = await loop.post(
            RollbackAsked(
                target=kept,
                manifest_digest=description.manifest_digest,
                authority=authority,
                channel=request.channel,
                id=core.journal.decisions.next_id(),
            )
        )
        return api.RollbackResult(model=loop.model, started=started, warning=warning)
    sealed = next((slot for slot in state.kept if slot.version == wanted), None)
    if sealed is not None:
        arguments = {"model": loop.model, "slot": sealed.name}
        digest = msgspec.json.decode(await core.background.run("offer-kept", arguments), type=str)
        await loop.post(Offered(offer_digest=digest, target=sealed, asked=True))
        return api.RollbackResult(model=loop.model, started=False, offer=offer(core, digest), warning=warning)
    result = await _check_one(core, loop, api.CheckRequest(model=loop.model, version=wanted), authority)
    if result.offer is None:
        first = (
            result.refused[0] if result.refused else api.ErrorBody(code="version-not-kept", params={"version": wanted})
        )
        raise error_from(first.code, first.params)
    return api.RollbackResult(model=loop.model, started=False, offer=result.offer)


async def verify(core: Core, request: api_life.VerifyRequest, *, authority: str) -> api_life.VerifyResult:
    """Read every installed version; with `repair`, mend the first damaged one, by an offer when it takes fetching.

    Asking for the repair is the decision as long as everything it needs is on the device (requirement 5.1-d).

    Raises:
        AskPerson: `update-in-progress`, `no-space`.
        ModelotaError: the disk could not be read.
    """
    loop = core.loop(request.model)
    found = await core.background.run("verify", {"model": loop.model})
    slots = msgspec.json.decode(found, type=tuple[api_life.SlotCheck, ...])
    damaged = next((slot for slot in slots if slot.damaged), None)
    facts = {"slots": len(slots), "damaged": sum(len(slot.damaged) for slot in slots), "authority": authority}
    core.journal.note(loop.model, "slots-verified", facts)
    if damaged is None or not request.repair:
        return api_life.VerifyResult(model=loop.model, slots=slots)
    if loop.state.update is not None:
        raise AskPerson("update-in-progress", version=loop.state.update.target.version, phase=loop.state.update.phase)
    target = SlotId(damaged.version, damaged.variant)
    arguments = {"model": loop.model, "slot": target.name}
    digest = msgspec.json.decode(await core.background.run("offer-repair", arguments), type=str)
    view = offer(core, digest)
    await loop.post(Offered(offer_digest=digest, target=target, asked=True))
    if view.offer.planned_bytes:
        return api_life.VerifyResult(model=loop.model, slots=slots, offer=view)
    accepted = api.DecisionRequest(offer_digest=digest, answer="accept", channel=request.channel)
    started = await take(core, loop, view, accepted, authority=authority)
    return api_life.VerifyResult(model=loop.model, slots=slots, started=started)


async def chat(core: Core, request: api.ChatRequest) -> api.ChatResult:
    """Have the engine run, and say where applications reach it.

    Raises:
        AskPerson: `no-model-installed`.
        ModelotaError: the engine could not be started.
    """
    loop = core.loop(request.model)
    if loop.state.current is None:
        raise AskPerson("no-model-installed", model=loop.model)
    await loop.serving.ensure()
    await core.open_gateway()
    return api.ChatResult(
        model=loop.model,
        version=loop.state.current.version,
        gateway_socket=str(core.layout.gateway_socket),
    )


def make_token(core: Core, request: api.TokenRequest) -> api.TokenResult:
    """Make a token for an application; an older one of the same application ends.

    Raises:
        AskPerson: `argument-invalid`: not a name; or the gateway has no TCP port.
    """
    if not is_name(request.application):
        raise AskPerson("argument-invalid", argument="application", detail=request.application[:80])
    if core.gateway_port is None:
        raise AskPerson("argument-invalid", argument="gateway", detail="no-tcp-port")
    token, digest = new_token()
    core.journal.tokens.keep(request.application, digest)
    core.journal.note("", "token-made", {"application": request.application})
    core.gateway.set_tokens(core.journal.tokens.by_digest())
    url = f"http://127.0.0.1:{core.gateway_port}/v1"
    return api.TokenResult(application=request.application, token=token, url=url)
