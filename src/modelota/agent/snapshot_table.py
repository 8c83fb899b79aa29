"""What the agent's database knows about the user's data: sealed copies, what lies in place, an exchange."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TypeVar

import msgspec

from modelota.clock import Clock, iso
from modelota.errors import AskPerson
from modelota.storage.database import transaction

T = TypeVar("T")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A sealed copy of a model's user data.

    Attributes:
        seq: its number.
        version: the version that was in use.
        user_data_schema: of the data in it.
        path: of the file, relative to the model's backups.
        size_bytes: of the plain archive.
        digest: BLAKE3 of the plain archive.
        made_at: when.
    """

    seq: int
    version: str
    user_data_schema: int
    path: str
    size_bytes: int
    digest: str
    made_at: str


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about the data that lie in place.

    Attributes:
        schema: theirs, when it was last certain.
        handed_over: a snapshot was taken for a version with another layout since, which may have written in its own.
        decision: which decision the snapshot belongs to.
    """

    schema: int
    handed_over: bool = False
    decision: str = ""


class Exchange(msgspec.Struct, frozen=True, kw_only=True):
    """Data that are about to take the place of those in use.

    Attributes:
        schema: of the data that come.
        snapshot: which sealed copy they are from; None: another source, or none (an empty place).
        inode: of the directory that comes, once it is complete.
        beside: name of the directory that takes what was in use.
    """

    schema: int
    snapshot: int | None
    inode: int | None
    beside: str


class SnapshotTable:
    """The tables. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock

    def next_seq(self) -> int:
        """The number that the next snapshot gets."""
        row = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'snapshots'").fetchone()
        return int(row[0]) + 1 if row else 1

    def snapshots(self, model: str) -> list[Snapshot]:
        """Every sealed copy of `model`'s user data, newest first."""
        rows = self._connection.execute(
            "SELECT seq, version, user_data_schema, path, size_bytes, digest, made_at FROM snapshots "
            "WHERE model = ? ORDER BY seq DESC",
            (model,),
        )
        return [
            Snapshot(
                seq=seq,
                version=version,
                user_data_schema=schema,
                path=path,
                size_bytes=size_bytes,
                digest=digest,
                made_at=made_at,
            )
            for seq, version, schema, path, size_bytes, digest, made_at in rows
        ]

    def snapshot(self, model: str, seq: int | None) -> Snapshot | None:
        """One of them."""
        return next((found for found in self.snapshots(model) if found.seq == seq), None)

    def taken(self, model: str, snapshot: Snapshot, holding: Holding) -> None:
        """Note a sealed copy whose file is durable, and what is known about the data from now on."""
        with transaction(self._connection, self._path) as db:
            db.execute(
                "INSERT INTO snapshots (seq, model, version, user_data_schema, path, size_bytes, digest, made_at) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    snapshot.seq,
                    model,
                    snapshot.version,
                    snapshot.user_data_schema,
                    snapshot.path,
                    snapshot.size_bytes,
                    snapshot.digest,
                    iso(self._clock.now()),
                ),
            )
            _set(db, _holding(model), msgspec.json.encode(holding))

    def forget(self, seqs: list[int]) -> None:
        """Forget sealed copies; their files go next."""
        with transaction(self._connection, self._path) as db:
            db.executemany("DELETE FROM snapshots WHERE seq = ?", [(seq,) for seq in seqs])

    def holding(self, model: str) -> Holding | None:
        """What is known about the data in place; None before anything was."""
        return self._fact(_holding(model), Holding)

    def exchange(self, model: str) -> Exchange | None:
        """The exchange under way."""
        return self._fact(_exchange(model), Exchange)

    def begin(self, model: str, exchange: Exchange) -> None:
        """Note an exchange before its next step."""
        with transaction(self._connection, self._path) as db:
            _set(db, _exchange(model), msgspec.json.encode(exchange))

    def settle(self, model: str, holding: Holding) -> None:
        """Note what lies in place; no exchange is under way any more."""
        with transaction(self._connection, self._path) as db:
            _set(db, _holding(model), msgspec.json.encode(holding))
            db.execute("DELETE FROM facts WHERE key = ?", (_exchange(model),))

    def _fact(self, key: str, kind: type[T]) -> T | None:
        row = self._connection.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        try:
            return msgspec.json.decode(row[0], type=kind)
        except msgspec.MsgspecError as error:
            raise AskPerson("database-unreadable", path=str(self._path), detail=str(error)[:200]) from error


def _holding(model: str) -> str:
    return f"user-data {model}"


def _exchange(model: str) -> str:
    return f"user-data-exchange {model}"


def _set(db: sqlite3.Connection, key: str, value: bytes) -> None:
    db.execute(
        "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        (key, value),
    )
