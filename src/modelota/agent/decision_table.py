"""Answers that people gave, in the agent's database: what, who, where, when, and what became of each.

Which answers count is in the state of each model (`State.standing`); a row is its history. Both change in one
transaction (`Journal.commit`), so an interruption leaves no answer that counts without a row, and no row of an answer
that was never taken.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import msgspec

from modelota.agent.states import (
    Answered,
    AnswerExpired,
    CancelAsked,
    MachineEvent,
    Offered,
    OfferGone,
    RemovalAsked,
    Revoked,
    RollbackAsked,
    Standing,
    State,
)
from modelota.clock import Clock, iso
from modelota.spec.api import Operation
from modelota.spec.api_owner import AnswerState
from modelota.spec.offer import Answer, Condition, Decision
from modelota.storage.database import transaction

DECISIONS_MAX: Final = 1000  # of one answer of the socket

_COLUMNS: Final = (
    "d.seq, coalesce(d.model, o.model, ''), d.offer_digest, "
    "coalesce(d.to_version, json_extract(CAST(o.offer AS TEXT), '$.to_version')), "
    "d.answer, d.authority, d.channel, d.at, d.conditions, d.not_before, d.expires_at, d.remind_at, d.ended_as, "
    "coalesce(d.operation, json_extract(CAST(o.offer AS TEXT), '$.direction'))"
)
_FROM: Final = "FROM decisions d LEFT JOIN offers o ON o.digest = d.offer_digest"


class DecisionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One row. `ended_as` is None while the answer stands, and in rows of an agent that did not keep it."""

    id: int
    model: str
    offer_digest: str
    to_version: str | None
    answer: Answer
    authority: str
    channel: str
    at: str
    conditions: tuple[Condition, ...] = ()
    not_before: str | None = None
    expires_at: str | None = None
    remind_at: str | None = None
    ended_as: AnswerState | None = None
    operation: Operation | None = None


class DecisionTable:
    """The table. Errors as the journal's."""

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Clock) -> None:
        self._connection = connection
        self._path = path
        self._clock = clock
        self._last: int | None = None

    def next_id(self) -> int:
        """A number for a decision that no other has; only the process that holds the root's lock asks for one."""
        if self._last is None:
            (found,) = self._connection.execute("SELECT coalesce(max(seq), 0) FROM decisions").fetchone()
            self._last = int(found)
        self._last += 1
        return self._last

    def record(self, decision: Decision) -> None:
        """Keep an answer that no state machine was asked about."""
        row = DecisionRow(
            id=self.next_id(),
            model="",
            offer_digest=decision.offer_digest,
            to_version=None,
            answer=decision.answer,
            authority=decision.authority,
            channel=decision.channel,
            at=decision.at,
        )
        with transaction(self._connection, self._path) as db:
            _insert(db, row)

    def follow(self, db: sqlite3.Connection, model: str, event: MachineEvent, before: State, after: State) -> None:
        """Write what an event made of answers: one that was given, those that ended, those that are reminded of."""
        known = {given.id: given for given in before.standing}
        standing = {given.id: given for given in after.standing}
        for given in after.standing:
            if given.id not in known:
                _insert(db, _given(model, event, given))
            elif given != known[given.id]:
                times = (given.expires_at, given.remind_at, given.id)
                db.execute("UPDATE decisions SET expires_at = ?, remind_at = ? WHERE seq = ?", times)
        for number in known.keys() - standing.keys():
            ended = (_end_of(event, before, after), iso(self._clock.now()), number)
            db.execute("UPDATE decisions SET ended_as = ?, ended_at = ? WHERE seq = ?", ended)

    def page(self, model: str | None, limit: int) -> tuple[DecisionRow, ...]:
        """The newest answers, newest first; None: of every model."""
        rows = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE ? IS NULL OR coalesce(d.model, o.model) = ? ORDER BY d.seq DESC LIMIT ?",
            (model, model, max(1, min(limit, DECISIONS_MAX))),
        )
        return tuple(_row(row) for row in rows)

    def row(self, number: int) -> DecisionRow | None:
        """One answer by its number."""
        found = self.rows([number])
        return found[0] if found else None

    def rows(self, numbers: Collection[int]) -> tuple[DecisionRow, ...]:
        """Those answers, oldest first."""
        marks = ",".join("?" * len(numbers))
        found = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE d.seq IN ({marks}) ORDER BY d.seq",
            tuple(numbers),
        )
        return tuple(_row(row) for row in found)

    def newest(self, offer_digest: str) -> DecisionRow | None:
        """The newest answer to an offer, its times as long as it stands; None: it expired, or was taken back."""
        found = self._connection.execute(
            f"SELECT {_COLUMNS} {_FROM} WHERE d.offer_digest = ? ORDER BY d.seq DESC LIMIT 1",
            (offer_digest,),
        ).fetchone()
        row = _row(found) if found else None
        if row is None or row.ended_as in {"expired", "revoked"}:
            return None
        return row if row.ended_as is None else msgspec.structs.replace(row, expires_at=None, remind_at=None)


