"""The cleaning that was asked for through the socket, in the agent's database: how it stands, its findings, its proof.

Findings and removals are kept in pages that are small enough for the supervisor to read; the whole plan and its proof,
which can have a hundred thousand entries, are the worker's (`modelota.agent.records`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from modelota.errors import AskPerson
from modelota.spec.api_cleaning import CleaningView, FindingsPage, RemovalsPage
from modelota.storage.database import transaction

PAGE_ENTRIES: Final = 200
_STATE: Final = "cleaning"

Page = FindingsPage | RemovalsPage
T = TypeVar("T")


class Cleaning(msgspec.Struct, frozen=True, kw_only=True):
    """How the cleaning stands, with what a restart needs to go on with it.

    Attributes:
        view: as it is told.
        authority: who asked for what is under way, or was last.
        channel: where the removal was confirmed.
        accepted: ids of probable findings that go too.
    """

    view: CleaningView = CleaningView()
    authority: str = ""
    channel: str = ""
    accepted: tuple[str, ...] = ()


class CleaningTable:
    """Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    def load(self) -> Cleaning:
        """How it stands; idle when nothing was ever asked for.

        So is what this agent cannot read, of a newer one perhaps: it can be looked for again, and must not keep the
        agent from starting.
        """
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (_STATE,)).fetchone()
        try:
            return msgspec.json.decode(row[0], type=Cleaning) if row else Cleaning()
        except msgspec.MsgspecError:
            return Cleaning()

    def keep(self, cleaning: Cleaning) -> None:
        """Keep how it stands."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (_STATE, msgspec.json.encode(cleaning)),
            )

    def keep_findings(self, pages: Iterable[FindingsPage]) -> None:
        """Keep the findings of a new plan; those of the one before are forgotten, and what was removed of it."""
        with transaction(self._db, self._path) as db:
            db.execute("DELETE FROM cleaning_pages")
            _insert(db, "findings", pages)

    def keep_removals(self, pages: Iterable[RemovalsPage]) -> None:
        """Keep what became of the findings."""
        with transaction(self._db, self._path) as db:
            db.execute("DELETE FROM cleaning_pages WHERE kind = 'removals'")
            _insert(db, "removals", pages)

    def findings(self, after: int, limit: int) -> FindingsPage | None:
        """Findings from number `after` on, up to `limit` or the end of a page; None when there is no plan."""
        page = self._page("findings", after // PAGE_ENTRIES, FindingsPage)
        if page is None:  # past the last one
            first = self._page("findings", 0, FindingsPage)
            return None if first is None else FindingsPage(plan_digest=first.plan_digest, findings=())
        begin = after % PAGE_ENTRIES
        end = begin + limit
        rest = max(len(page.findings), len(page.spared), len(page.not_looked_at)) - end
        return msgspec.structs.replace(
            page,
            findings=page.findings[begin:end],
            spared=page.spared[begin:end],
            not_looked_at=page.not_looked_at[begin:end],
            next=after + limit if rest > 0 else page.next,
        )

    def removals(self, after: int, limit: int) -> RemovalsPage | None:
        """The proof from number `after` on, as `findings`; None when nothing was carried out."""
        page = self._page("removals", after // PAGE_ENTRIES, RemovalsPage)
        if page is None:
            first = self._page("removals", 0, RemovalsPage)
            return None if first is None else RemovalsPage(plan_digest=first.plan_digest, removals=())
        begin = after % PAGE_ENTRIES
        rest = len(page.removals) - begin - limit
        return msgspec.structs.replace(
            page, removals=page.removals[begin : begin + limit], next=after + limit if rest > 0 else page.next
        )

    def probable(self) -> Iterator[str]:
        """Ids of all probable findings."""
        for (body,) in self._db.execute("SELECT body FROM cleaning_pages WHERE kind = 'findings' ORDER BY number"):
            for finding in self._decode(body, FindingsPage).findings:
                if finding.certainty == "probable":
                    yield finding.id

    def _page(self, kind: str, number: int, shape: type[T]) -> T | None:
        row = self._db.execute(
            "SELECT body FROM cleaning_pages WHERE kind = ? AND number = ?", (kind, number)
        ).fetchone()
        return self._decode(row[0], shape) if row else None

    def _decode(self, data: bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise AskPerson("database-unreadable", path=str(self._path), detail=str(error)[:200]) from error


def _insert(db: sqlite3.Connection, kind: str, pages: Iterable[Page]) -> None:
    db.executemany(
        "INSERT INTO cleaning_pages (kind, number, body) VALUES (?, ?, ?)",
        ((kind, number, msgspec.json.encode(page)) for number, page in enumerate(pages)),
    )
