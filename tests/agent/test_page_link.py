"""Requests that come from the page's process, and those that only claim to."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.agent.core import Core
from modelota.agent.enrol import enrol
from modelota.agent.page_given import SECRET_HEADER, SESSION_HEADER
from modelota.agent.supervisor import Supervisor
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.runtime.messages import PeerCredentials, Request, Response

OURS = PeerCredentials(pid=1, uid=os.getuid(), gid=os.getgid())
OTHER = PeerCredentials(pid=1, uid=4_000_001, gid=4_000_001)


@pytest.fixture
async def core(tmp_path: Path) -> AsyncIterator[Core]:
    """An agent with a supervisor."""
    init(tmp_path / "vendor", clock=SystemClock(), passphrases=Passphrases(), models=("acme/assistant",), dev=True)
    enrol(tmp_path / "enroll.toml", tmp_path / "device", SystemClock())
    opened = await Core.open(tmp_path / "device", unattended=True)
    yield opened
    await opened.aclose()


async def ask(
    core: Core,
    method: str,
    path: str,
    *,
    peer: PeerCredentials = OURS,
    body: Any = None,
    query: dict[str, str] | None = None,
    **headers: str | None,
) -> tuple[int, Any]:
    """What the supervisor answers to a request; `page` and `session` are the headers of those names."""
    sent = {f"modelota-{name}": value for name, value in headers.items() if value is not None}
    data = b"" if body is None else msgspec.json.encode(body)
    request = Request(method=method, path=path, query=query or {}, headers=sent, body=data, peer=peer)
    reply = await Supervisor(core).handle(request)
    if not isinstance(reply, Response):
        return reply.status, None
    return reply.status, reply.json()


def come_in(core: Core, owner: PeerCredentials = OURS) -> str:
    sessions = core.page.sessions
    return sessions.redeem(sessions.invite(owner, "/", None), owner.uid)[0]


def secret(core: Core) -> str:
    return core.page._secret


def test_the_headers_have_their_names() -> None:
    """Those that this module sends."""
    assert (SECRET_HEADER, SESSION_HEADER) == ("modelota-page", "modelota-session")


@pytest.mark.parametrize("page", [None, "", "0" * 64, "é", "the first, the second"])
async def test_a_session_without_the_secret_is_refused(core: Core, page: str | None) -> None:
    """Knowing a session is not enough, not even for a process of the agent's own user."""
    session = come_in(core)
    for path in ("/v1/status", "/v1/events", "/v1/log"):
        status, answer = await ask(core, "GET", path, page=page, session=session)
        assert (status, answer["code"]) == (403, "page-caller-refused"), path


async def test_the_secret_of_another_user_is_refused(core: Core) -> None:
    """The page's process runs as the agent's user; nobody else's counts, whatever it knows."""
    status, answer = await ask(core, "GET", "/v1/status", peer=OTHER, page=secret(core), session=come_in(core))
    assert (status, answer["code"]) == (403, "page-caller-refused")


async def test_the_sessions_of_the_page_are_its_own(core: Core) -> None:
    """Nobody but the page's process redeems links, looks sessions up or ends them."""
    session = come_in(core)
    token = core.page.sessions.invite(OURS, "/", None)
    for page in (None, "0" * 64):
        for method, path, body in (
            ("POST", "/v1/page/sessions", {"token": token}),
            ("GET", f"/v1/page/sessions/{session}", None),
            ("DELETE", f"/v1/page/sessions/{session}", None),
        ):
            status, answer = await ask(core, method, path, body=body, page=page)
            assert (status, answer["code"]) == (403, "page-caller-refused"), path
    status, answer = await ask(core, "POST", "/v1/page/sessions", body={"token": token}, page=secret(core))
    assert status == 200
    status, answer = await ask(core, "GET", f"/v1/page/sessions/{answer['session']}", page=secret(core))
    assert (status, answer["rights"]) == (200, ["see", "decide", "remove"])
    assert (await ask(core, "DELETE", f"/v1/page/sessions/{session}", page=secret(core)))[0] == 200
    assert (await ask(core, "GET", f"/v1/page/sessions/{session}", page=secret(core)))[0] == 401


async def test_a_session_acts_with_its_owners_rights_alone(core: Core) -> None:
    """The page's process runs as the agent's user, who may do everything; the person of the session may not."""
    session = come_in(core, OTHER)
    for method, path, body in (("GET", "/v1/status", None), ("POST", "/v1/pause", {}), ("GET", "/v1/events", None)):
        status, answer = await ask(core, method, path, body=body, page=secret(core), session=session)
        assert (status, answer["code"]) == (403, "not-authorised"), path
        assert answer["params"]["uid"] == OTHER.uid
    own = come_in(core)
    assert (await ask(core, "GET", "/v1/status", page=secret(core), session=own))[0] == 200


async def test_an_ended_session_can_do_nothing(core: Core) -> None:
    """The secret alone gives no person's rights."""
    session = come_in(core)
    core.page.sessions.end(session)
    status, answer = await ask(core, "GET", "/v1/status", page=secret(core), session=session)
    assert (status, answer["code"]) == (401, "page-session-ended")


async def test_what_was_said_on_the_page_was_said_there(core: Core) -> None:
    """With a session the channel is `page`, without one it is not: the journal tells where an answer was given."""
    session = come_in(core)
    body = {"offer_digest": "0" * 64, "answer": "later"}
    for channel, headers, refused in (
        ("page", {}, True),
        ("socket", {}, False),
        ("page", {"page": secret(core), "session": session}, False),
        ("socket", {"page": secret(core), "session": session}, True),
        (None, {"page": secret(core), "session": session}, True),
    ):
        sent = body if channel is None else {**body, "channel": channel}
        _, answer = await ask(core, "POST", "/v1/decisions", body=sent, **headers)
        assert (answer["params"].get("argument") == "channel") is refused, (channel, headers)


@pytest.mark.parametrize("query", [{"peer_uid": "x"}, {"peer_uid": "-1"}, {"peer_uid": str(2**40)}, {"uid": "0"}])
async def test_a_peer_that_is_no_number_is_refused(core: Core, query: dict[str, str]) -> None:
    """An unreadable user id does not count as an unknown one, which would open the session."""
    status, _ = await ask(core, "GET", f"/v1/page/sessions/{come_in(core)}", query=query, page=secret(core))
    assert status == 400
