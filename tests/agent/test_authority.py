"""Who may use which route: every row of the table, for each kind of user, made from the table itself."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from modelota.agent import access
from modelota.agent.core import Core
from modelota.agent.enrol import FACT, Membership
from modelota.agent.journal import Journal
from modelota.agent.page_link import SESSIONS_PATH
from modelota.agent.routes import ROUTES
from modelota.agent.supervisor import Supervisor
from modelota.clock import SystemClock
from modelota.runtime.messages import PeerCredentials, Request, Response
from modelota.spec.api import ErrorBody

GROUP: Final = 54_000
OWN: Final = 54_001
MEMBER: Final = 54_002
STRANGER: Final = 54_003
NOT_JSON: Final = b"?"  # whatever the route, it is refused after the right is checked, and nothing is done

ALL: Final = frozenset({"see", "decide", "remove"})
CALLERS: Final[dict[str, tuple[PeerCredentials, frozenset[str]]]] = {
    "root": (PeerCredentials(pid=1, uid=0, gid=0), ALL),
    "the agent's user": (PeerCredentials(pid=1, uid=OWN, gid=OWN), ALL),
    "a member": (PeerCredentials(pid=1, uid=MEMBER, gid=GROUP), ALL),
    "a member by its process": (PeerCredentials(pid=1, uid=MEMBER, gid=MEMBER, groups=(7, GROUP)), ALL),
    "a member who may not decide": (PeerCredentials(pid=1, uid=MEMBER, gid=GROUP), ALL - {"decide"}),
    "a member who may not remove": (PeerCredentials(pid=1, uid=MEMBER, gid=GROUP), ALL - {"remove"}),
    "a stranger": (PeerCredentials(pid=1, uid=STRANGER, gid=STRANGER), frozenset()),
}


@pytest.fixture(params=CALLERS)
def caller(request: pytest.FixtureRequest) -> str:
    """Each kind of user."""
    return str(request.param)


@pytest.fixture
async def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: str) -> AsyncIterator[Supervisor]:
    """A supervisor that runs as a user of its own, on an enrolled root, with the settings of the caller's kind."""
    root = tmp_path / "device"
    root.mkdir(mode=0o700)
    may_decide, may_remove = "not decide" not in caller, "not remove" not in caller
    settings = f"group_may_decide = {may_decide}\ngroup_may_remove = {may_remove}\n".lower()
    (root / "config.toml").write_text(f"[access]\n{settings}")
    membership = Membership(
        url=str(tmp_path),
        models=("acme/assistant",),
        device_class="pc",
        device_model="",
        key_store="file",
        anchor=b"{}",
    )
    journal = Journal(root / "agent.db", SystemClock())
    journal.set_fact(FACT, msgspec.json.encode(membership))
    journal.close()
    core = await Core.open(root)
    monkeypatch.setattr(access, "group_id", lambda _: GROUP)
    monkeypatch.setattr(os, "getuid", lambda: OWN)
    yield Supervisor(core)
    await core.aclose()


def requests(right: str | None = None) -> Iterator[tuple[str, Request, str]]:
    """One request for each row, and one more for each field that makes it a decision."""
    for (method, path), route in ROUTES.items():
        target = path.replace("{digest}", "5a").replace("{id}", "1")
        if right in {None, route.right}:
            yield f"{method} {path}", Request(method=method, path=target, body=NOT_JSON), route.right
        for field in route.decide_if:
            body = msgspec.json.encode({field: True, "unknown": 1})
            yield f"{method} {path} {field}", Request(method=method, path=target, body=body), "decide"


async def test_every_route_is_for_whom_the_table_says(supervisor: Supervisor, caller: str) -> None:
    """Whoever lacks the right gets 403 `not-authorised` and nothing else; whoever has it never does."""
    peer, rights = CALLERS[caller]
    asked = 0
    for name, request, right in requests():
        reply = await supervisor.handle(msgspec.structs.replace(request, peer=peer))
        refused = isinstance(reply, Response) and reply.status == 403
        code = msgspec.json.decode(reply.body, type=ErrorBody).code if refused else None
        if request.path.startswith(SESSIONS_PATH):  # for the page's own process, and for no user
            assert code == "page-caller-refused", (name, reply)
        elif right not in rights:
            assert code == "not-authorised", (name, reply)
        else:
            assert code is None, (name, reply)
            assert not isinstance(reply, Response) or reply.status < 500, (name, reply)
        asked += 1
    assert asked >= len(ROUTES)


@pytest.mark.parametrize("caller", ["a stranger"], indirect=True)
async def test_nobody_is_nobody(supervisor: Supervisor) -> None:
    """A connection of which the kernel tells nothing may do nothing at all."""
    for name, request, _ in requests():
        reply = await supervisor.handle(request)
        assert isinstance(reply, Response), name
        assert reply.status == 403, name
