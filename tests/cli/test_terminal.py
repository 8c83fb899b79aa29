"""At a real terminal: a pseudo-terminal, a process of its own, and an agent that answers on a real socket."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
import pytest
from tests.cli.fake_agent import FakeAgent, event, model_status, outcome
from tests.cli.pseudo_terminal import Terminal, serving

from modelota.spec import api


@pytest.fixture
def root() -> Iterator[Path]:
    """A device root whose agent's socket has a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name)


async def test_enter_is_not_yes(root: Path) -> None:
    """Enter is asked about again and nothing reaches the agent; declining is told and changes nothing."""
    agent = FakeAgent()
    async with serving(agent, root):
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("\n")
            await terminal.expect("Enter alone decides nothing")
            await terminal.expect("[d] decline:", 2)
            terminal.type("yes\n")
            await terminal.expect("[d] decline:", 3)
            assert agent.bodies("/v1/decisions") == []
            assert [shown.channel for shown in agent.bodies("/v1/shown")] == ["terminal"]
            terminal.type("d\n")
            assert await terminal.end() == 0
        assert [body.answer for body in agent.bodies("/v1/decisions")] == ["decline"]


class SlowAgent(FakeAgent):
    """Looks for an offer until it may find it."""

    def __init__(self) -> None:
        super().__init__()
        self.checking, self.may_find = asyncio.Event(), asyncio.Event()

    async def request(
        self, method: str, path: str, body: msgspec.Struct | None = None, query: Mapping[str, str] = {}
    ) -> bytes:
        if path == "/v1/check":
            self.checking.set()
            await self.may_find.wait()
        return await super().request(method, path, body, query)


async def test_what_is_typed_ahead_is_no_answer(root: Path) -> None:
    """Nobody accepts an offer before it was on the screen."""
    agent = SlowAgent()
    async with serving(agent, root), Terminal("device", "update", "--root", str(root)) as terminal:
        await asyncio.wait_for(agent.checking.wait(), 20)
        terminal.type("a\n")
        await terminal.expect("a\r\n")
        agent.may_find.set()
        await terminal.expect("[d] decline:")
        terminal.type("d\n")
        assert await terminal.end() == 0
    assert [body.answer for body in agent.posted("/v1/decisions")] == ["decline"]


async def test_accept_and_watch(root: Path) -> None:
    """Accepting shows moving progress and then the outcome, in Chinese."""
    agent = FakeAgent()
    agent.script = [
        event(1, "phase", {"phase": "fetching"}),
        event(2, "progress", api.Progress(step="fetching", done=19_000_000, total=38_000_000, left_s=60.0)),
        event(3, "outcome", outcome()),
    ]
    agent.after_script = (model_status(active_version="1.1.2", last_outcome=outcome()),)
    async with serving(agent, root), Terminal("device", "update", "--root", str(root), "--lang", "zh") as terminal:
        await terminal.expect("[d] 拒绝")
        terminal.type("a\n")
        assert await terminal.end() == 0
        await terminal.expect("更新完成，正在使用 1.1.2。")
        assert "正在下载 · 19 MB / 38 MB（50 %）" in terminal.text


async def test_ctrl_c_leaves_the_update_running(root: Path) -> None:
    """Under an agent of its own the update goes on, and the command says so, without a traceback."""
    agent = FakeAgent()
    agent.script = [event(1, "phase", {"phase": "fetching"})]
    agent.after_script = (model_status(phase="fetching", target_version="1.1.2"),)
    async with serving(agent, root):
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("a\n")
            await terminal.expect("downloading")
            terminal.type("\x03")
            assert await terminal.end() == 130
            await terminal.expect("The update goes on in the background.")
            assert "Traceback" not in terminal.text
        assert agent.bodies("/v1/pause") == []


async def test_ctrl_c_at_the_question_decides_nothing(root: Path) -> None:
    """The offer stays open, and the command says so at once."""
    agent = FakeAgent()
    async with serving(agent, root):
        async with Terminal("device", "update", "--root", str(root)) as terminal:
            await terminal.expect("[d] decline:")
            terminal.type("\x03")
            assert await terminal.end() == 130
            await terminal.expect("nothing is fetched before you decide")
            assert "Traceback" not in terminal.text
        assert agent.bodies("/v1/decisions") == []


async def test_ctrl_c_in_a_conversation(root: Path) -> None:
    """A conversation ends at once, without a traceback."""
    agent = FakeAgent()
    agent.answers["/v1/chat"] = api.ChatResult(model="a/b", version="1.1.2", gateway_socket="/nowhere")
    async with serving(agent, root), Terminal("device", "chat", "--root", str(root)) as terminal:
        await terminal.expect("> ")
        terminal.type("\x03")
        assert await terminal.end() == 130
        assert "Traceback" not in terminal.text
