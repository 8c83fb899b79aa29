"""`device clean` when a supervisor runs: the agent scans and removes, and goes on when this command is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.clean_telling import Listed, confirm, reporter, show, tell_proof
from modelota.cli.failure import Reported
from modelota.cli.follow import uncancel
from modelota.cli.question import can_ask
from modelota.cli.session import Session
from modelota.errors import AskPerson, error_from
from modelota.spec.api_cleaning import (
    CleaningView,
    FindingsPage,
    FindingView,
    RemovalsPage,
    RemovedView,
    StayingView,
)
from modelota.spec.api_owner import CleaningAccept, CleaningRequest

if TYPE_CHECKING:
    from modelota.agent.cleaning.plan import CleaningProof

_LOOK_AFTER_S: Final = 2.0
_FIRST: Final[Mapping[str, str]] = {}


async def clean_through_agent(
    session: Session,
    access: AgentAccess,
    command: str,
    request: CleaningRequest,
    accept: str | None,
    probable: Sequence[str],
    proof: Path | None,
) -> int:
    """Show what is left behind and, once that is confirmed, have it removed; as `device_clean.clean`.

    Args:
        session: of this run.
        access: the agent.
        command: that shows the same again.
        request: where to look.
        accept: the digest of a plan that was shown before.
        probable: ids of probable findings that go as well.
        proof: where the proof is written as JSON.

    Returns:
        the exit status.

    Raises:
        Reported: what the agent answered with, or why the scan or removal failed.
        AskPerson: `cancelled-by-user`.
    """
    digest = accept
    if digest is None:
        found = await _scanned(session, access, request)
        digest = found.plan_digest or ""
        listed = await _listed(access, found)
        plan = {
            "deep": found.deep,
            "complete": found.complete,
            **dict(zip(listed._fields, listed, strict=True)),
        }
        show(session, plan, digest, listed)
        if not listed.findings:
            return 0
        await confirm(session, command, digest)
    confirmed = CleaningAccept(
        plan_digest=digest, probable=tuple(probable), channel="terminal" if can_ask(session) else "script"
    )
    await ask(access, CleaningView, "POST", "/v1/cleaning", confirmed)
    done = await _until(session, access, "removing")
    return tell_proof(session, await _proof(access, done, tuple(probable)), proof)


async def _scanned(session: Session, access: AgentAccess, request: CleaningRequest) -> CleaningView:
    await ask(access, CleaningView, "POST", "/v1/cleaning/scan", request)
    try:
        return await _until(session, access, "scanning")
    except asyncio.CancelledError:  # Ctrl-C: nobody waits for what it would find
        uncancel()
        await access.request("DELETE", "/v1/cleaning")
        raise AskPerson("cancelled-by-user", action="clean") from None


async def _until(session: Session, access: AgentAccess, running: str) -> CleaningView:
    """Follow until it is not `running` any more.

    Raises:
        Reported: it failed, or somebody stopped it.
    """
    report = reporter(session)
    changed = asyncio.Event()

    async def listen() -> None:
        async with aclosing(access.events()) as events:
            async for event in events:
                if event.kind in {"cleaning", "reset"}:
                    changed.set()

    listener = asyncio.create_task(listen())
    try:
        while True:
            changed.clear()
            view = await ask(access, CleaningView, "GET", "/v1/cleaning")
            if view.state != running:
                return _ended(view)
            if running == "scanning":
                report(view.done, view.total)
            try:
                async with asyncio.timeout(_LOOK_AFTER_S):  # a stream that broke is no reason to wait for ever
                    await changed.wait()
            except TimeoutError:
                continue
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


def _ended(view: CleaningView) -> CleaningView:
    if view.state == "failed" and view.error is not None:
        raise Reported(error_from(view.error.code, view.error.params), "unchanged")
    if view.state not in {"found", "done"}:
        raise AskPerson("cancelled-by-user", action="clean")
    return view


async def _listed(access: AgentAccess, view: CleaningView) -> Listed:
    findings: list[FindingView] = []
    spared: list[StayingView] = []
    not_looked_at: list[StayingView] = []
    query = _FIRST
    while True:
        page = await ask(access, FindingsPage, "GET", "/v1/cleaning/findings", query=query)
        findings += page.findings
        spared += page.spared
        not_looked_at += page.not_looked_at
        if page.next is None:
            return Listed(findings, spared, not_looked_at, view.files_seen, view.unreadable)
        query = {"after": str(page.next)}


async def _proof(access: AgentAccess, view: CleaningView, accepted: tuple[str, ...]) -> CleaningProof:
    """The proof, as it would have been had this command removed it itself."""
    import msgspec

    from modelota.agent.cleaning.plan import CleaningProof, FreeSpace, Removal

    removals: list[RemovedView] = []
    query = _FIRST
    while True:
        page = await ask(access, RemovalsPage, "GET", "/v1/cleaning/removals", query=query)
        removals += page.removals
        if page.next is None:
            break
        query = {"after": str(page.next)}
    result = view.result
    assert result is not None  # what is done has one
    return CleaningProof(
        plan_digest=page.plan_digest,
        accepted=tuple(sorted(set(accepted))),
        removals=tuple(msgspec.convert(each, Removal, from_attributes=True) for each in removals),
        free_space=tuple(msgspec.convert(each, FreeSpace, from_attributes=True) for each in result.free_space),
        reloaded=result.reloaded,
        began_at=result.began_at,
        ended_at=result.ended_at,
    )
