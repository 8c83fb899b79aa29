"""Leaving an operation, and showing its progress where there is no terminal."""

from __future__ import annotations

import asyncio

import pytest
from tests.cli.fake_agent import MODEL, FakeAgent, event, model_status, outcome

from modelota.cli.follow import follow
from modelota.cli.progress import LineDisplay
from modelota.cli.session import Session
from modelota.errors import AskPerson
from modelota.spec import api


async def _interrupt(agent: FakeAgent) -> int:
    agent.models = (model_status(phase="fetching", target_version="1.1.2"),)
    session = Session("en", as_json=False)
    task = asyncio.create_task(follow(agent, session, MODEL, None, patient=True))
    await agent._events.put(event(1, "phase", {"phase": "fetching"}))
    await agent.drained.wait()
    task.cancel()
    return await task


async def test_ctrl_c_pauses_an_agent_of_our_own(capfd: pytest.CaptureFixture[str]) -> None:
    """An embedded agent stops with the command, so the update is paused and the command says so."""
    agent = FakeAgent(embedded=True)
    assert await _interrupt(agent) == 130
    assert agent.bodies("/v1/pause") == [api.ControlRequest(model=MODEL)]
    assert "The update is paused; what was fetched is kept." in capfd.readouterr().err


async def test_ctrl_c_in_a_step_that_cannot_pause(capfd: pytest.CaptureFixture[str]) -> None:
    """A step that can't be paused is taken up at the next start."""
    agent = FakeAgent(embedded=True)
    agent.errors["/v1/pause"] = (AskPerson("not-now", action="pause", phase="activating"), "serving", {})
    assert await _interrupt(agent) == 130
    assert "goes on by itself" in capfd.readouterr().err


async def test_ctrl_c_leaves_a_running_agent_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """An agent of its own goes on."""
    agent = FakeAgent()
    assert await _interrupt(agent) == 130
    assert agent.bodies("/v1/pause") == []
    assert "goes on in the background" in capfd.readouterr().err


async def test_a_reset_is_a_look_at_the_status(monkeypatch: pytest.MonkeyPatch) -> None:
    """When events were missed, how it ended is in the status, and is found at once."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 3600)
    agent = FakeAgent(model_status(phase="idle", last_outcome=outcome()))
    await agent._events.put(event(1, "reset", {"reason": "restarted"}))
    async with asyncio.timeout(30):
        assert await follow(agent, Session("en", as_json=False), MODEL, None, patient=True) == 0


async def test_patience_for_what_passes(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """A person at a terminal waits out what passes by itself."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.001)
    agent = FakeAgent(
        model_status(phase="fetching", target_version="1.1.2", paused=True, waits_for=("network-interrupted",))
    )
    task = asyncio.create_task(follow(agent, Session("en", as_json=False), MODEL, None, patient=True))
    for _ in range(3):
        agent.was_asked.clear()
        await agent.was_asked.wait()
    assert not task.done()
    task.cancel()
    assert await task == 130
    assert "downloading · waits for the network to come back" in capfd.readouterr().out


async def test_an_open_gate_is_not_told_as_waiting(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Looking whether a gate is closed takes a moment, and nobody waits for anything then."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.001)
    agent = FakeAgent(model_status(phase="waiting", target_version="1.1.2"))
    agent.script = [event(1, "phase", {"phase": "waiting", "waits_for": []}), event(2, "outcome", outcome())]
    await agent._play()
    assert await follow(agent, Session("en", as_json=False), MODEL, None, patient=True) == 0
    assert "waiting" not in capfd.readouterr().out


def test_plain_lines_are_few(capfd: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is a line per phase and per ten percent."""
    with LineDisplay(Session("en", as_json=False)) as display:
        display.phase("fetching", ())
        for done in range(1001):
            display.progress(api.Progress(step="fetching", done=done, total=1000))
    assert len(capfd.readouterr().out.splitlines()) == 12


async def test_what_the_agent_notices_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A pause of the engine, say, is told to whoever watches; what can't be read is left out."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.001)
    agent = FakeAgent(model_status(phase="activating", target_version="1.1.2"))
    params = {"version": "1.1.2", "need_bytes": 2_000_000, "free_bytes": 1_000_000}
    notices = [{"error": {"code": "short-pause", "params": params}}, {"error": "?"}]
    agent.script = [event(number, "notice", data) for number, data in enumerate(notices, 1)]
    agent.script.append(event(3, "outcome", outcome()))
    await agent._play()
    assert await follow(agent, Session("en", as_json=False), MODEL, None, patient=True) == 0
    assert capfd.readouterr().err == (
        "Memory does not hold two engines at once (2.0 MB are needed, 1.0 MB are free): while version 1.1.2 starts, "
        "questions wait for a moment. [short-pause]\n"
    )
