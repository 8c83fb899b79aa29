"""Which slots were verified as a whole since this system was started, and what their files looked like then."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final, NamedTuple

from modelota.clock import Clock, iso
from modelota.spec.slot import SlotId
from modelota.storage.database import transaction

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class VerifiedRow(NamedTuple):
    """The last verification of a slot: in which run of the system, and its files' stamps (JSON)."""

    boot_id: str
    stamp: str


class VerifiedTable:
    """The table `verified` of the agent's database. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def last(self, model: str, slot: SlotId) -> VerifiedRow | None:
        """The last verification of a slot."""
        row = self._connection.execute(
            "SELECT boot_id, stamp FROM verified WHERE model = ? AND slot = ?", (model, slot.name)
        ).fetchone()
        return VerifiedRow(str(row[0]), str(row[1])) if row else None

    def note(self, model: str, slot: SlotId, row: VerifiedRow) -> None:
        """Note a verification; the one before is forgotten."""
        with transaction(self._connection, self._path) as db:
            db.execute(
                "INSERT OR REPLACE INTO verified (model, slot, boot_id, stamp, at) VALUES (?, ?, ?, ?, ?)",
                (model, slot.name, row.boot_id, row.stamp, iso(self._clock.now())),
            )


def boot_id() -> str | None:
    """What names this run of the system (random, made by the kernel at its start); None where it can't be told."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None
