"""*History*: the journal as sentences, newest first, a day after the other."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from typing import Any, Final, NamedTuple

from litestar import Response, get
from litestar.params import FromQuery

from modelota.agent.page.page import Page, ThisPage
from modelota.agent.page.views.chosen import who
from modelota.i18n import units
from modelota.i18n.journal import log_sentence
from modelota.i18n.owner import channel_name
from modelota.spec import api

SHOWN: Final = 100  # entries of a page
LOOKED_AT: Final = 1000  # entries that a page is picked from: as many as the agent gives at once

# What a person decided; everything else the device did by itself, as agreed.
DECISIONS: Final = frozenset(
    {
        "decided",
        "rollback-asked",
        "removal-asked",
        "paused",
        "resumed",
        "cancelled",
        "stale-allowed",
        "answer-revoked",
        "backup-made",
        "backup-taken-back",
        "cleaning-confirmed",
        "cleaning-stopped",
        "inhibited",
        "inhibitor-released",
    }
)


# The steps on the way and what the device notes beside them: for who wants to know everything.
DETAILS: Final = frozenset(
    {
        "recheck-passed",
        "fetched",
        "verified",
        "deployed",
        "gates-open",
        "checked",
        "offer-shown",
        "notified",
        "notice-shown",
        "notice-dismissed",
        "user-data-saved",
        "compute-measured",
        "restarted",
    }
)


class Told(NamedTuple):
    """One entry: its number, time of day, model, sentence; whether a person decided it, who and where."""

    seq: int
    at: str
    model: str
    sentence: str
    decided: bool
    who: str
    where: str


@get("/history")
async def history(
    page: ThisPage,
    model: FromQuery[str | None] = None,
    before: FromQuery[int | None] = None,
    show: FromQuery[str] = "main",
) -> Response[str]:
    """Show a page of the journal: the newest entries, or those before an entry.

    `show` is `main` (without steps on the way), `decisions`, or `all`.
    """
    status = await page.get(api.Status, "/v1/status")
    chosen = model or None
    entries = await entries_before(page, chosen, before, LOOKED_AT)
    found = [entry for entry in entries if _is_shown(entry, show)]
    older = None
    if len(found) > SHOWN:
        older = found[SHOWN - 1].seq
    elif len(entries) == LOOKED_AT:
        older = entries[-1].seq
    return page.render(
        "history.html.jinja",
        models=[each.model for each in status.models],
        model=chosen,
        show=show,
        days=by_day(page, found[:SHOWN]),
        older=older,
        newest=before is None,
    )


def _is_shown(entry: api.LogEntry, show: str) -> bool:
    if show == "decisions":
        return entry.event in DECISIONS
    return show == "all" or entry.event not in DETAILS


async def entries_before(page: Page, model: str | None, before: int | None, limit: int) -> tuple[api.LogEntry, ...]:
    """The newest entries of the journal before number `before`, newest first."""
    # without a place to end, the agent begins at its first entry; no entry has this number
    end = before if before is not None and before > 0 else 2**63 - 1
    found = await page.get(api.LogPage, "/v1/log", model=model, before=str(end), limit=str(limit))
    return tuple(sorted(found.entries, key=lambda entry: entry.seq, reverse=True))


def by_day(page: Page, entries: Iterable[api.LogEntry]) -> list[tuple[str, list[Told]]]:
    """The entries as they are told, under the day that they belong to in this device's time zone."""
    told = ((units.day(entry.at, page.language), _told(page, entry)) for entry in entries)
    return [(day, [each for _, each in group]) for day, group in groupby(told, key=lambda pair: pair[0])]


def _told(page: Page, entry: api.LogEntry) -> Told:
    facts: dict[str, Any] = entry.facts
    authority, channel = facts.get("authority"), facts.get("channel")
    return Told(
        seq=entry.seq,
        at=units.time_of_day(entry.at),
        model=entry.model,
        sentence=log_sentence(entry.event, facts, page.language),
        decided=entry.event in DECISIONS,
        who=who(page, authority) if isinstance(authority, str) else "",
        where=channel_name(channel, page.language) if isinstance(channel, str) else "",
    )


HANDLERS = [history]
