"""`device clean` when a supervisor runs: what it asks the agent for, and what it does when its user stops it."""

from __future__ import annotations

import asyncio

import pytest
from tests.cli.fake_agent import FakeAgent

from modelota.cli import clean_through_agent as module
from modelota.cli.clean_through_agent import clean_through_agent
from modelota.cli.failure import Reported
from modelota.cli.session import Session
from modelota.errors import AskPerson
from modelota.spec.api import ErrorBody
from modelota.spec.api_cleaning import CleaningView
from modelota.spec.api_owner import CleaningAccept, CleaningRequest

SCANNING = CleaningView(state="scanning")


async def run(agent: FakeAgent, *, accept: str | None = None) -> int:
    session = Session("en", as_json=False)
    return await clean_through_agent(session, agent, "clean", CleaningRequest(deep=True), accept, (), None)


async def test_ctrl_c_stops_the_scan() -> None:
    """Nobody waits for what it would find, so the agent does not go on looking."""
    agent = FakeAgent()
    agent.answers = {"/v1/cleaning/scan": SCANNING, "/v1/cleaning": SCANNING}
    task = asyncio.create_task(run(agent))
    while not any((method, path) == ("GET", "/v1/cleaning") for method, path, _ in agent.asked):
        agent.was_asked.clear()
        await agent.was_asked.wait()
    task.cancel()
    with pytest.raises(AskPerson, match="cancelled-by-user"):
        await task
    assert ("DELETE", "/v1/cleaning") in [(method, path) for method, path, _ in agent.asked]
    assert agent.bodies("/v1/cleaning/scan") == [CleaningRequest(deep=True)]


async def test_a_scan_that_failed_is_told() -> None:
    """The reason is the agent's."""
    agent = FakeAgent()
    failed = CleaningView(state="failed", error=ErrorBody(code="disk-error", params={"path": "/x"}))
    agent.answers = {"/v1/cleaning/scan": SCANNING, "/v1/cleaning": failed}
    with pytest.raises(Reported) as caught:
        await run(agent)
    assert caught.value.error.code == "disk-error"


async def test_somebody_else_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was put away is not asked about; an accepted plan is sent as it was shown."""
    monkeypatch.setattr(module, "_LOOK_AFTER_S", 0)
    agent = FakeAgent()
    agent.answers = {"/v1/cleaning/scan": SCANNING, "/v1/cleaning": CleaningView()}
    with pytest.raises(AskPerson, match="cancelled-by-user"):
        await run(agent)
    with pytest.raises(AskPerson, match="cancelled-by-user"):
        await run(agent, accept="5a")
    assert agent.posted("/v1/cleaning") == [CleaningAccept(plan_digest="5a", channel="script")]
