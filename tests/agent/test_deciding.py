"""Taking answers and taking them back: one truth for everybody who asks, and times that there are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.agent.held_clock import HeldClock
from tests.agent.test_answers import MODEL, NEW, OLD, an_offer
from tests.agent.test_model_loop import slot

from modelota.agent import asking, deciding
from modelota.agent.agent import Agent
from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.states import Done, Offered, Standing, State
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.spec import api
from modelota.spec.api_life import InhibitorRequest
from modelota.spec.api_owner import DecisionsPage, DecisionView
from modelota.spec.api_query import DecisionsQuery, RevokeQuery

QUERY = RevokeQuery()


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An agent whose workers never come to an end, with an offer that was shown."""
    init(tmp_path / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=(MODEL,), dev=True)
    enrol(tmp_path / "enroll.toml", tmp_path / "device", SystemClock())
    opened = await Core.open(tmp_path / "device", clock=HeldClock())

    async def run(*_: object, **__: object) -> bytes:
        await asyncio.Event().wait()
        return b""

    opened.background.run = run  # type: ignore[method-assign]  # nothing is fetched here
    loop = opened.loop(MODEL)
    loop.state = State(current=OLD, slots=(OLD,))
    await offer_again(opened)
    yield opened
    await opened.aclose()


async def offer_again(core: Core, *, urgent: bool = False) -> str:
    digest = core.journal.keep_offer(*an_offer(urgent=urgent), estimate_s=None, estimate_is_guess=True)
    await core.loop(MODEL).post(Offered(offer_digest=digest, target=NEW, asked=True))
    core.journal.note_shown(digest, language="en", channel="host", authority="uid:0", text="shown")
    return digest


async def decide(core: Core, answer: str, *, authority: str = "uid:1000", **more: Any) -> api.ModelStatus:
    digest = an_offer()[0].digest
    request = msgspec.convert({"offer_digest": digest, "answer": answer, **more}, api.DecisionRequest)
    return await deciding.decide(core, request, authority=authority)


def listed(core: Core) -> list[tuple[str, str]]:
    """Answers and their states, oldest first."""
    page = deciding.decisions(core, DecisionsQuery(model=MODEL))
    return [(view.answer, view.state) for view in reversed(page.decisions)]


async def test_the_status_shows_the_answer_that_counts(core: Core) -> None:
    """*Later* with its reminder, an acceptance with its end; by the settings or as was wished."""
    status = await decide(core, "later")
    (given,) = status.answers
    assert (given.answer, given.remind_at, given.expires_at) == ("later", "2026-11-25T06:00:00Z", None)
    assert status.offer is not None
    assert (status.offer.answer, status.offer.remind_at) == ("later", given.remind_at)
    status = await decide(core, "later", remind_at="2026-11-24T20:00:00Z", expires_s=86_400)
    (given,) = status.answers
    assert (given.remind_at, given.expires_at) == ("2026-11-24T20:00:00Z", "2026-11-25T06:00:00Z")
    status = await decide(core, "accept", not_before="2026-12-01T06:00:00Z")
    (given,) = status.answers
    assert (given.answer, given.expires_at, given.revocable) == ("accept", "2026-12-08T06:00:00Z", True)
    assert given.not_before == "2026-12-01T06:00:00Z"
    assert listed(core) == [("later", "superseded"), ("later", "superseded"), ("accept", "standing")]


async def test_times_that_are_none_are_refused(core: Core) -> None:
    """A thirteenth month, a reminder in a year; nothing is kept of such an answer. The last year is far enough."""
    for more, detail in (
        ({"answer": "accept", "not_before": "2026-13-01T00:00:00Z"}, "not-a-time"),
        ({"answer": "later", "remind_at": "2026-02-30T00:00:00Z"}, "not-a-time"),
        ({"answer": "later", "remind_at": "2027-11-24T00:00:00Z"}, "too-far-away"),
    ):
        with pytest.raises(AskPerson) as caught:
            await decide(core, **more)  # type: ignore[arg-type]  # as JSON would be
        assert (caught.value.code, caught.value.params["detail"]) == ("argument-invalid", detail)
    assert listed(core) == []
    status = await decide(core, "later", remind_at="2020-01-01T00:00:00Z")
    assert status.answers[0].remind_at == "2026-11-24T06:00:00Z"
    status = await decide(core, "accept", not_before="9999-12-31T23:00:00Z")
    assert status.answers[0].expires_at == "9999-12-31T00:00:00Z"


