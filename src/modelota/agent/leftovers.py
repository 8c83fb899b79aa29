"""Removing what an operation left, where nothing has to be sealed first. Light: the supervisor does it itself."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from modelota.agent.journal import Journal
from modelota.clock import Clock
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.slots import Slots


def remove_leftovers(root_layout: Layout, model: str, keep: Collection[str], clock: Clock) -> None:
    """Empty staging and remove every slot whose name is not in `keep` (requirement 7.2-b).

    Meant for a thread: it opens a database connection of its own.

    Raises:
        AskPerson: `permission-denied`.
        TryLater: `disk-error`.
    """
    journal = Journal(root_layout.database, clock)
    try:
        disk = Disk((root_layout.root, root_layout.runtime_directory), journal.ledger)
        layout = root_layout.model(model)
        disk.remove(layout.staging)
        for name in Slots(layout, disk).found():
            if name not in keep:
                disk.remove(layout.slots / name)
    finally:
        journal.close()


def remove_cut_short(journal: Journal, disk: Disk, directory: Path) -> None:
    """Remove what a killed worker left half written in `directory`; nobody writes there between operations."""
    place = directory.resolve()
    for left in journal.ledger.temporaries():
        if left.parent == place:
            disk.remove(left)
