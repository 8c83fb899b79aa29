"""What can be asked of an agent: answers that come too late, and several models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.agent import asking, deciding
from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.jobs import Jobs
from modelota.agent.states import Offered, State, Update
from modelota.agent.worker_link import Job
from modelota.clock import SystemClock
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.spec import api
from modelota.spec.offer import Covers, Offer, Plan
from modelota.spec.slot import SlotId

MODELS = ("acme/assistant", "acme/other")


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An agent of two models, without a supervisor, with workers that do what a test says."""
    init(tmp_path / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=MODELS, dev=True)
    enrol(tmp_path / "enroll.toml", tmp_path / "device", SystemClock())
    opened = await Core.open(tmp_path / "device")
    yield opened
    await opened.aclose()


def offer(version: str) -> tuple[Offer, Plan]:
    plan = Plan(mode="full", manifest_digest="b" * 64, variant="q8", frames=(), fetch_bytes=1)
    return (
        Offer(
            model=MODELS[0],
            direction="install",
            from_version=None,
            from_variant=None,
            to_version=version,
            to_variant="q8",
            manifest_digest=plan.manifest_digest,
            plan_digest=plan.digest,
            mode="full",
            planned_bytes=1,
            ceiling_bytes=2,
            full_bytes=1,
            installed_bytes=1,
            peak_space_bytes=1,
            kind="fix",
            urgency_reason=None,
            notes={"zh-CN": "", "en": ""},
            permissions=(),
            new_permissions=(),
            consequences=(),
            covers=Covers(fetch_up_to_bytes=2, return_automatically_until_watch_ends=False),
            stale_since=None,
        ),
        plan,
    )


async def test_an_answer_that_comes_second_is_told_so(core: Core) -> None:
    """Of two answers that arrive while the agent is busy, the second is refused, not taken and dropped."""
    digest = core.journal.keep_offer(*offer("1.1.1"), estimate_s=None, estimate_is_guess=True)
    loop = core.loop(MODELS[0])
    await loop.post(Offered(offer_digest=digest, target=SlotId("1.1.1", "q8")))
    shown = api.ShownRequest(offer_digest=digest, language="en", text="shown")
    asking.shown(core, shown, authority="uid:0")

    def decide(answer: Any) -> asyncio.Task[api.ModelStatus]:
        request = api.DecisionRequest(offer_digest=digest, answer=answer)
        return asyncio.create_task(deciding.decide(core, request, authority="uid:0"))

    async with loop._lock:  # busy: cleaning up, say
        first, second = decide("skip"), decide("accept")
        for _ in range(10):
            await asyncio.sleep(0)
    assert (await first).offer is None
    with pytest.raises(AskPerson, match="no-offer"):
        await second
    assert loop.state.update is None


async def test_a_model_that_cannot_be_checked_does_not_keep_the_others_from_it(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each model has its own result; only when none could be checked, the check itself fails."""
    bad = {MODELS[0]}

    async def run(kind: str, arguments: dict[str, Any], **_: object) -> bytes:
        if arguments["model"] in bad:
            raise RefuseContent("model-not-in-repository", model=arguments["model"])
        found = {"offer_digest": None, "stale_since": None, "withdrawn": {}, "refused": [], "up_to_date": True}
        return msgspec.json.encode(found)

    monkeypatch.setattr(core.foreground, "run", run)
    first, second = await asking.check(core, api.CheckRequest(), authority="timer")
    assert [error.code for error in first.refused] == ["model-not-in-repository"]
    assert (first.up_to_date, second.up_to_date) == (False, True)
    bad.add(MODELS[1])
    with pytest.raises(RefuseContent, match="model-not-in-repository"):
        await asking.check(core, api.CheckRequest(), authority="timer")
    with pytest.raises(RefuseContent):
        await asking.check(core, api.CheckRequest(model=MODELS[0]), authority="timer")


async def test_the_error_of_a_network_that_is_down_is_the_check_s(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network no model can be checked, and the answer says so."""

    async def run(*_: object, **__: object) -> bytes:
        raise TryLater("network-unreachable", url="", detail="")

    monkeypatch.setattr(core.foreground, "run", run)
    with pytest.raises(TryLater, match="network-unreachable"):
        await asking.check(core, api.CheckRequest(), authority="timer")


@pytest.mark.parametrize("place", ["https://elsewhere.example/", "s3://bucket/", "file:///", "stick", "/nowhere"])
async def test_a_place_is_a_directory_of_this_device(core: Core, place: str) -> None:
    """Whoever may name one does not make the agent ask a server of theirs, and a wrong name breaks no later check."""
    jobs = Jobs(core.layout.root)
    arguments = {"model": MODELS[0], "allow_stale": False, "place": place}
    with pytest.raises(AskPerson) as caught:
        await jobs.run(Job(number=1, kind="check", arguments=arguments), lambda _done, _total: None)
    assert (caught.value.code, caught.value.params["argument"]) == ("argument-invalid", "place")
    assert core.journal.place() is None


async def test_a_check_by_the_timer_does_not_take_the_stick_from_an_update(
    core: Core, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The place that an update comes from is kept until it ends; then a check without one asks the repository."""
    asked: list[str | None] = []

    async def run(kind: str, arguments: dict[str, Any], **_: object) -> bytes:
        asked.append(arguments["place"])
        raise TryLater("network-unreachable", url="", detail="")

    monkeypatch.setattr(core.foreground, "run", run)
    core.journal.set_fact("repository-place", bytes(tmp_path))
    loop = core.loop(MODELS[0])
    slot = SlotId("1.1.1", "q8")
    update = Update(
        direction="install", target=slot, before=None, offer_digest="a" * 64, manifest_digest="", phase="fetching"
    )
    for state in (State(update=update), State()):
        loop.state = state
        with pytest.raises(TryLater):
            await asking.check(core, api.CheckRequest(model=MODELS[1]), authority="timer")
    assert asked == [str(tmp_path), None]


async def test_nothing_is_decided_before_every_model_went_on(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that arrives during the start waits: a decision and what was under way must not both begin a step."""
    gone_on: list[str] = []
    go = asyncio.Event()

    def slowly(model: str) -> Any:
        async def go_on() -> None:
            await go.wait()
            gone_on.append(model)

        return go_on

    for model in MODELS:
        monkeypatch.setattr(core.loop(model), "go_on", slowly(model))
    start, request = asyncio.create_task(core.go_on()), asyncio.create_task(core.go_on())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not request.done()
    go.set()
    await asyncio.gather(start, request)
    await core.go_on()
    assert gone_on == list(MODELS)
