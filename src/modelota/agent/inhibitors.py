"""Who keeps updates from their steps, and why. Kept in the agent's database, so a restart forgets no holder."""

from __future__ import annotations

import secrets
import sqlite3
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from modelota.clock import Clock, from_iso, iso
from modelota.errors import AskPerson, ModelotaError
from modelota.spec.api_life import INHIBITOR_MAX_S, GatedStep, InhibitorRequest, InhibitorView
from modelota.storage.database import transaction

INHIBITORS_MAX: Final = 64


class Inhibitors:
    """The inhibitors of one device root.

    Methods that write raise `AskPerson` (`database-unreadable`, `no-space`, `permission-denied`) or `TryLater`
    (`disk-error`, `device-busy`) when the database can't do its work.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._db = connection
        self._path = path
        self._clock = clock

    def held(self) -> tuple[InhibitorView, ...]:
        """Those that have not expired, in order of their holders."""
        now = self._clock.now()
        latest = iso(now + timedelta(seconds=INHIBITOR_MAX_S))
        views = [view for view in self._all() if from_iso(view.until) > now]
        if any(view.until > latest for view in views):
            # the clock was set back: without this a holder that died would block for that much longer
            with suppress(ModelotaError), transaction(self._db, self._path) as db:
                db.execute("UPDATE inhibitors SET until = ? WHERE until > ?", (latest, latest))
        return tuple(views)

    def hold(self, request: InhibitorRequest, uid: int | None) -> InhibitorView:
        """Keep an inhibitor, or renew the one that the same holder of the same user has.

        Raises:
            AskPerson: `argument-invalid`: an empty or unprintable holder or reason, or too many inhibitors.
        """
        for name, text in (("holder", request.holder), ("reason", request.reason)):
            if not text.isprintable() or text != text.strip():
                raise AskPerson("argument-invalid", argument=name, detail="not-printable")
        now = self._clock.now()
        held = self.held()
        known = next((view for view in held if (view.holder, view.uid) == (request.holder, uid)), None)
        if known is None and len(held) >= INHIBITORS_MAX:
            raise AskPerson("argument-invalid", argument="inhibitors", detail="too-many")
        view = InhibitorView(
            id=known.id if known else secrets.token_hex(8),
            holder=request.holder,
            reason=request.reason,
            steps=tuple(dict.fromkeys(request.steps)),
            until=iso(now + timedelta(seconds=request.expires_s)),
            uid=uid,
        )
        with transaction(self._db, self._path) as db:
            db.execute("DELETE FROM inhibitors WHERE until <= ?", (iso(now),))
            db.execute(
                "INSERT OR REPLACE INTO inhibitors (id, holder, reason, steps, uid, until) VALUES (?, ?, ?, ?, ?, ?)",
                (view.id, view.holder, view.reason, msgspec.json.encode(view.steps).decode(), uid, view.until),
            )
        return view

    def release(self, key: str) -> InhibitorView | None:
        """Let go of the inhibitor with this id; returns it, or None when it is not held."""
        view = next((view for view in self._all() if view.id == key), None)
        if view is not None:
            with transaction(self._db, self._path) as db:
                db.execute("DELETE FROM inhibitors WHERE id = ?", (key,))
        return view

    def _all(self) -> list[InhibitorView]:
        rows = self._db.execute("SELECT id, holder, reason, steps, uid, until FROM inhibitors ORDER BY holder, id")
        return [
            InhibitorView(
                id=key,
                holder=holder,
                reason=reason,
                steps=msgspec.json.decode(steps, type=tuple[GatedStep, ...]),
                uid=uid,
                until=until,
            )
            for key, holder, reason, steps, uid, until in rows
        ]
