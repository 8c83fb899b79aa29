"""What was answered to offers, and taking an answer back: `modelota device answers`."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Annotated, Final

import typer

from modelota.cli import agent_access
from modelota.cli.agent_access import ask
from modelota.cli.options import Model, Root, device_root
from modelota.cli.session import Session, current
from modelota.cli.tree import Command
from modelota.errors import AskPerson
from modelota.i18n import Language, units
from modelota.i18n.journal import answer_name
from modelota.i18n.owner import answer_state, authority_name, channel_name
from modelota.i18n.texts import mark, texts_for
from modelota.spec import api
from modelota.spec.api_owner import DecisionsPage, DecisionView

_NUMBER: Final = re.compile(r"[0-9]{1,18}", re.ASCII)


def add_to(app: typer.Typer) -> None:
    """Add the command to `modelota device`."""
    summary = mark("Show what was answered to offers, and which answers count; take one back.")
    app.command("answers", cls=Command, help=summary)(command)


def command(
    root: Root = None,
    model: Model = None,
    revoke: Annotated[
        str | None,
        typer.Option(
            "--revoke",
            metavar="NUMBER",
            help=mark("Take this answer back; that to an update until the new version is put to use."),
        ),
    ] = None,
) -> None:
    """List answers, or take one back."""
    asyncio.run(answers(device_root(root), model, revoke))


async def answers(root: Path, model: str | None, revoke: str | None) -> None:
    """List what was answered, newest first; or take one answer back.

    Raises:
        AskPerson: `argument-invalid`: not a number.
    """
    session = current()
    if revoke is not None and not _NUMBER.fullmatch(revoke):  # it becomes a part of a path
        raise AskPerson("argument-invalid", argument=f"--revoke {revoke}"[:80], detail="not-a-number")
    async with agent_access.open_access(root) as access:
        if revoke is not None:
            path, query = f"/v1/decisions/{revoke}", {"channel": "terminal"}
            view = await ask(access, DecisionView, "DELETE", path, None, query)
            session.emit(view)
            session.say(
                "The answer “{answer}” about version {version} is taken back.",
                answer=answer_name(view.answer, session.language),
                version=view.to_version,
            )
            return
        query = {} if model is None else {"model": model}
        page = await ask(access, DecisionsPage, "GET", "/v1/decisions", None, query)
    session.emit(page)
    if session.as_json:
        return
    if not page.decisions:
        session.say("Nothing was answered yet.")
        return
    texts = session.texts
    session.table(
        (
            texts.say("Number"),
            texts.say("Answer"),
            texts.say("Version"),
            texts.say("When"),
            texts.say("By"),
            texts.say("State"),
        ),
        [_cells(view, session) for view in page.decisions],
    )
    if any(view.revocable for view in page.decisions):
        session.say("“modelota device answers --revoke NUMBER” takes one back.")


def _cells(view: DecisionView, session: Session) -> tuple[str, ...]:
    language = session.language
    who = session.texts.say(
        "{text} ({note})", text=authority_name(view.authority, language), note=channel_name(view.channel, language)
    )
    state = answer_state(view.state, language)
    if view.state == "standing":
        state = validity(view.answer, view.expires_at, view.remind_at, language, begins=view.not_before) or state
    return (
        str(view.id),
        answer_name(view.answer, language),
        view.to_version or "–",
        units.stamp(view.at),
        who,
        state,
    )


def standing_line(given: api.StandingAnswer, language: Language) -> str:
    """An answer that counts on one line: what, about which version, until when."""
    texts = texts_for(language)
    text = texts.say(
        "{answer}: version {version}", answer=answer_name(given.answer, language), version=given.to_version
    )
    until = validity(given.answer, given.expires_at, given.remind_at, language, begins=given.not_before)
    return text if until is None else texts.say("{text} ({note})", text=text, note=until)


def validity(
    answer: str, expires_at: str | None, remind_at: str | None, language: Language, *, begins: str | None = None
) -> str | None:
    """What is to come of an answer that counts: a reminder, its begin, or the end of its time; None: nothing of it."""
    texts = texts_for(language)
    if remind_at is not None:
        return texts.say("reminder on {at}", at=units.moment(remind_at, language))
    if expires_at is None:
        return None
    until = units.moment(expires_at, language)
    if answer == "accept" and begins is not None:
        at = units.moment(begins, language)
        return texts.say("begins at {at} at the earliest, and has to begin before {until}", at=at, until=until)
    if answer == "accept":
        return texts.say("has to begin before {until}", until=until)
    return texts.say("counts until {until}", until=until)


def tell_answered(session: Session, status: api.ModelStatus, answer: str, version: str) -> None:
    """Say what an answer that changed nothing means: the offer stays open, or is not made again for a while."""
    for line in answered_lines(status, answer, version, session.language):
        session.line(line)


def answered_lines(status: api.ModelStatus, answer: str, version: str, language: Language) -> list[str]:
    """What `tell_answered` says, a sentence each."""
    texts = texts_for(language)
    given = next((each for each in status.answers if each.answer == answer and each.to_version == version), None)
    at = None if given is None else units.moment(given.remind_at or given.expires_at, language)
    if answer == "later":
        first = texts.say("Nothing was changed; the offer stays open.")
        then = texts.say("You are reminded on {at}.", at=at)
    else:
        then = texts.say("That counts until {at}; “modelota device answers” takes it back.", at=at)
        first = texts.say("Nothing was changed; the offer was declined.")
        if answer == "skip":
            first = texts.say("Nothing was changed; version {version} is not offered again.", version=version)
    return [first] if at is None else [first, then]
