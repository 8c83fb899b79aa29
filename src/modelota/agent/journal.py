"""The journal and what hangs on it, in the agent's database: events, states, offers, decisions, slots, rates.

`commit` writes an event and the state that follows from it in one durable transaction, before any effect is carried
out. Supervisor and worker each open the database for themselves; only the process that holds the root's lock commits
events.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from modelota.agent.cleaning_table import CleaningTable
from modelota.agent.decision_table import DecisionTable
from modelota.agent.inhibitors import Inhibitors
from modelota.agent.journal_entries import journal_facts, journal_name
from modelota.agent.notice_table import NoticeTable
from modelota.agent.records import Records
from modelota.agent.report_table import ReportTable
from modelota.agent.schema import MIGRATIONS
from modelota.agent.service_table import ServiceTable
from modelota.agent.snapshot_table import SnapshotTable
from modelota.agent.states import MachineEvent, State
from modelota.agent.token_table import TokenTable
from modelota.agent.verified import VerifiedTable
from modelota.clock import Clock, iso
from modelota.errors import AskPerson
from modelota.spec.api import LogEntry, OfferView
from modelota.spec.offer import Decision, Offer, Plan
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.database import open_database, transaction
from modelota.storage.ledger import DatabaseLedger

T = TypeVar("T")

LOG_PAGE_MAX: Final = 1000
SELF_TESTS_KEPT: Final = 50  # of each model; an answer of the socket holds 16 MiB


class Journal:
    """The agent's database.

    Args:
        path: `agent.db`.
        clock: stamps what is written.

    Every method raises `AskPerson` (`database-unreadable`, `no-space`, `permission-denied`) or `TryLater`
    (`disk-error`, `device-busy`) when the database can't do its work.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._db = open_database(path, MIGRATIONS)
        self.ledger = DatabaseLedger(self._db, path, clock)
        self.snapshots = SnapshotTable(self._db, path, clock)
        self.reports = ReportTable(self._db, path, clock)
        self.records = Records(self._db, path, clock)
        self.verified = VerifiedTable(self._db, path, clock)
        self.service = ServiceTable(self._db, path, clock)
        self.inhibitors = Inhibitors(self._db, path, clock)
        self.decisions = DecisionTable(self._db, path, clock)
        self.tokens = TokenTable(self._db, path, clock)
        self.notices = NoticeTable(self._db, path, clock)
        self.cleaning = CleaningTable(self._db, path)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def _now(self) -> str:
        return iso(self._clock.now())

    # -- events and states -------------------------------------------------------------------------------------------

    def commit(self, model: str, event: MachineEvent, before: State, state: State) -> int:
        """Write `event`, which led from `before` to `state`, durably; returns the event's sequence number.

        What the event made of people's answers is in the same transaction: an answer counts if and only if it is kept.
        """
        with transaction(self._db, self._path) as db:
            self.decisions.follow(db, model, event, before, state)
            seq = self._append(db, model, journal_name(event), journal_facts(event, before, state))
            db.execute(
                "INSERT INTO machine (model, state, seq) VALUES (?, ?, ?) "
                "ON CONFLICT (model) DO UPDATE SET state = excluded.state, seq = excluded.seq",
                (model, msgspec.json.encode(state).decode(), seq),
            )
        return seq

    def note(self, model: str, event: str, facts: dict[str, Any]) -> int:
        """Write something that happened and changes no state (a check, an offer shown, an engine started)."""
        with transaction(self._db, self._path) as db:
            return self._append(db, model, event, facts)

    def _append(self, db: sqlite3.Connection, model: str, event: str, facts: dict[str, Any]) -> int:
        cursor = db.execute(
            "INSERT INTO journal (at, model, event, data) VALUES (?, ?, ?, ?)",
            (self._now(), model, event, msgspec.json.encode(facts).decode()),
        )
        return int(cursor.lastrowid or 0)

    def state(self, model: str) -> State:
        """The state of `model`; a new one when nothing was ever committed.

        Raises:
            AskPerson: `database-unreadable`: what is there is not a state.
        """
        row = self._db.execute("SELECT state FROM machine WHERE model = ?", (model,)).fetchone()
        return self._decode(row[0], State) if row else State()

    def log(self, model: str | None, after: int, limit: int) -> tuple[LogEntry, ...]:
        """Journal entries with a sequence number above `after`, oldest first."""
        rows = self._db.execute(
            "SELECT seq, at, model, event, data FROM journal WHERE seq > ? AND (? IS NULL OR model = ?) "
            "ORDER BY seq LIMIT ?",
            (after, model, model, max(1, min(limit, LOG_PAGE_MAX))),
        )
        return self._entries(rows)

    def _entries(self, rows: Iterable[tuple[int, str, str, str, str]]) -> tuple[LogEntry, ...]:
        return tuple(
            LogEntry(seq=seq, at=at, model=name, event=event, facts=self._decode(data, dict[str, Any]))
            for seq, at, name, event, data in rows
        )

    def last_entries(self, model: str | None, limit: int, *, before: int | None = None) -> tuple[LogEntry, ...]:
        """The newest entries (about `model`, and with a number below `before`), oldest first."""
        rows = self._db.execute(
            "SELECT seq, at, model, event, data FROM journal WHERE (? IS NULL OR seq < ?) AND (? IS NULL OR model = ?) "
            "ORDER BY seq DESC LIMIT ?",
            (before, before, model, model, max(1, min(limit, LOG_PAGE_MAX))),
        )
        return self._entries(rows)[::-1]

    def last_time(self, model: str, event: str) -> str | None:
        """When `event` was last journalled for `model`."""
        row = self._db.execute(
            "SELECT at FROM journal WHERE model = ? AND event = ? ORDER BY seq DESC LIMIT 1", (model, event)
        ).fetchone()
        return str(row[0]) if row else None

    def _decode(self, data: str | bytes, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(data, type=kind)
        except msgspec.MsgspecError as error:
            raise AskPerson("database-unreadable", path=str(self._path), detail=str(error)[:200]) from error

    # -- facts: enrolment, trust ---------------------------------------------------------------------------------------

    def fact(self, key: str) -> bytes | None:
        """The value kept under `key`."""
        row = self._db.execute("SELECT value FROM facts WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def set_fact(self, key: str, value: bytes) -> None:
        """Keep `value` under `key`."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO facts (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                (key, value),
            )

    # -- manifests and offers ----------------------------------------------------------------------------------------

    def keep_manifest(self, digest: str, model: str, version: str, body: bytes) -> None:
        """Pin the bytes of a manifest, so that what was accepted can be carried out whatever the repository does."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT OR IGNORE INTO manifests (digest, model, version, body) VALUES (?, ?, ?, ?)",
                (digest, model, version, body),
            )

    def manifest_body(self, digest: str) -> bytes | None:
        """The bytes pinned under `digest`."""
        row = self._db.execute("SELECT body FROM manifests WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0]) if row else None

    def keep_offer(self, offer: Offer, plan: Plan, *, estimate_s: float | None, estimate_is_guess: bool) -> str:
        """Keep an offer and its plan; an equal one made before keeps its time. Returns its digest."""
        digest = offer.digest
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO offers (digest, model, offer, plan, made_at, estimate_s, estimate_is_guess) "
                "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (digest) DO UPDATE SET "
                "estimate_s = excluded.estimate_s, estimate_is_guess = excluded.estimate_is_guess",
                (
                    digest,
                    offer.model,
                    msgspec.json.encode(offer),
                    msgspec.json.encode(plan),
                    self._now(),
                    estimate_s,
                    int(estimate_is_guess),
                ),
            )
        return digest

    def offer(self, digest: str) -> OfferView | None:
        """The offer with what lies beside it."""
        row = self._db.execute(
            "SELECT offer, made_at, estimate_s, estimate_is_guess FROM offers WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            return None
        shown = self._db.execute(
            "SELECT at FROM shown WHERE offer_digest = ? ORDER BY seq DESC LIMIT 1", (digest,)
        ).fetchone()
        answer = self.decisions.newest(digest)
        offer = self._decode(row[0], Offer)
        return OfferView(
            offer=offer,
            digest=digest,
            made_at=row[1],
            shown_at=shown[0] if shown else None,
            estimate_s=row[2],
            estimate_is_guess=bool(row[3]),
            answer=answer.answer if answer else None,
            title=self.title(offer.model),
            remind_at=answer.remind_at if answer else None,
            answer_expires_at=answer.expires_at if answer else None,
        )

    def title(self, model: str) -> dict[str, str]:
        """What people call the model, by language, as its catalog said at the last check."""
        data = self.fact(f"title {model}")
        return self._decode(data, dict[str, str]) if data else {}

    def place(self) -> str | None:
        """A directory that holds a copy of the repository (a USB stick), which the owner named for the last check."""
        return (self.fact("repository-place") or b"").decode() or None

    def end_of_service(self, model: str) -> str | None:
        """When the publisher stops or stopped to serve the model, as its catalog said at the last check."""
        return (self.fact(f"end-of-service {model}") or b"").decode() or None

    def plan(self, offer_digest: str) -> Plan | None:
        """The plan that an offer stands for."""
        row = self._db.execute("SELECT plan FROM offers WHERE digest = ?", (offer_digest,)).fetchone()
        return self._decode(row[0], Plan) if row else None

    def spent_bytes(self, offer_digest: str) -> int:
        """Bytes received so far under this offer, over all interruptions."""
        row = self._db.execute("SELECT spent_bytes FROM offers WHERE digest = ?", (offer_digest,)).fetchone()
        return int(row[0]) if row else 0

    def spend(self, offer_digest: str, received_bytes: int) -> None:
        """Count bytes received under this offer."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "UPDATE offers SET spent_bytes = spent_bytes + ? WHERE digest = ?", (received_bytes, offer_digest)
            )

    def note_shown(self, offer_digest: str, *, language: str, channel: str, authority: str, text: str) -> None:
        """Keep that, when, where and in which words an offer was shown to a person."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO shown (offer_digest, at, language, channel, authority, text) VALUES (?, ?, ?, ?, ?, ?)",
                (offer_digest, self._now(), language, channel, authority, text),
            )

    def note_decision(self, decision: Decision) -> None:
        """Keep an answer that no state machine was asked about; `commit` keeps those that it was."""
        self.decisions.record(decision)

    # -- slots -------------------------------------------------------------------------------------------------------

    def register_slot(self, description: SlotDescription) -> None:
        """Note a slot's description before the state names the slot: this, not a directory, makes it ours."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO slots (model, slot, description, registered_at) VALUES (?, ?, ?, ?) "
                "ON CONFLICT (model, slot) DO UPDATE SET description = excluded.description",
                (description.model, description.slot.name, msgspec.json.encode(description), self._now()),
            )

    def slot(self, model: str, slot: SlotId) -> SlotDescription | None:
        """The description of a registered slot."""
        row = self._db.execute(
            "SELECT description FROM slots WHERE model = ? AND slot = ?", (model, slot.name)
        ).fetchone()
        return self._decode(row[0], SlotDescription) if row else None

    def slots(self, model: str) -> tuple[SlotDescription, ...]:
        """The descriptions of all registered slots."""
        rows = self._db.execute("SELECT description FROM slots WHERE model = ? ORDER BY slot", (model,))
        return tuple(self._decode(description, SlotDescription) for (description,) in rows)

    def damaged(self, model: str) -> frozenset[str]:
        """Digests of chunks that the device should hold and was found not to."""
        rows = self._db.execute("SELECT digest FROM damaged WHERE model = ?", (model,))
        return frozenset(digest for (digest,) in rows)

    def note_damaged(self, model: str, digests: Iterable[str]) -> None:
        """Note chunks that are damaged or gone."""
        with transaction(self._db, self._path) as db:
            db.executemany(
                "INSERT OR IGNORE INTO damaged (model, digest, found_at) VALUES (?, ?, ?)",
                [(model, digest, self._now()) for digest in digests],
            )

    def note_whole(self, model: str, digests: Iterable[str]) -> None:
        """Note chunks that were just verified in a slot."""
        with transaction(self._db, self._path) as db:
            db.executemany(
                "DELETE FROM damaged WHERE model = ? AND digest = ?", [(model, digest) for digest in digests]
            )

    def activated(self, model: str, slot: SlotId) -> None:
        """Note that a slot was activated now."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "UPDATE slots SET activated_at = ? WHERE model = ? AND slot = ?", (self._now(), model, slot.name)
            )

    def activated_at(self, model: str, slot: SlotId) -> str | None:
        """When a slot was last activated."""
        row = self._db.execute(
            "SELECT activated_at FROM slots WHERE model = ? AND slot = ?", (model, slot.name)
        ).fetchone()
        return row[0] if row else None

    def forget_slots(self, model: str, keep: tuple[SlotId, ...]) -> None:
        """Forget the descriptions of slots that are gone."""
        names = [slot.name for slot in keep]
        marks = ",".join("?" * len(names))
        with transaction(self._db, self._path) as db:
            db.execute(f"DELETE FROM slots WHERE model = ? AND slot NOT IN ({marks})", (model, *names))  # noqa: S608  only question marks are put in

    # -- what the catalog said, rates, self-tests ----------------------------------------------------------------------

    def keep_releases(self, model: str, rows: list[tuple[str, str, str]]) -> None:
        """Keep what the catalog says: version, release time, `available` or `withdrawn`; known notes stay."""
        with transaction(self._db, self._path) as db:
            marks = ",".join("?" * len(rows))
            db.execute(
                f"DELETE FROM releases WHERE model = ? AND version NOT IN ({marks})",  # noqa: S608  only question marks
                (model, *(version for version, _, _ in rows)),
            )
            db.executemany(
                "INSERT INTO releases (model, version, released_at, state, notes) VALUES (?, ?, ?, ?, '{}') "
                "ON CONFLICT (model, version) DO UPDATE SET "
                "released_at = excluded.released_at, state = excluded.state",
                [(model, *row) for row in rows],
            )

    def keep_notes(self, model: str, version: str, notes: dict[str, str]) -> None:
        """Keep a release's notes, which its manifest holds, for the list of versions."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "UPDATE releases SET notes = ? WHERE model = ? AND version = ?",
                (msgspec.json.encode(notes).decode(), model, version),
            )

    def releases(self, model: str) -> list[tuple[str, str, str, dict[str, str]]]:
        """What the catalog said at the last check: version, release time, state, notes."""
        rows = self._db.execute("SELECT version, released_at, state, notes FROM releases WHERE model = ?", (model,))
        return [(version, at, state, self._decode(notes, dict[str, str])) for version, at, state, notes in rows]

    def rate(self, step: str) -> float | None:
        """Units per second of `step` on this device (bytes; tests in `testing`), or None before the first time."""
        row = self._db.execute("SELECT per_s FROM rates WHERE step = ?", (step,)).fetchone()
        return float(row[0]) if row else None

    def measured(self, step: str, per_s: float) -> None:
        """Blend a measured rate into the kept one: half old, half new."""
        known = self.rate(step)
        blended = per_s if known is None else (known + per_s) / 2
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO rates (step, per_s, measured_at) VALUES (?, ?, ?) ON CONFLICT (step) DO UPDATE SET "
                "per_s = excluded.per_s, measured_at = excluded.measured_at",
                (step, blended, self._now()),
            )

    def keep_self_test(self, model: str, slot: SlotId, record: bytes) -> None:
        """Keep a self-test record (JSON), and the last ones before it: an inconclusive test is repeated for days."""
        with transaction(self._db, self._path) as db:
            db.execute(
                "INSERT INTO self_tests (model, slot, at, record) VALUES (?, ?, ?, ?)",
                (model, slot.name, self._now(), record.decode()),
            )
            db.execute(
                "DELETE FROM self_tests WHERE model = ? AND seq NOT IN "
                "(SELECT seq FROM self_tests WHERE model = ? ORDER BY seq DESC LIMIT ?)",
                (model, model, SELF_TESTS_KEPT),
            )

    def self_tests(self, model: str) -> list[tuple[str, str, dict[str, Any]]]:
        """Self-test records of `model`, oldest first: slot, time, record."""
        rows = self._db.execute("SELECT slot, at, record FROM self_tests WHERE model = ? ORDER BY seq", (model,))
        return [(slot, at, self._decode(record, dict[str, Any])) for slot, at, record in rows]
