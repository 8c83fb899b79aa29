"""What stays of models after their slots: anchors of every deployed file, and plans and proofs of removals."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from modelota.clock import Clock, iso
from modelota.storage.database import transaction


class AnchorRow(NamedTuple):
    """Anchors of one deployed file (`content.anchors.Anchors`), in plain data: the supervisor does without NumPy.

    `blocks` is empty where only the description was asked for.
    """

    model: str
    version: str
    variant: str
    path: str
    size_bytes: int
    digest: str
    head: bytes
    stride_blocks: int
    blocks: bytes


class LedgerRow(NamedTuple):
    """Something that the agent created outside or inside its root and did not remove.

    Attributes:
        path: absolute; or `acl:`, `dconf:`, `keyring:` and a name, for what is not a file.
        kind: as it was called when it was written.
        digest: BLAKE3 of what was written (a link's: of its target), or None when that was not kept.
    """

    path: str
    kind: str
    digest: str | None = None


class Records:
    """Anchors, the ledger's rows, and removals, in the agent's database.

    Every method raises `AskPerson` (`database-unreadable`, `no-space`, `permission-denied`) or `TryLater`
    (`disk-error`, `device-busy`) when the database can't do its work.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._db = connection
        self._path = path
        self._clock = clock

    def keep_anchors(self, rows: Iterable[AnchorRow]) -> None:
        """Keep the anchors of deployed files; those of the same file are replaced."""
        with transaction(self._db, self._path) as db:
            db.executemany(
                "INSERT OR REPLACE INTO anchors "
                "(model, version, variant, path, size_bytes, digest, head, stride_blocks, blocks) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                list(rows),
            )

    def anchor_rows(self) -> list[AnchorRow]:
        """Every file that was ever deployed, without its blocks."""
        rows = self._db.execute(
            "SELECT model, version, variant, path, size_bytes, digest, head, stride_blocks, x'' FROM anchors "
            "ORDER BY model, version, variant, path"
        )
        return [AnchorRow(*row) for row in rows]

    def anchor_blocks(self, row: AnchorRow) -> bytes:
        """The blocks of one of `anchor_rows`; empty when it is gone."""
        found = self._db.execute(
            "SELECT blocks FROM anchors WHERE model = ? AND version = ? AND variant = ? AND path = ?",
            (row.model, row.version, row.variant, row.path),
        ).fetchone()
        return bytes(found[0]) if found else b""

    def ledger_rows(self) -> list[LedgerRow]:
        """Everything that was created and not removed, in order of its path."""
        rows = self._db.execute("SELECT path, kind, digest FROM ledger WHERE removed_at IS NULL ORDER BY path")
        return [LedgerRow(str(path), str(kind), digest) for path, kind, digest in rows]

    def keep_plan(self, digest: str, model: str, body: bytes) -> None:
        """Keep the plan of a removal before it is carried out; an equal one kept before keeps its time."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT OR IGNORE INTO removals (digest, model, plan, made_at) VALUES (?, ?, ?, ?)",
                (digest, model, body, iso(self._clock.now())),
            )

    def plan_body(self, digest: str) -> bytes | None:
        """The plan kept under `digest`."""
        row = self._db.execute("SELECT plan FROM removals WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0]) if row else None

    def keep_proof(self, digest: str, body: bytes) -> None:
        """Keep what became of the plan `digest`; a later proof of the same plan replaces an earlier one."""
        with transaction(self._db, self._path) as db:
            db.execute("UPDATE removals SET proof = ? WHERE digest = ?", (body, digest))

    def proof_body(self, digest: str) -> bytes | None:
        """The proof of the plan `digest`, once it was carried out."""
        row = self._db.execute("SELECT proof FROM removals WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0]) if row and row[0] is not None else None
