"""The ledger: every path the agent ever created, written before it exists, so that cleaning has proof (clause 7.4)."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from modelota.clock import Clock, iso
from modelota.storage.database import transaction

SCHEMA: Final = """
CREATE TABLE ledger (
    path TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    created_at TEXT NOT NULL,
    removed_at TEXT
) WITHOUT ROWID;
"""


class DatabaseLedger:
    """A `Ledger` in the agent's database."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def will_create(self, path: Path, kind: str) -> None:
        """Note `path` before it exists; noting it again changes nothing but that it is back."""
        row = self._connection.execute("SELECT removed_at FROM ledger WHERE path = ?", (str(path),)).fetchone()
        if row is not None and row[0] is None:
            return
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO ledger (path, kind, created_at) VALUES (?, ?, ?) "
                "ON CONFLICT (path) DO UPDATE SET removed_at = NULL, kind = excluded.kind",
                (str(path), kind, iso(self._clock.now())),
            )

    def will_write(self, path: str, kind: str, digest: str | None) -> None:
        """Note something outside the root before it is written, and what it will hold, so that it is known later.

        Args:
            path: absolute; or a scheme and a name (`keyring:…`), for what is not a file.
            kind: what it is.
            digest: BLAKE3 of its content (of a link: of its target); None when the content is a secret.
        """
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO ledger (path, kind, created_at, digest) VALUES (?, ?, ?, ?) ON CONFLICT (path) "
                "DO UPDATE SET removed_at = NULL, kind = excluded.kind, digest = excluded.digest",
                (path, kind, iso(self._clock.now()), digest),
            )

    def removed(self, path: Path) -> None:
        """Note that `path`, and everything below it, is gone."""
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "UPDATE ledger SET removed_at = ? WHERE removed_at IS NULL AND (path = ? OR substr(path, 1, ?) = ?)",
                (iso(self._clock.now()), str(path), len(str(path)) + 1, f"{path}/"),
            )

    def paths(self) -> list[tuple[str, str]]:
        """Path and kind of everything that was created and not removed, in order."""
        rows = self._connection.execute("SELECT path, kind FROM ledger WHERE removed_at IS NULL ORDER BY path")
        return [(str(path), str(kind)) for path, kind in rows]

    def temporaries(self) -> list[Path]:
        """Temporary files that were begun and not told to be gone: what a kill left, when nobody is writing."""
        rows = self._connection.execute("SELECT path FROM ledger WHERE removed_at IS NULL AND kind = 'temporary'")
        return [Path(path) for (path,) in rows]


class NoLedger:
    """A `Ledger` that remembers nothing: for disposable places that are removed as a whole."""

    def will_create(self, path: Path, kind: str) -> None:
        """Forget it."""

    def removed(self, path: Path) -> None:
        """Forget it."""
