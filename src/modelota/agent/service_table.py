"""How each version did while it served, in the agent's database."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any, Final

from modelota.clock import Clock, iso
from modelota.storage.database import transaction

_COLUMNS: Final = ("requests", "errors", "tokens", "generating_s", "memory_bytes")


class ServiceTable:
    """The table `service_figures`.

    Args:
        connection: to the agent's database.
        path: of it, for errors.
        clock: stamps new rows.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def figures(self, model: str, slot: str) -> dict[str, Any] | None:
        """The kept figures of a slot by name, or None."""
        row = self._connection.execute(
            f"SELECT {', '.join(_COLUMNS)} FROM service_figures WHERE model = ? AND slot = ?",  # noqa: S608  fixed names
            (model, slot),
        ).fetchone()
        return dict(zip(_COLUMNS, row, strict=True)) if row else None

    def keep(self, model: str, slot: str, figures: dict[str, Any]) -> None:
        """Keep the figures of a slot.

        Raises:
            AskPerson, TryLater: as `transaction`.
        """
        with transaction(self._connection, self._path) as connection:
            connection.execute(
                "INSERT INTO service_figures "
                "(model, slot, requests, errors, tokens, generating_s, memory_bytes, since) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (model, slot) DO UPDATE SET requests = excluded.requests, "
                "errors = excluded.errors, tokens = excluded.tokens, generating_s = excluded.generating_s, "
                "memory_bytes = excluded.memory_bytes",
                (model, slot, *(figures[column] for column in _COLUMNS), iso(self._clock.now())),
            )
