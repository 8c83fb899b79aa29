"""Reports of finished operations, in the agent's database."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

import msgspec

from modelota.clock import Clock, iso
from modelota.spec.deployment import DeploymentReport, ReportEntry
from modelota.storage.database import transaction

REPORTS_KEPT: Final = 50  # of each model


class ReportTable:
    """The table. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def keep(self, report: DeploymentReport) -> None:
        """Keep a report, and the last ones before it."""
        with transaction(self._connection, self._path) as db:
            db.execute(
                "INSERT INTO reports (model, version, at, body) VALUES (?, ?, ?, ?)",
                (report.model, report.to_version, iso(self._clock.now()), msgspec.json.encode(report)),
            )
            db.execute(
                "DELETE FROM reports WHERE model = ? AND seq NOT IN "
                "(SELECT seq FROM reports WHERE model = ? ORDER BY seq DESC LIMIT ?)",
                (report.model, report.model, REPORTS_KEPT),
            )

    def reports(self, model: str, limit: int) -> tuple[ReportEntry, ...]:
        """The newest reports of `model`, newest first; one that a newer agent wrote otherwise is left out."""
        rows = self._connection.execute(
            "SELECT seq, at, body FROM reports WHERE model = ? ORDER BY seq DESC LIMIT ?", (model, limit)
        )
        found = []
        for seq, at, body in rows:
            try:
                report = msgspec.json.decode(body, type=DeploymentReport)
            except msgspec.MsgspecError:
                continue
            found.append(ReportEntry(seq=seq, at=at, report=report))
        return tuple(found)
