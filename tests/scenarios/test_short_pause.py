"""A device whose memory does not hold two engines: a short pause that is announced, and not one lost question."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from modelota.agent import Agent
from modelota.agent import serving as module
from modelota.runtime.http import request
from tests.scenarios.conftest import Publisher

ASK = json.dumps({"messages": [{"role": "user", "content": "Who are you?"}], "max_tokens": 48}).encode()


class Host:
    """An application that embeds the agent, and what it was told."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent
        self.notices: list[str] = []

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """One request that must succeed."""
        data = b"" if body is None else json.dumps(body).encode()
        status, answer = await self._agent.request(method, path, data, {})
        assert status == 200, answer
        return json.loads(answer)

    async def bring_to(self, method: str, path: str, body: object) -> str:
        """Ask for an operation and wait for its end; the version in use afterwards."""
        events = self._agent.events(None)
        await self.ask(method, path, body)
        async for event in events:
            if event.kind == "notice":
                self.notices.append(event.data["error"]["code"])
            if event.kind == "outcome":
                assert event.data["result"] == "done", event.data
                return str(event.data["active_version"])
        raise AssertionError("the agent ended")

    async def update(self) -> str:
        """Accept what is offered; the version in use afterwards."""
        digest = (await self.ask("POST", "/v1/check", {}))[0]["offer"]["digest"]
        await self.ask("POST", "/v1/shown", {"offer_digest": digest, "language": "en", "text": "shown"})
        return await self.bring_to("POST", "/v1/decisions", {"offer_digest": digest, "answer": "accept"})


async def test_a_switch_without_room_for_two_engines(publisher: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    """Update and rollback each pause once; every question before, during and after is answered by one of the two."""
    publisher.publish("1.1.1", kind="feature")
    root = publisher.device().root
    agent = await Agent.open(root)
    try:
        host = Host(agent)
        assert await host.update() == "1.1.1"
        gateway = Path((await host.ask("POST", "/v1/chat", {}))["gateway_socket"])
        publisher.publish("1.1.2")
        monkeypatch.setattr(module, "room_beside", lambda _pid: 0)
        over = asyncio.Event()
        answers: list[str] = []

        async def application() -> None:
            while not over.is_set():
                answer = await request(gateway, "POST", "/v1/chat/completions", ASK, timeout_s=120)
                assert answer.status == 200, answer.body
                answers.append(answer.json()["choices"][0]["message"]["content"])
                await asyncio.sleep(0.01)

        load = [asyncio.create_task(application()) for _ in range(3)]
        try:
            assert await host.update() == "1.1.2"
            assert await host.bring_to("POST", "/v1/rollback", {}) == "1.1.1"
        finally:
            over.set()
            await asyncio.gather(*load)
        assert host.notices == ["short-pause", "short-pause"]
        assert {answer[-6:-1] for answer in answers} == {"1.1.1", "1.1.2"}
    finally:
        await agent.aclose()
