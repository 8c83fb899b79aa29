"""What updates wait for: `inhibit`, `uninhibit`, `inhibitors`, and the conditions of a decision."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Final, NamedTuple, TypeVar, get_args

from modelota.cli import agent_access
from modelota.cli.agent_access import ask
from modelota.cli.session import current
from modelota.clock import iso
from modelota.errors import AskPerson
from modelota.i18n import units
from modelota.i18n.phases import step_name
from modelota.spec import api_life
from modelota.spec.offer import Condition

_SPAN: Final = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

T = TypeVar("T")


class Wishes(NamedTuple):
    """What an accepted update waits for besides what the device's settings say, and that it may be a long way back."""

    conditions: tuple[Condition, ...] = ()
    not_before: str | None = None
    although_long: bool = False


def wishes_from(when: Sequence[str] | None, not_before: str | None, *, although_long: bool = False) -> Wishes:
    """The wishes that the options `--when`, `--not-before` and `--although-long` name.

    Raises:
        AskPerson: `argument-invalid`.
    """
    conditions = tuple(_one_of(text, get_args(Condition), "--when") for text in when or ())
    at = None if not_before is None else iso(moment_from(not_before, datetime.now(UTC)))
    return Wishes(tuple(dict.fromkeys(conditions)), at, although_long)


def moment_from(text: str, now: datetime) -> datetime:
    """A time: `HH:MM` is the next one by the local clock; RFC 3339 without an offset is local, too.

    Raises:
        AskPerson: `argument-invalid`.
    """
    try:
        if re.fullmatch(r"[0-9]{2}:[0-9]{2}", text, re.ASCII):
            # a time without a zone is made aware each day anew, so it means the same on the wall after a change of time
            today = datetime.combine(now.astimezone().date(), time.fromisoformat(text))
            found = today.astimezone()
            return found if found > now else (today + timedelta(days=1)).astimezone()
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise AskPerson("argument-invalid", argument=f"--not-before {text}"[:80], detail="not-a-time") from error


def span_from(text: str, option: str) -> int:
    """A span of time such as `30m`, `12h` or `7d`, in seconds, for as long as an inhibitor may be held.

    Raises:
        AskPerson: `argument-invalid`.
    """
    match = _SPAN.fullmatch(text)
    span_s = int(match[1]) * _UNITS_S[match[2]] if match else 0
    if not 0 < span_s <= api_life.INHIBITOR_MAX_S:
        raise AskPerson("argument-invalid", argument=f"{option} {text}"[:80], detail="not-a-span")
    return span_s


async def inhibit(root: Path, holder: str, reason: str, span: str, steps: Sequence[str] | None) -> None:
    """Keep updates from their steps for somebody, for a while; asking again renews it."""
    session = current()
    known = get_args(api_life.GatedStep)
    chosen = tuple(_one_of(step, known, "--step") for step in steps or known)
    request = api_life.InhibitorRequest(holder=holder, reason=reason, steps=chosen, expires_s=span_from(span, "--for"))
    async with agent_access.open_access(root) as access:
        view = await ask(access, api_life.InhibitorView, "POST", "/v1/inhibitors", request)
    session.emit(view)
    until = units.moment(view.until, session.language)
    session.say(
        "Updates wait for “{holder}” until {until}, at most. Its id: {id}", holder=holder, until=until, id=view.id
    )


async def uninhibit(root: Path, key: str) -> None:
    """Let go of an inhibitor."""
    session = current()
    if not re.fullmatch(r"[0-9a-f]{1,64}", key):  # it becomes a part of a path
        raise AskPerson("inhibitor-unknown", id=key[:64])
    async with agent_access.open_access(root) as access:
        view = await ask(access, api_life.InhibitorView, "DELETE", f"/v1/inhibitors/{key}")
    session.emit(view)
    session.say("Updates no longer wait for “{holder}”.", holder=view.holder)


async def inhibitors(root: Path) -> None:
    """List who keeps updates from which steps, and why."""
    session = current()
    async with agent_access.open_access(root) as access:
        page = await ask(access, api_life.InhibitorsPage, "GET", "/v1/inhibitors")
    session.emit(page)
    if not page.inhibitors:
        session.say("Nobody keeps updates waiting.")
        return
    texts, language = session.texts, session.language
    session.table(
        (texts.say("Holder"), texts.say("Reason"), texts.say("Before"), texts.say("Until"), "ID"),
        [
            (
                view.holder,
                view.reason,
                texts.listing([step_name(step, language) for step in view.steps]),
                units.moment(view.until, language),
                view.id,
            )
            for view in page.inhibitors
        ],
    )


def _one_of(text: str, choices: tuple[T, ...], option: str) -> T:
    for choice in choices:
        if choice == text:
            return choice
    raise AskPerson("argument-invalid", argument=f"{option} {text}"[:80], detail="not-a-choice")
