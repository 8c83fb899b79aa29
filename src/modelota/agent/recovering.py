"""Setting a device up anew whose database can't be read, with the versions that lie on it (`modelota device recover`).

The damaged database is kept beside the new one, never changed. A version is taken over only when its slot describes
itself and every file has its digest; what `current` names stays in use. What the database alone knew is lost: the
journal, decisions, versions that failed here or were skipped, and how new the newest metadata was that this device saw.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from modelota.agent.enrol import Membership, enrol, membership_of, open_journal
from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret, slot_secret
from modelota.agent.states import Restarted, State
from modelota.clock import Clock, iso
from modelota.content.digest import Digester, digest_file
from modelota.content.local_seal import SealedReader
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.slot import SlotDescription, SlotId
from modelota.spec.version import Version
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.lock import RootLock
from modelota.storage.sealed_file import object_id
from modelota.storage.slots import Slots

_OF_SQLITE: Final = ("-wal", "-shm")


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What of a model can be taken over.

    Attributes:
        model: its name.
        current: the slot in use, or None when it is damaged or describes nothing.
        slots: every slot that is whole.
    """

    model: str
    current: SlotId | None
    slots: tuple[SlotDescription, ...]


class Recovery(msgspec.Struct, frozen=True, kw_only=True):
    """What was done, or would be: `kept_as` is where the damaged database went, None before it is done."""

    found: tuple[Found, ...]
    kept_as: str | None = None


def plan(root: Path, clock: Clock) -> Recovery:
    """What `recover` would take over. Reads every file of every slot; changes nothing.

    Raises:
        AskPerson: `nothing-to-recover`: the database is sound, or nothing was ever set up here; `database-newer`.
        TryLater: `device-busy`: the agent runs.
    """
    layout = Layout.at(root)
    lock = RootLock(layout.lock)
    try:
        _require_unreadable(layout, clock)
        return Recovery(found=_look(layout))
    finally:
        lock.release()


def recover(enrolment: Path, root: Path, clock: Clock) -> Recovery:
    """Keep the damaged database aside, set the root up from `enrolment`, and take over the versions that are whole.

    Interrupted at any point it can be done again.

    Raises:
        AskPerson: as `plan` and `enrol`.
        TryLater: `device-busy`, `disk-error`.
    """
    layout = Layout.at(root)
    lock = RootLock(layout.lock)
    try:
        _require_unreadable(layout, clock)
        found = _look(layout)
        kept_as = _set_aside(layout, clock)
    finally:
        lock.release()
    membership = enrol(enrolment, layout.root, clock)
    lock = RootLock(layout.lock)
    try:
        journal = open_journal(layout, clock)
        try:
            _take_over(layout, journal, membership, found)
        finally:
            journal.close()
    finally:
        lock.release()
    return Recovery(found=found, kept_as=kept_as)


def _require_unreadable(layout: Layout, clock: Clock) -> None:
    if layout.database.exists():
        try:
            journal = open_journal(layout, clock)
            try:
                for model in membership_of(journal, layout.root).models:
                    journal.state(model)
            finally:
                journal.close()
        except ModelotaError as error:
            if error.code not in {"database-unreadable", "not-enrolled"}:
                raise
            return
    elif (layout.root / "models").is_dir():
        return
    raise AskPerson("nothing-to-recover", path=str(layout.root))


def _look(layout: Layout) -> tuple[Found, ...]:
    disk = Disk((layout.root,), NoLedger())
    found = []
    for directory in sorted((layout.root / "models").glob("*/*")):
        model = f"{directory.parent.name}/{directory.name}"
        slots = Slots(layout.model(model), disk)
        whole = tuple(
            description
            for description in slots.described()
            if description.model == model and _is_whole(layout, slots, disk, description)
        )
        current = slots.current()
        named = current if any(description.slot == current for description in whole) else None
        if whole:
            found.append(Found(model=model, current=named, slots=whole))
    return tuple(found)


def _is_whole(layout: Layout, slots: Slots, disk: Disk, description: SlotDescription) -> bool:
    secret = None
    if description.at_rest == "sealed":
        if not layout.seal_secret.exists():  # looking makes none
            return False
        secret = slot_secret(local_secret(layout, disk), description.model, description.slot)
    for file in description.files:
        try:
            path = slots.file(description.slot, file.path)
            digest = digest_file(path) if secret is None else _sealed_digest(path, secret, file.digest, file.size_bytes)
        except (OSError, RefuseContent):
            return False
        if digest != (file.digest, file.size_bytes):
            return False
    return True


def _sealed_digest(path: Path, secret: bytes, digest: str, size_bytes: int) -> tuple[str, int]:
    digester = Digester()
    with path.open("rb") as file:
        for plain in SealedReader(file.fileno(), secret, object_id(digest), size_bytes).frames():
            digester.update(plain)
    return digester.hexdigest(), digester.size_bytes


def _set_aside(layout: Layout, clock: Clock) -> str | None:
    """Give the damaged database, and what SQLite keeps beside it, other names; None when there is none."""
    disk = Disk((layout.root,), NoLedger())
    stamp = iso(clock.now()).replace(":", "").replace("-", "")
    kept = layout.database.with_name(f"{layout.database.name}.unreadable-{stamp}")
    # the database last: until it is gone, this can be done again
    for suffix in (*_OF_SQLITE, ""):
        path = layout.database.with_name(f"{layout.database.name}{suffix}")
        with disk_errors(path):
            there = path.exists()
        if there:
            disk.rename(path, kept.with_name(f"{kept.name}{suffix}"), kind="kept database")
    return str(kept) if kept.exists() else None


def _take_over(layout: Layout, journal: Journal, membership: Membership, found: tuple[Found, ...]) -> None:
    for kept in sorted(layout.root.glob(f"{layout.database.name}.unreadable-*")):
        journal.ledger.will_create(kept, "kept database")
    for model in found:
        if model.model not in membership.models:
            continue
        paths = layout.model(model.model)
        slots = Slots(paths, Disk((layout.root,), journal.ledger))
        for directory in (paths.directory.parent.parent, paths.directory.parent, paths.directory, paths.slots):
            journal.ledger.will_create(directory, "directory")
        for description in model.slots:
            journal.ledger.will_create(slots.directory(description.slot), "slot")
            journal.register_slot(description)
            manifest = slots.kept_manifest(description)
            if manifest is not None:
                journal.keep_manifest(description.manifest_digest, model.model, description.slot.version, manifest)
        journal.ledger.will_create(paths.current, "link")
        names = sorted((one.slot for one in model.slots), key=lambda slot: Version.parse(slot.version))
        others = [slot for slot in names if slot != model.current]
        previous = others[-1] if others and model.current is not None else None
        kept_slots = tuple(slot for slot in (previous, model.current) if slot is not None)
        state = State(current=model.current, previous=previous, slots=kept_slots)
        journal.note(model.model, "recovered", {"versions": [slot.version for slot in kept_slots]})
        journal.commit(model.model, Restarted(), State(), state)