def _row(row: tuple[Any, ...]) -> DecisionRow:
    number, model, digest, version, answer, authority, channel, at, conditions, *rest = row
    not_before, expires_at, remind_at, ended_as, operation = rest
    return DecisionRow(
        id=number,
        model=model,
        offer_digest=digest,
        to_version=version,
        answer=answer,
        authority=authority,
        channel=channel,
        at=at,
        conditions=tuple(msgspec.json.decode(conditions)) if conditions else (),
        not_before=not_before,
        expires_at=expires_at,
        remind_at=remind_at,
        ended_as=ended_as,
        operation=operation,
    )


def _given(model: str, event: MachineEvent, given: Standing) -> DecisionRow:
    assert isinstance(event, Answered | RollbackAsked | RemovalAsked), event
    return DecisionRow(
        id=given.id,
        model=model,
        offer_digest=given.offer_digest,
        to_version=given.target.version,
        answer=given.answer,
        authority=event.authority,
        channel=event.channel,
        at=given.at,
        conditions=event.conditions if isinstance(event, Answered) else (),
        not_before=event.not_before if isinstance(event, Answered) else None,
        expires_at=given.expires_at,
        remind_at=given.remind_at,
        operation=_operation(event),
    )


def _operation(event: Answered | RollbackAsked | RemovalAsked) -> Operation:
    if isinstance(event, Answered):
        return event.direction
    return "rollback" if isinstance(event, RollbackAsked) else "uninstall"


def _insert(db: sqlite3.Connection, row: DecisionRow) -> None:
    db.execute(
        "INSERT INTO decisions (seq, model, offer_digest, to_version, answer, authority, channel, at, conditions, "
        "not_before, expires_at, remind_at, operation) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            row.id,
            row.model or None,
            row.offer_digest,
            row.to_version,
            row.answer,
            row.authority,
            row.channel,
            row.at,
            msgspec.json.encode(row.conditions).decode() if row.conditions else None,
            row.not_before,
            row.expires_at,
            row.remind_at,
            row.operation,
        ),
    )
    if row.answer == "accept" and row.offer_digest:  # the ceiling holds for each acceptance; nothing else lifts it
        db.execute("UPDATE offers SET spent_bytes = 0 WHERE digest = ?", (row.offer_digest,))


def _end_of(event: MachineEvent, before: State, after: State) -> AnswerState:
    """What became of an answer that an event ended."""
    error = after.last.error if after.last is not None and after.last is not before.last else None
    match event:
        case AnswerExpired():
            return "expired"
        case _ if error is not None and error.code == "answer-expired":
            return "expired"
        case Revoked() | CancelAsked():
            return "revoked"
        case Answered() | Offered() | OfferGone() | RollbackAsked() | RemovalAsked():
            return "superseded"
        case _:
            return "done"