async def test_urgent_offers_are_reminded_of_sooner(core: Core) -> None:
    """The distance is that of urgent ones."""
    digest = await offer_again(core, urgent=True)
    request = api.DecisionRequest(offer_digest=digest, answer="later")
    status = await deciding.decide(core, request, authority="uid:0")
    assert status.answers[0].remind_at == "2026-11-24T10:00:00Z"


async def test_taking_an_acceptance_back_puts_the_offer_back(core: Core) -> None:
    """The update ends as cancelled, the offer stands again with the same digest, and may be accepted again."""
    status = await decide(core, "accept")
    number = status.answers[0].id
    view = await deciding.revoke(core, str(number), RevokeQuery(channel="page"), authority="uid:7")
    assert (view.id, view.state, view.revocable) == (number, "revoked", False)
    state = core.loop(MODEL).state
    assert (state.update, state.phase, state.offer) == (None, "offered", an_offer()[0].digest)
    assert state.last is not None
    assert (state.last.result, state.last.error) == ("cancelled", None)
    (entry,) = [entry for entry in core.journal.log(MODEL, 0, 100) if entry.event == "answer-revoked"]
    assert (entry.facts["authority"], entry.facts["channel"]) == ("uid:7", "page")
    assert (entry.facts["answer"], entry.facts["to_version"]) == ("accept", NEW.version)
    await decide(core, "accept")
    assert listed(core) == [("accept", "revoked"), ("accept", "standing")]


async def test_what_cannot_be_taken_back(core: Core) -> None:
    """No such answer, one that is over, and that of an update which activates."""
    for wrong in ("0", "77", "-1", "x", "", "9" * 40, "٣"):
        with pytest.raises(AskPerson, match="answer-unknown"):
            await deciding.revoke(core, wrong, QUERY, authority="uid:0")
    first = (await decide(core, "later")).answers[0].id
    second = (await decide(core, "accept")).answers[0].id
    with pytest.raises(AskPerson) as caught:
        await deciding.revoke(core, str(first), QUERY, authority="uid:0")
    assert (caught.value.code, caught.value.params["detail"]) == ("answer-over", "superseded")
    loop = core.loop(MODEL)
    assert loop.state.update is not None
    loop.state = msgspec.structs.replace(
        loop.state, update=msgspec.structs.replace(loop.state.update, phase="activating")
    )
    with pytest.raises(AskPerson, match="cannot-cancel"):
        await deciding.revoke(core, str(second), QUERY, authority="uid:0")
    assert not core.model_status(loop).answers[0].revocable


@pytest.mark.parametrize("answer", ["skip", "decline"])
async def test_taking_back_what_was_turned_down(core: Core, answer: str) -> None:
    """The offer stands again at once when it still is the newest by the last check; else the next check decides."""
    loop = core.loop(MODEL)
    status = await decide(core, answer)
    assert (status.phase, status.offer) == ("idle", None)
    (given,) = status.answers
    assert given.expires_at == {"skip": "2027-05-23T06:00:00Z", "decline": "2026-12-24T06:00:00Z"}[answer]
    core.journal.keep_releases(MODEL, [("1.1.2", "2026-01-01T00:00:00Z", "available")])
    await deciding.revoke(core, str(given.id), QUERY, authority="uid:0")
    assert loop.state.offer == an_offer()[0].digest
    given_again = (await decide(core, answer)).answers[0]
    core.journal.keep_releases(
        MODEL, [("1.1.2", "2026-01-01T00:00:00Z", "available"), ("1.1.10", "2026-01-01T00:00:00Z", "available")]
    )
    await deciding.revoke(core, str(given_again.id), QUERY, authority="uid:0")
    assert (loop.state.offer, loop.state.skipped, loop.state.standing) == (None, (), ())


