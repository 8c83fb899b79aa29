"""Giving a device the keys of a new epoch of its class, by a file, never in-band (`modelota device rekey`).

The keys change in one step: a reader finds the old ones or the new ones. Keys of earlier epochs stay: what was sealed
for them may be fetched at any time (a version to go back to, an update under way).
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from modelota.agent.enrol import membership_of, open_journal, read_enrolment
from modelota.agent.keys import store_named
from modelota.clock import Clock
from modelota.errors import AskPerson
from modelota.spec.enrolment import ClassKey
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout


class Rekeyed(msgspec.Struct, frozen=True, kw_only=True):
    """What a change of keys changed: epochs that are new, that were replaced, and all there are now."""

    added: tuple[int, ...]
    replaced: tuple[int, ...]
    epochs: tuple[int, ...]


def rekey(file: Path, root: Path, clock: Clock) -> Rekeyed:
    """Take over the class keys of the enrolment file `file`; whether an agent runs meanwhile does not matter.

    Interrupted at any point it can be done again. Nothing else of the file is taken over.

    Raises:
        AskPerson: `enrolment-invalid`, also for a file of another device class; `not-enrolled`, `root-of-other-user`,
            `root-not-private`, `keyring-unavailable`, `no-space`, `permission-denied`.
        TryLater: `disk-error`, `device-busy`.
    """
    enrolment = read_enrolment(file)
    layout = Layout.at(root)
    journal = open_journal(layout, clock)
    try:
        membership = membership_of(journal, layout.root)
        if enrolment.device_class != membership.device_class:
            raise AskPerson("enrolment-invalid", path=str(file), detail="other-class")
        disk = Disk((layout.root,), journal.ledger)
        store = store_named(membership.key_store, layout, disk)
        with _alone(layout):
            _remove_halves(layout, disk)
            known = {key.epoch: key for key in store.load()}
            merged = known | {key.epoch: key for key in enrolment.keys}
            result = Rekeyed(
                added=tuple(sorted(merged.keys() - known.keys())),
                replaced=tuple(sorted(epoch for epoch in known if merged[epoch] != known[epoch])),
                epochs=tuple(sorted(merged)),
            )
            if result.added or result.replaced:
                store.save(_ordered(merged))
            # also when nothing changed: the call before may have ended between the keys and this entry
            journal.note("", "keys-changed", msgspec.to_builtins(result))
    finally:
        journal.close()
    return result


def _ordered(keys: dict[int, ClassKey]) -> tuple[ClassKey, ...]:
    return tuple(keys[epoch] for epoch in sorted(keys))


def _remove_halves(layout: Layout, disk: Disk) -> None:
    """Remove what an interrupted change of keys left half written: it holds keys."""
    with disk_errors(layout.keys):
        halves = sorted(layout.keys.glob(".class-keys.json.*.tmp"))
    for path in halves:
        disk.remove(path)


@contextmanager
def _alone(layout: Layout) -> Iterator[None]:
    """Keep a second change of keys waiting: each reads what is there and writes the whole."""
    with disk_errors(layout.root):
        descriptor = os.open(layout.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)
