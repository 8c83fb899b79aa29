"""Enrolment: a device root is made from an enrolment file, once (`modelota device init`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import msgspec

from modelota.agent.config import read_config
from modelota.agent.journal import Journal
from modelota.agent.keys import choose_store, keyring_entry, store_named
from modelota.clock import Clock
from modelota.errors import AskPerson
from modelota.spec.enrolment import ClassKey, Enrolment, parse_enrolment
from modelota.spec.limits import ENROLMENT_MAX_BYTES
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.storage.lock import RootLock
from modelota.storage.owner import require_owner

FACT: Final = "enrolment"
_SEED: Final = "seed"


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """What a device root keeps of its enrolment; the keys are in the key store.

    Attributes:
        url: of the repository.
        models: which models the device may install.
        device_class: kind of device.
        device_model: as manifests name it.
        key_store: `file` or `keyring`.
        anchor: the trusted TUF root metadata.
    """

    url: str
    models: tuple[str, ...]
    device_class: str
    device_model: str
    key_store: str
    anchor: bytes


class Seed(msgspec.Struct, frozen=True, kw_only=True):
    """What an image knows of where its first version came from: the model, and the root metadata it was checked by."""

    model: str
    anchor: bytes


def keep_seed(journal: Journal, seed: Seed) -> None:
    """Keep where the first version of an image came from."""
    journal.set_fact(_SEED, msgspec.json.encode(seed))


def _check_seed(journal: Journal, enrolment: Enrolment, file: Path) -> None:
    """Check that a version that came with the device is of the repository and for the models of `enrolment`.

    Raises:
        AskPerson: `enrolment-invalid`, `root-untrusted`.
    """
    data = journal.fact(_SEED)
    if data is None:
        return
    seed = msgspec.json.decode(data, type=Seed)
    if seed.model not in enrolment.models:
        raise AskPerson("enrolment-invalid", path=str(file), detail="other-seed")
    if not _root_keys(seed.anchor.decode()) & _root_keys(enrolment.root):
        raise AskPerson("root-untrusted", detail="other-repository")


def _root_keys(anchor: str) -> frozenset[str]:
    """The keys that sign for the root role; roots of one repository that changed all of them at once share none."""
    try:
        return frozenset(json.loads(anchor)["signed"]["roles"]["root"]["keyids"])
    except (ValueError, KeyError, TypeError) as error:
        raise AskPerson("root-untrusted", detail="not TUF metadata") from error


def read_enrolment(file: Path) -> Enrolment:
    """Read an enrolment file.

    Raises:
        AskPerson: `enrolment-invalid`.
    """
    try:
        with file.open("rb") as opened:
            data = opened.read(ENROLMENT_MAX_BYTES + 1)
    except OSError as error:
        raise AskPerson("enrolment-invalid", path=str(file), detail=error.strerror or "unreadable") from error
    return parse_enrolment(data, str(file))


def enrol(file: Path, root: Path, clock: Clock) -> Membership:
    """Make `root` a device root from the enrolment file `file`.

    Raises:
        AskPerson: `enrolment-invalid`, `already-enrolled`, `root-untrusted`, `permission-denied`, `no-space`,
            `config-invalid`, `keyring-unavailable`.
        TryLater: `device-busy`.
    """
    enrolment = read_enrolment(file)
    check_anchor(enrolment.root)
    layout = Layout(root)
    missing = [folder for folder in (root, *root.absolute().parents) if not folder.exists()]
    Disk((missing[-1] if missing else root,), NoLedger()).make_directory(root, mode=0o700)
    config = read_config(layout.config)
    lock = RootLock(layout.lock)
    try:
        journal = Journal(layout.database, clock)
        try:
            if journal.fact(FACT) is not None:
                raise AskPerson("already-enrolled", path=str(root))
            _check_seed(journal, enrolment, file)
            own = [*missing, root]  # the database that remembers them could not exist before them
            for path, kind in (
                *((folder, "root") for folder in own),
                (layout.database, "database"),
                (layout.lock, "lock"),
            ):
                journal.ledger.will_create(path, kind)
            own_disk = Disk((root, layout.runtime_directory), journal.ledger)
            store = choose_store(config.keys.store, layout, own_disk)
            if store.name == "keyring":
                journal.ledger.will_write(keyring_entry(layout), "keyring entry", None)
            store.save(enrolment.keys)
            membership = Membership(
                url=enrolment.url,
                models=enrolment.models,
                device_class=enrolment.device_class,
                device_model=enrolment.device_model,
                key_store=store.name,
                anchor=enrolment.root.encode(),
            )
            journal.set_fact(FACT, msgspec.json.encode(membership))
            journal.note("", "enrolled", {"url": enrolment.url, "device_class": enrolment.device_class})
        finally:
            journal.close()
    finally:
        lock.release()
    return membership


def check_anchor(text: str) -> None:
    """Check that the trust anchor looks like TUF root metadata; its signatures are checked when it is used.

    Raises:
        AskPerson: `root-untrusted`.
    """
    try:
        kind = json.loads(text)["signed"]["_type"]
    except (ValueError, KeyError, TypeError) as error:
        raise AskPerson("root-untrusted", detail="not TUF metadata") from error
    if kind != "root":
        raise AskPerson("root-untrusted", detail=f"metadata of role {kind!s:.40}")


def membership_of(journal: Journal, root: Path) -> Membership:
    """The enrolment of an opened root.

    Raises:
        AskPerson: `not-enrolled`, `database-unreadable`.
    """
    data = journal.fact(FACT)
    if data is None:
        raise AskPerson("not-enrolled", path=str(root))
    try:
        return msgspec.json.decode(data, type=Membership)
    except msgspec.MsgspecError as error:
        raise AskPerson("database-unreadable", path=str(Layout(root).database), detail=str(error)[:200]) from error


def open_journal(layout: Layout, clock: Clock) -> Journal:
    """Open the database of an existing root.

    Raises:
        AskPerson: `not-enrolled` when there is none, `root-of-other-user`, `root-not-private`, `database-unreadable`,
            `database-newer`.
    """
    require_owner(layout.root)
    with disk_errors(layout.root):
        if not layout.database.exists():
            raise AskPerson("not-enrolled", path=str(layout.root))
        mode = layout.root.stat().st_mode & 0o777
    if mode & 0o022:
        raise AskPerson("root-not-private", path=str(layout.root), mode=oct(mode))
    return Journal(layout.database, clock)


def class_keys(membership: Membership, layout: Layout, disk: Disk) -> tuple[ClassKey, ...]:
    """The class keys of this device.

    Raises:
        AskPerson: `not-enrolled`, `root-not-private`, `keyring-unavailable`.
    """
    return store_named(membership.key_store, layout, disk).load()


def owner_uid(layout: Layout) -> int:
    """The user that a device root belongs to."""
    with disk_errors(layout.root):
        return layout.root.stat().st_uid
