"""What the device has and did: `status`, `versions`, `log`."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Final

from modelota.cli import agent_access
from modelota.cli.agent_access import AgentAccess, ask
from modelota.cli.device_answers import standing_line
from modelota.cli.session import Session, current
from modelota.i18n import units
from modelota.i18n.errors import error_lines, render_error
from modelota.i18n.flow import progress_line, render_outcome, version_cells, version_headings
from modelota.i18n.journal import log_sentence
from modelota.i18n.phases import engine_name, gate_name, phase_name
from modelota.spec import api

_PAGE: Final = 200
_POLL_S: Final = 5.0


async def status(root: Path) -> None:
    """Show the state of every model of the device."""
    session = current()
    async with agent_access.open_access(root) as access:
        found = await ask(access, api.Status, "GET", "/v1/status")
    session.emit(found)
    if not session.as_json:
        tell_status(session, found)


def tell_status(session: Session, found: api.Status) -> None:
    """Print the state of every model, and where the agent is."""
    texts = session.texts
    for model in found.models:
        session.line(model.model)
        session.rows(_model_rows(model, session), "  ")
    agent = texts.say("running") if found.supervisor else texts.say("not running; this command did the work itself")
    rows = [
        (texts.say("Agent"), texts.say("{text} ({note})", text=agent, note=found.agent_version)),
        (texts.say("Repository"), found.repository_url),
        (texts.say("Device class"), found.device_class),
        (texts.say("Place"), found.root),
    ]
    if found.gateway_socket is not None:
        rows.append((texts.say("Gateway"), found.gateway_socket))
    if found.gateway_url is not None:
        rows.append((texts.say("Gateway (TCP)"), found.gateway_url))
    session.rows(rows)


def _model_rows(model: api.ModelStatus, session: Session) -> list[tuple[str, str]]:
    texts, language = session.texts, session.language
    in_use = texts.say("none installed yet")
    if model.active_version is not None:
        in_use = texts.say("{version} (variant {variant})", version=model.active_version, variant=model.active_variant)
    rows = [(texts.say("In use"), in_use)]
    if model.withdrawn is not None:
        told = render_error(model.withdrawn.code, model.withdrawn.params, language)
        rows.append((texts.say("Attention"), f"{told.what} [{told.code}]"))
    if model.previous_version is not None:
        rows.append((texts.say("Kept to go back to"), model.previous_version))
    rows += _under_way(model, session)
    if model.watch_until is not None:
        until = units.moment(model.watch_until, language)
        rows.append((texts.say("Watched"), texts.say("until {until}; goes back by itself if needed", until=until)))
    if model.offer is not None:
        version = model.offer.offer.to_version
        rows.append(
            (texts.say("Offer"), texts.say("version {version}; “modelota device update” shows it", version=version))
        )
    rows += [(texts.say("Answer"), standing_line(given, language)) for given in model.answers]
    rows.append((texts.say("Engine"), engine_name(model.engine, language)))
    rows += _because(model.engine_error, session)
    if model.last_outcome is not None:
        rows.append((texts.say("Last"), _last(model.last_outcome, session)))
    checked = texts.say("never") if model.last_checked_at is None else units.moment(model.last_checked_at, language)
    rows.append((texts.say("Last checked"), checked))
    return rows


def _under_way(model: api.ModelStatus, session: Session) -> list[tuple[str, str]]:
    texts, language = session.texts, session.language
    phase = phase_name(model.phase, language)
    if model.target_version is not None and model.phase not in {"idle", "watching", "degraded"}:
        phase = texts.say("{phase} (version {version})", phase=phase, version=model.target_version)
    if model.paused:
        phase = texts.say("{phase}, paused", phase=phase)
    rows = [(texts.say("Under way"), phase)]
    if model.progress is not None:
        rows.append((texts.say("Progress"), progress_line(model.progress, language)))
    if model.waits_for:
        rows.append((texts.say("Waits for"), texts.listing([gate_name(gate, language) for gate in model.waits_for])))
    return rows + _because(model.error, session)


def _because(error: api.ErrorBody | None, session: Session) -> list[tuple[str, str]]:
    if error is None:
        return []
    told = render_error(error.code, error.params, session.language, error.now, error.now_params)
    return [(session.texts.say("Because"), f"{told.what} [{told.code}]")]


def _last(outcome: api.Outcome, session: Session) -> str:
    rendered = render_outcome(outcome, session.language)
    at = units.moment(outcome.finished_at, session.language)
    lines = [session.texts.say("{text} ({note})", text=rendered.sentence, note=at)]
    if rendered.error is not None:
        lines += error_lines(rendered.error, session.language)
    return "\n".join(lines)


async def versions(root: Path, model: str | None) -> None:
    """List the versions that the device has or can have."""
    session = current()
    async with agent_access.open_access(root) as access:
        page = await ask(access, api.VersionsPage, "GET", "/v1/versions", None, _query(model=model))
    session.emit(page)
    if session.as_json:
        return
    session.line(page.model)
    if not page.versions:
        session.say("No version is known yet. “modelota device check” looks for one.")
        return
    session.table(
        version_headings(session.language), [version_cells(version, session.language) for version in page.versions]
    )


async def log(root: Path, model: str | None, after: int, *, follow: bool) -> None:
    """Show the journal from the entry after number `after`; with `follow` also what comes."""
    async with agent_access.open_access(root, needs_supervisor=follow) as access:
        after = await _print_log(access, model, after)
        if not follow:
            return
        wake = asyncio.Event()
        watcher = asyncio.create_task(_wake_on_events(access, wake))
        try:
            while not watcher.done():
                # entries may be written without an event, so look now and then too
                waiting = asyncio.create_task(wake.wait())
                await asyncio.wait({waiting, watcher}, timeout=_POLL_S, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                wake.clear()
                after = await _print_log(access, model, after)
            watcher.result()
        finally:
            watcher.cancel()


async def _wake_on_events(access: AgentAccess, wake: asyncio.Event) -> None:
    async with aclosing(access.events()) as events:
        async for _ in events:
            wake.set()


async def _print_log(access: AgentAccess, model: str | None, after: int) -> int:
    session = current()
    while True:
        query = _query(model=model, after=str(after), limit=str(_PAGE))
        page = await ask(access, api.LogPage, "GET", "/v1/log", None, query)
        for entry in page.entries:
            session.emit(entry)
            at = units.stamp(entry.at)
            sentence = log_sentence(entry.event, entry.facts, session.language)
            session.line("  ".join(part for part in (f"{entry.seq:>6}", at, entry.model, sentence) if part))
            after = entry.seq
        if len(page.entries) < _PAGE:
            return after


def _query(**fields: str | None) -> dict[str, str]:
    return {key: value for key, value in fields.items() if value is not None}