async def test_a_check_that_comes_late_offers_nothing_that_was_declined_meanwhile(core: Core) -> None:
    """Its answer was on the way while the user declined: the user's word is the newer one."""
    loop = core.loop(MODEL)
    await decide(core, "decline")
    assert not await loop.post(Offered(offer_digest=an_offer()[0].digest, target=NEW))
    other = Offered(offer_digest="c" * 64, target=NEW)
    assert await loop.post(other)  # another offer for the same version is another offer


async def test_of_many_answers_at_once_one_counts(core: Core) -> None:
    """Accept, skip, later, decline, twice each and at once: whatever was not refused is on record, one stands."""
    asked = [decide(core, answer) for answer in ("accept", "skip", "later", "decline") * 2]
    async with core.loop(MODEL)._lock:
        tasks = [asyncio.create_task(one) for one in asked]
        for _ in range(20):
            await asyncio.sleep(0)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    taken = [result for result in results if isinstance(result, api.ModelStatus)]
    assert all(isinstance(result, AskPerson | api.ModelStatus) for result in results)
    assert len(listed(core)) == len(taken)
    assert [state for _, state in listed(core)].count("standing") == 1
    assert len(core.loop(MODEL).state.standing) == 1


async def test_a_rollback_and_a_removal_are_listed(core: Core) -> None:
    """What was decided without an offer is listed with an empty digest, and a rollback can be taken back."""
    loop = core.loop(MODEL)
    agent = Agent(core)
    loop.state = State(current=NEW, previous=OLD, slots=(OLD, NEW))
    core.journal.register_slot(slot("1.1.1"))
    core.gates.inhibit(InhibitorRequest(holder="driving", reason="moving"), "uid:0")
    status, body = await agent.request("POST", "/v1/rollback", b'{"channel": "host"}', {}, authority="uid:5")
    assert status == 200, body
    page = msgspec.json.decode((await agent.request("GET", "/v1/decisions", b"", {}))[1], type=DecisionsPage)
    (view,) = page.decisions
    assert (view.offer_digest, view.to_version, view.answer, view.authority) == ("", "1.1.1", "accept", "uid:5")
    status, body = await agent.request("DELETE", f"/v1/decisions/{view.id}", b"", {"channel": "host"})
    assert status == 200, body
    assert msgspec.json.decode(body, type=DecisionView).state == "revoked"
    assert (loop.state.update, loop.state.offer, loop.state.current) == (None, None, NEW)


async def test_an_expired_acceptance_is_not_carried_out_by_a_late_gate(core: Core) -> None:
    """Its gate opens after its time: what happens is that it expires, also in the journal (requirement 5.1-d)."""
    loop = core.loop(MODEL)
    await decide(core, "accept", expires_s=3600, conditions=["parked"])
    await loop.post(Done(phase="rechecking"))
    clock = core.clock
    assert isinstance(clock, HeldClock)
    clock.advance(seconds=3600)
    await loop.post(Done(phase="waiting", facts={"gate": "fetch"}))
    assert loop.state.phase == "offered"
    events = [entry.event for entry in core.journal.log(MODEL, 0, 100)]
    assert "answer-expired" in events
    assert "gates-open" not in events
    assert listed(core) == [("accept", "expired")]


def test_what_came_with_the_device_and_was_declined_does_not_keep_it_from_its_repository() -> None:
    """Until that answer ends, a check asks what else there is; taken back, it is offered without a network."""
    declined = Standing(id=1, offer_digest="a" * 64, answer="decline", target=NEW, at="2026-11-24T06:00:00Z")
    assert asking.seeded_to_offer(State(seeded=NEW)) == NEW
    assert asking.seeded_to_offer(State(seeded=NEW, silent=(declined,))) is None
    assert asking.seeded_to_offer(State(seeded=OLD, silent=(declined,))) == OLD
    assert asking.seeded_to_offer(State(seeded=NEW, silent=(declined,), offer="a" * 64)) == NEW
