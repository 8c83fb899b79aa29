"""Slots go: what kept versions need of them is sealed first, then they are removed. Runs in the worker."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from modelota.agent.holdings import Holdings
from modelota.agent.installing import Report
from modelota.agent.journal import Journal
from modelota.spec.slot import SlotId
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout
from modelota.storage.slots import Slots


def keep_and_remove(
    layout: Layout,
    journal: Journal,
    holdings: Holdings,
    disk: Disk,
    model: str,
    *,
    keep: Collection[SlotId],
    seal: Collection[SlotId],
    report: Report,
) -> dict[str, Any]:
    """Empty staging, keep the chunks of `seal` sealed, remove every slot that is not in `keep` (requirement 7.2-b).

    Can be repeated after an interruption at any point: nothing that `seal` needs goes before its copy is durable.

    Args:
        layout: of the device root.
        journal: of the root; must still know the slots of `seal`.
        holdings: of the root.
        disk: the writer.
        model: which.
        keep: slots that stay.
        seal: versions that lose, or lost, their slots and can be gone back to without fetching; latest first.
        report: told how far sealing is.

    Returns:
        `removed`: names of the slots that went; `lost_chunks`: how many chunks could not be kept.

    Raises:
        AskPerson: `permission-denied`.
        TryLater: `disk-error`.
    """
    own = layout.model(model)
    disk.remove(own.staging)
    lost = holdings.keep(model, keep, seal, report)
    names = {slot.name for slot in keep}
    slots = Slots(own, disk)
    gone = [name for name in slots.found() if name not in names]
    for name in gone:
        disk.remove(own.slots / name)
    if lost:
        journal.note(model, "kept-incomplete", {"lost_chunks": len(lost)})
    return {"removed": gone, "lost_chunks": len(lost)}
