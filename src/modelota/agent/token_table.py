"""Digests of the gateway tokens that applications have, in the agent's database."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from modelota.clock import Clock, iso
from modelota.storage.database import transaction


class TokenTable:
    """The table. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def keep(self, application: str, digest: str) -> None:
        """Keep the digest of an application's gateway token; an older one of the same application ends."""
        with transaction(self._connection, self._path) as db:
            db.execute(
                "INSERT INTO tokens (application, digest, made_at) VALUES (?, ?, ?) ON CONFLICT (application) "
                "DO UPDATE SET digest = excluded.digest, made_at = excluded.made_at",
                (application, digest, iso(self._clock.now())),
            )

    def by_digest(self) -> dict[str, str]:
        """Applications by the digest of their token."""
        rows = self._connection.execute("SELECT application, digest FROM tokens")
        return {digest: application for application, digest in rows}
