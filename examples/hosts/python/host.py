"""A host in Python with the agent inside it: `python host.py ROOT [--enrol FILE] [--lang en|zh]`.

It opens the device root, looks for a new version, shows the offer, takes the owner's answer from standard input,
follows the update, and then passes the questions that follow on to the model. No supervisor runs beside it: as long as
it has the root open, this process is the agent.

Exit status: 0 done, 1 the agent refused or the update failed.
"""

from __future__ import annotations

import argparse
import asyncio
import http.client
import json
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeVar

import msgspec

from modelota.agent import Agent
from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.errors import ModelotaError
from modelota.i18n import Language
from modelota.i18n.errors import error_lines, render_error
from modelota.i18n.flow import progress_line, render_outcome
from modelota.i18n.offer import render_offer
from modelota.i18n.phases import phase_name
from modelota.spec import api
from modelota.spec.offer import Answer

T = TypeVar("T")

ANSWERS: dict[str, Answer] = {"accept": "accept", "later": "later", "skip": "skip", "decline": "decline"}
CHAT_TIMEOUT_S = 60.0


class RefusedError(Exception):
    """The agent refused a request; carries its error."""

    def __init__(self, body: api.ErrorBody) -> None:
        super().__init__(body.code)
        self.body = body


class Host:
    """The part of a product that deals with its model.

    Args:
        agent: open; it stays the caller's to close.
        language: of the owner.
    """

    def __init__(self, agent: Agent, language: Language) -> None:
        self._agent = agent
        self._language = language
        # One stream for the host's whole life, from the first event on: what happens between two looks is kept.
        self._events: AsyncIterator[api.Event] = agent.events(0)

    async def request(self, kind: type[T], method: str, path: str, body: msgspec.Struct | None = None) -> T:
        """One request of the socket API, without a socket.

        Raises:
            RefusedError: with the agent's error.
        """
        data = b"" if body is None else msgspec.json.encode(body)
        status, answer = await self._agent.request(method, path, data, {})
        if status != 200:
            raise RefusedError(msgspec.json.decode(answer, type=api.ErrorBody))
        return msgspec.json.decode(answer, type=kind)

    async def find_offer(self) -> api.OfferView | None:
        """Look for a new version."""
        results = await self.request(list[api.CheckResult], "POST", "/v1/check", api.CheckRequest())
        return next((result.offer for result in results if result.offer is not None), None)

    async def show(self, view: api.OfferView) -> None:
        """Show an offer, and tell the agent in which words; without that it takes no answer."""
        text = render_offer(view, self._language)
        print(text, flush=True)
        shown = api.ShownRequest(offer_digest=view.digest, language=self._language, text=text, channel="host")
        await self.request(dict[str, object], "POST", "/v1/shown", shown)

    async def answer(self, view: api.OfferView, answer: Answer) -> None:
        """Pass the owner's answer on."""
        decision = api.DecisionRequest(offer_digest=view.digest, answer=answer, channel="host")
        await self.request(api.ModelStatus, "POST", "/v1/decisions", decision)

    async def follow(self, version: str) -> api.Outcome | None:
        """Print what happens until the update to `version` ended; None when it is paused and needs a person."""
        async for event in self._events:
            if event.kind == "progress":
                print(f"  {progress_line(msgspec.convert(event.data, api.Progress), self._language)}", flush=True)
            elif event.kind == "outcome":
                outcome = msgspec.convert(event.data, api.Outcome)
                if outcome.to_version == version:
                    return outcome
            elif event.kind == "phase":
                print(phase_name(event.data["phase"], self._language), flush=True)
                if event.data.get("paused"):
                    return None
        return None

    async def chat(self, question: str) -> str:
        """Ask the model in use through the gateway, as any application would."""
        place = await self.request(api.ChatResult, "POST", "/v1/chat", api.ChatRequest())
        # in a thread: the gateway that answers lives in this event loop
        return await asyncio.to_thread(_ask_gateway, place, question)

    def tell(self, error: api.ErrorBody) -> None:
        """Say what went wrong, how the device is now, and what to do."""
        rendered = render_error(error.code, error.params, self._language, error.now, error.now_params)
        for line in error_lines(rendered, self._language):
            print(line, file=sys.stderr, flush=True)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=CHAT_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _ask_gateway(place: api.ChatResult, question: str) -> str:
    body = {"model": place.model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    connection = _UnixConnection(place.gateway_socket)
    try:
        connection.request("POST", "/v1/chat/completions", json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    if response.status != 200:
        raise RefusedError(msgspec.convert(answer, api.ErrorBody))
    return str(answer["choices"][0]["message"]["content"])


async def live(host: Host, language: Language) -> int:
    """Offer what is new, then answer questions until the input ends; returns the exit status."""
    view = await host.find_offer()
    if view is not None:
        await host.show(view)
        answer = (await asyncio.to_thread(sys.stdin.readline)).strip().lower()
        await host.answer(view, ANSWERS.get(answer, "later"))  # silence is never consent
        if answer == "accept":
            outcome = await host.follow(view.offer.to_version)
            if outcome is None or outcome.result != "done":
                if outcome is not None and outcome.error is not None:
                    host.tell(outcome.error)
                return 1
            print(render_outcome(outcome, language).sentence, flush=True)
    while question := (await asyncio.to_thread(sys.stdin.readline)).strip():
        print(await host.chat(question), flush=True)
    return 0


async def run(root: Path, language: Language) -> int:
    """Open the root and live in it; returns the exit status."""
    agent = await Agent.open(root)
    try:
        host = Host(agent, language)
        try:
            return await live(host, language)
        except RefusedError as error:
            host.tell(error.body)
            return 1
    finally:
        await agent.aclose()


def main() -> int:
    """Parse, enrol if asked to, live."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--enrol", type=Path, help="enrolment file; makes ROOT a device root first")
    parser.add_argument("--lang", default="en", choices=["en", "zh"])
    arguments = parser.parse_args()
    language: Language = "zh-CN" if arguments.lang == "zh" else "en"
    try:
        if arguments.enrol is not None:
            enrol(arguments.enrol, arguments.root.absolute(), SystemClock())
        return asyncio.run(run(arguments.root.absolute(), language))
    except ModelotaError as error:
        rendered = render_error(error.code, error.params, language, "unchanged")
        for line in error_lines(rendered, language):
            print(line, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
