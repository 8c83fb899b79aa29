"""Removing the agent itself (clause 7.3.2): plan, confirmation, record on disk, removal, proof.

It runs in the command's own process, with the root's lock. What a later cleaning needs is in a file outside the root,
flushed, before anything is removed; ended at any moment, the same call with the same file goes on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import ClassVar

import msgspec

from modelota.agent.cleaning import removing, scanning
from modelota.agent.cleaning.knowledge import (
    RECORD_MAX_BYTES,
    CleaningRecord,
    RecordedRow,
    record_of,
)
from modelota.agent.cleaning.plan import path_text
from modelota.agent.cleaning.system import System
from modelota.agent.enrol import open_journal
from modelota.agent.journal import Journal
from modelota.agent.leaving_plan import LeavingPlanner, known_rows, set_up_at
from modelota.agent.machine import step
from modelota.agent.records import LedgerRow
from modelota.agent.service import UNIT, Systemd, remove_rows, service_rows, systemd_of
from modelota.agent.states import MachineEvent, RemovalAsked, Removed
from modelota.agent.uninstalling import Uninstaller
from modelota.clock import Clock, iso
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.spec import document
from modelota.spec.leaving import LeavingItem, LeavingPlan, LeavingProof, LeftItem
from modelota.spec.removal import RemovalPlan
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.lock import RootLock
from modelota.storage.space import allocated_bytes


class LeavingRecord(CleaningRecord, kw_only=True, frozen=True):
    """The file: a record that a later cleaning accepts, what was agreed to, and, at the end, the proof.

    Attributes:
        plan: what was confirmed.
        confirmed_by, confirmed_at: who, and when.
        proof: None until everything is done.
    """

    NAME: ClassVar[str] = CleaningRecord.NAME

    plan: LeavingPlan
    confirmed_by: str
    confirmed_at: str
    proof: LeavingProof | None = None


class Leaving:
    """Removes the agent of one device root.

    Args:
        root: of the device.
        clock: the time.
        system: the system, for what lies outside the root.
        systemd: which one services belong to; None: the real one.
    """

    def __init__(
        self, root: Path, clock: Clock, *, system: System | None = None, systemd: Systemd | None = None
    ) -> None:
        self._layout = Layout.at(root)
        self._clock = clock
        self._system = system or System()
        self._systemd = systemd
        self._planner = LeavingPlanner(self._layout, clock, self._system)

    # -- before -------------------------------------------------------------------------------------------------------

    def plan(self) -> LeavingPlan:
        """What would be removed; changes nothing but that the plans of models are kept.

        Raises:
            AskPerson: `not-enrolled`, `root-of-other-user`; `update-in-progress`: it has to end first;
                `service-installed`: its unit can be removed only with more rights.
            TryLater: `device-busy`: an agent runs that no service of ours started; `disk-error`.
        """
        journal = open_journal(self._layout, self._clock)
        try:
            if not service_rows(journal.records.ledger_rows()):
                RootLock(self._layout.lock).release()
            return self._planner.plan(journal)
        finally:
            journal.close()

    def unfinished(self, file: Path) -> LeavingRecord | None:
        """The record in `file`, when it is that of a removal of this root: interrupted, or just done.

        Raises:
            AskPerson: `file-exists`: it is anything else; `argument-invalid`: it is no place for the record.
        """
        file = file.absolute()
        inside = any(place in file.parents for place in (self._layout.root, self._layout.runtime_directory))
        if inside or not file.parent.is_dir():
            raise AskPerson("argument-invalid", argument="--proof", detail="inside-root" if inside else "no-directory")
        if not os.path.lexists(file):
            return None
        with disk_errors(file), file.open("rb") as opened:
            data = opened.read(RECORD_MAX_BYTES + 1)
        try:
            record = document.read(data, LeavingRecord, RECORD_MAX_BYTES)
        except RefuseContent as error:
            raise AskPerson("file-exists", path=str(file)) from error
        if record.plan.root != str(self._layout.root):
            raise AskPerson("file-exists", path=str(file))
        if self._layout.database.exists():
            journal = open_journal(self._layout, self._clock)
            try:
                if set_up_at(journal) != record.plan.set_up_at or record.proof is not None:
                    raise AskPerson("file-exists", path=str(file))
            finally:
                journal.close()
        return record

    # -- doing it -----------------------------------------------------------------------------------------------------

    def begin(self, file: Path, digest: str, authority: str) -> LeavingRecord:
        """Stop the service, see that the plan still holds, and put the record where it outlives the agent.

        Raises:
            AskPerson: `plan-changed`; as `plan` and `unfinished`.
            TryLater: as `plan`.
        """
        journal = open_journal(self._layout, self._clock)
        stopped: list[tuple[Systemd, str]] = []
        try:
            rows = service_rows(journal.records.ledger_rows())
            for unit in (Path(row.path) for row in rows if row.kind == UNIT):
                used = self._systemd or systemd_of(unit, rows)
                stopped.append((used, unit.name))
                used.tell("stop", unit.name)
            lock = RootLock(self._layout.lock)
            try:
                plan = self._planner.plan(journal)
                if plan.digest != digest:
                    raise AskPerson("plan-changed", digest=digest[:64], now=plan.digest)
                record = self._record(journal, plan, authority)
                _write(file, record)
                stopped.clear()
            finally:
                lock.release()
        finally:
            journal.close()
            for used, name in stopped:
                used.tell("start", name)
        return record

    def finish(self, file: Path, record: LeavingRecord) -> LeavingProof:
        """Remove everything that the record's plan lists, and add the proof to the file.

        Raises:
            AskPerson: `permission-denied`, `service-changed`, `service-command-failed`.
            TryLater: `disk-error`, `device-busy`.
        """
        if record.proof is not None:
            return record.proof
        began_at = iso(self._clock.now())
        plan = record.plan
        done: list[LeftItem] = []
        rows = tuple(LedgerRow(row.path, row.kind, row.digest) for row in record.ledger)
        there = {item.path for item in plan.items if os.path.lexists(item.path)}
        taken = self._remove_services(rows)
        lock = RootLock(self._layout.lock) if self._layout.root.is_dir() else None
        try:
            for removal in plan.models:
                done += self._uninstall(removal)
            places = [self._layout.root, *(Path(item.path) for item in plan.items)]
            disk = Disk(places, NoLedger())
            done += [_removed(item, disk, self._layout.root, was_there=item.path in there) for item in plan.items]
        finally:
            if lock is not None:
                lock.release()
        done += self._remove_outside(rows, plan.outside, taken)
        proof = LeavingProof(
            plan_digest=plan.digest, items=tuple(done), began_at=began_at, ended_at=iso(self._clock.now())
        )
        _write(file, msgspec.structs.replace(record, proof=proof))
        return proof

    def _record(self, journal: Journal, plan: LeavingPlan, authority: str) -> LeavingRecord:
        known = record_of(self._layout, journal)
        fields = {name: getattr(known, name) for name in CleaningRecord.__struct_fields__}
        fields["ledger"] = tuple(
            RecordedRow(path=row.path, kind=row.kind, digest=row.digest) for row in known_rows(journal, self._layout)
        )
        return LeavingRecord(**fields, plan=plan, confirmed_by=authority, confirmed_at=iso(self._clock.now()))

    # -- removing -----------------------------------------------------------------------------------------------------

    def _own_disk(self) -> Disk:
        return Disk((self._layout.root, self._layout.runtime_directory), NoLedger())

    def _remove_services(self, rows: tuple[LedgerRow, ...]) -> frozenset[str]:
        services = service_rows(rows)
        if not services:
            return frozenset()
        disk = Disk([Path(row.path).parent for row in services], NoLedger())
        return frozenset(path_text(str(path)) for path in remove_rows(services, disk, self._systemd))

    def _uninstall(self, plan: RemovalPlan) -> list[LeftItem]:
        """Uninstall a model by the journal, as long as that is there; after it, nothing of the model is."""
        digest = plan.identity
        if not self._layout.database.exists():
            return [LeftItem(path=each.path, kind=each.kind, size_bytes=0, result="gone") for each in plan.items]
        journal = open_journal(self._layout, self._clock)
        try:
            asked = RemovalAsked(plan_digest=digest, authority="remove-agent", channel="terminal", reason=plan.reason)
            self._post(journal, plan.model, asked)
            uninstaller = Uninstaller(self._layout, journal, self._own_disk(), self._clock)
            proof = uninstaller.remove(plan.model, digest, _unreported)
            self._post(journal, plan.model, Removed(at=iso(self._clock.now())))
        finally:
            journal.close()
        return [
            LeftItem(path=each.path, kind=each.kind, size_bytes=each.size_bytes, result=each.result)
            for each in proof.items
        ]

    def _post(self, journal: Journal, model: str, event: MachineEvent) -> None:
        """Have the journal tell the truth at every moment, in case nobody carries this through."""
        before = journal.state(model)
        after, _ = step(before, event, iso(self._clock.now()))
        if after != before:
            journal.commit(model, event, before, after)

    def _remove_outside(
        self, rows: tuple[LedgerRow, ...], planned: tuple[LeavingItem, ...], taken: frozenset[str]
    ) -> list[LeftItem]:
        found = scanning.scan(self._planner.outside(rows), self._system, deep=False)
        proof = removing.apply(found, (), self._system)
        results = {each.path: each for each in proof.removals}
        done = []
        for item in planned:
            removal = results.get(item.path)
            if removal is not None and removal.reason == "disk-error":  # it may get better: no proof before it did
                raise TryLater("disk-error", path=item.path, detail="not removed")
            if removal is not None and removal.reason in {"permission-denied", "read-only"}:
                raise AskPerson("permission-denied", path=item.path)
            if removal is None or item.path in taken:
                result = "removed" if item.path in taken else "gone"
                done.append(_left(item, result))
            else:
                done.append(_left(item, removal.result, removal.reason))
        return done


def _removed(item: LeavingItem, disk: Disk, root: Path, *, was_there: bool) -> LeftItem:
    path = Path(item.path)
    if not os.path.lexists(path):  # what is left of the models' directories goes with the last of them
        return _left(item, "removed" if was_there else "gone")
    if path == root:
        with disk_errors(root):
            if any(root.iterdir()):
                return _left(item, "refused", "not-empty")
    size_bytes = allocated_bytes(path)
    if item.kind == "database":
        for suffix in ("-wal", "-shm"):
            disk.remove(path.with_name(f"{path.name}{suffix}"))
    disk.remove(path)
    return LeftItem(path=item.path, kind=item.kind, size_bytes=size_bytes, result="removed")


def _left(item: LeavingItem, result: str, reason: str | None = None) -> LeftItem:
    return msgspec.convert(
        {"path": item.path, "kind": item.kind, "size_bytes": item.size_bytes, "result": result, "reason": reason},
        LeftItem,
    )


def _write(file: Path, record: LeavingRecord) -> None:
    """Write the file, atomically and flushed: it is all that is left of the agent."""
    Disk((file.absolute().parent,), NoLedger()).write_file(file.absolute(), document.canonical(record), mode=0o600)


def _unreported(_: int, __: int | None) -> None:
    """Removing takes no time worth telling."""
