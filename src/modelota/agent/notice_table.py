"""What the user is to be told of, in the agent's database: one row per event, whoever is told and however often.

A row *stands* until what it tells of is over, or its user puts it away. What is over goes after a while; what stands
never does, so that nothing which still holds is told a second time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from modelota.clock import Clock, iso
from modelota.spec.api import ErrorBody
from modelota.spec.api_owner import Notice, NoticeKind
from modelota.spec.offer import Answer
from modelota.storage.database import transaction

NOTICES_KEPT: Final = 500  # of those that are over
KEPT_DAYS: Final = 180
TOLD_MAX: Final = 64  # people of whom a row remembers that they were told

_COLUMNS: Final = "seq, key, model, kind, at, due_at, urgent, body, told_at, told_by, dismissed_at, over_at"


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """A notice before it is kept; see `Notice`.

    Attributes:
        key: of the event. One that recurs is told again when it was over before, under this key and a number.
    """

    key: str
    kind: NoticeKind
    model: str
    urgent: bool = False
    path: str = "/"
    digest: str | None = None
    version: str | None = None
    error: ErrorBody | None = None
    facts: dict[str, Any] = {}
    recurs: bool = False


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    """What a row says besides its columns."""

    path: str
    digest: str | None = None
    version: str | None = None
    error: ErrorBody | None = None
    facts: dict[str, Any] = {}


class Newest(NamedTuple):
    """The newest answer to an offer: its number, what it was, and how it ended, or None while it counts."""

    seq: int
    answer: Answer
    ended_as: str | None


class NoticeTable:
    """The table `notices`. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._db = connection
        self._path = path
        self._clock = clock

    def keep(self, draft: Draft, due_at: str) -> Notice | None:
        """Keep a notice that is not known yet; one that was over and holds again stands again.

        Returns:
            the notice when it is a new one.
        """
        now = iso(self._clock.now())
        body = _Body(path=draft.path, digest=draft.digest, version=draft.version, error=draft.error, facts=draft.facts)
        with transaction(self._db, self._path) as db:
            found = db.execute(
                "SELECT seq, key, over_at FROM notices WHERE key = ? OR substr(key, 1, ?) = ? ORDER BY seq DESC",
                (draft.key, len(draft.key) + 1, f"{draft.key}#"),
            ).fetchone()
            if found is not None and not (draft.recurs and found[2] is not None):
                db.execute("UPDATE notices SET over_at = NULL WHERE seq = ? AND over_at IS NOT NULL", (found[0],))
                return None
            key = draft.key if found is None else f"{draft.key}#{found[0]}"
            cursor = db.execute(
                "INSERT INTO notices (key, model, kind, at, due_at, urgent, body) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (key, draft.model, draft.kind, now, due_at, int(draft.urgent), msgspec.json.encode(body)),
            )
            self._forget_old(db)
        return self.notice(int(cursor.lastrowid or 0))

    def _forget_old(self, db: sqlite3.Connection) -> None:
        oldest = iso(self._clock.now() - timedelta(days=KEPT_DAYS))
        db.execute(
            "DELETE FROM notices WHERE over_at IS NOT NULL AND (at < ? OR seq NOT IN "
            "(SELECT seq FROM notices WHERE over_at IS NOT NULL ORDER BY seq DESC LIMIT ?))",
            (oldest, NOTICES_KEPT),
        )

    def over(self, numbers: Collection[int]) -> None:
        """Note that what these tell of is over."""
        if not numbers:
            return
        with transaction(self._db, self._path) as db:
            db.executemany(
                "UPDATE notices SET over_at = ? WHERE seq = ? AND over_at IS NULL",
                [(iso(self._clock.now()), number) for number in numbers],
            )

    def announce(self, number: int) -> bool:
        """Note that a notice goes out now, before it does: over a restart it goes out once at most.

        Returns:
            whether it had not gone out before.
        """
        with transaction(self._db, self._path) as db:
            changed = db.execute(
                "UPDATE notices SET announced_at = ? WHERE seq = ? AND announced_at IS NULL",
                (iso(self._clock.now()), number),
            )
        return changed.rowcount == 1

    def tell(self, number: int, authority: str, *, dismiss: bool) -> bool:
        """Note that somebody was told; `dismiss`: and that they put it away. Returns whether anything is new."""
        now = iso(self._clock.now())
        with transaction(self._db, self._path) as db:
            row = db.execute("SELECT told_by, dismissed_at FROM notices WHERE seq = ?", (number,)).fetchone()
            if row is None:
                return False
            told = msgspec.json.decode(row[0], type=dict[str, str])
            fresh = authority not in told
            if fresh:
                told = {**dict(list(told.items())[-(TOLD_MAX - 1) :]), authority: now}
            away = dismiss and row[1] is None
            if fresh or away:
                db.execute(
                    "UPDATE notices SET told_by = ?, told_at = coalesce(told_at, ?), dismissed_at = ? WHERE seq = ?",
                    (msgspec.json.encode(told).decode(), now, now if away else row[1], number),
                )
        return fresh or away

    # -- reading -----------------------------------------------------------------------------------------------------

    def notice(self, number: int, authority: str | None = None) -> Notice | None:
        """One notice; `told_at` is as `notices` says."""
        rows = self._select("seq = ?", (number,), authority)
        return rows[0] if rows else None

    def notices(self, after: int, authority: str | None, *, everything: bool) -> tuple[Notice, ...]:
        """Notices above a number, oldest first.

        Args:
            after: the number.
            authority: who asks: `told_at` is when they were told; None: when anybody was first.
            everything: also what does not stand.
        """
        where = "seq > ?" if everything else "seq > ? AND dismissed_at IS NULL AND over_at IS NULL"
        return self._select(where, (after,), authority)

    def unannounced(self) -> tuple[Notice, ...]:
        """Those that stand and did not go out yet, oldest first."""
        return self._select("announced_at IS NULL AND dismissed_at IS NULL AND over_at IS NULL", (), None)

    def current(self, model: str) -> tuple[Notice, ...]:
        """Those of a model that are not over, put away or not."""
        return self._select("model = ? AND over_at IS NULL", (model,), None)

    def _select(self, where: str, arguments: tuple[object, ...], authority: str | None) -> tuple[Notice, ...]:
        rows = self._db.execute(
            f"SELECT {_COLUMNS} FROM notices WHERE {where} ORDER BY seq",  # noqa: S608  fixed texts
            arguments,
        )
        found = (_notice(row, authority) for row in rows)
        return tuple(notice for notice in found if notice is not None)

    def newest_answer(self, digest: str) -> Newest | None:
        """The newest answer to an offer, or None when it has none."""
        row = self._db.execute(
            "SELECT seq, answer, ended_as FROM decisions WHERE offer_digest = ? ORDER BY seq DESC LIMIT 1", (digest,)
        ).fetchone()
        return Newest(int(row[0]), row[1], row[2]) if row else None


def _notice(row: tuple[Any, ...], authority: str | None) -> Notice | None:
    """A row as a notice; None for one that a newer agent wrote otherwise."""
    number, key, model, kind, at, due_at, urgent, data, told_at, told_by, dismissed_at, over_at = row
    try:
        body = msgspec.json.decode(data, type=_Body)
        told = msgspec.json.decode(told_by, type=dict[str, str])
    except msgspec.MsgspecError:
        return None
    return Notice(
        id=number,
        key=key,
        kind=kind,
        model=model,
        at=at,
        due_at=due_at,
        urgent=bool(urgent),
        path=body.path,
        digest=body.digest,
        version=body.version,
        error=body.error,
        facts=body.facts,
        told_at=told_at if authority is None else told.get(authority),
        dismissed_at=dismissed_at or over_at,
    )
