"""Keeping the anchors of a slot's files when it is deployed, and tagging them: what cleaning knows them by later."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from modelota.agent.journal import Journal
from modelota.agent.records import AnchorRow
from modelota.content.anchors import AnchorMaker
from modelota.content.digest import Digester
from modelota.spec import names
from modelota.spec.limits import MIB
from modelota.spec.slot import SlotDescription
from modelota.storage.durable import Disk, disk_errors

TAG: Final = "user.modelota"  # a hint only: it gets lost in most ways of copying, and anyone can set it
_BUFFER_BYTES: Final = 4 * MIB


def keep_anchors(journal: Journal, slot: SlotDescription, files: Path, disk: Disk) -> None:
    """Keep the anchors of every file of a slot as it lies on the disk (sealed, where the slot is), and tag it.

    They stay when the slot goes. Memory: one buffer and at most 4 MiB of anchors.

    Args:
        journal: of the root.
        slot: that is about to be registered.
        files: the directory of its files.
        disk: the writer.

    Raises:
        AskPerson: `no-space`, `permission-denied`, `database-unreadable`.
        TryLater: `disk-error`, `device-busy`.
    """
    buffer = memoryview(bytearray(_BUFFER_BYTES))
    for file in slot.files:
        path = files / names.safe_path(file.path)
        digester = Digester()
        with disk_errors(path), path.open("rb", buffering=0) as content:
            maker = AnchorMaker(path.stat().st_size)
            while count := content.readinto(buffer):
                maker.update(buffer[:count])
                digester.update(buffer[:count])
        anchors = maker.finish(digester.hexdigest())
        row = AnchorRow(
            slot.model,
            slot.slot.version,
            slot.slot.variant,
            file.path,
            anchors.size_bytes,
            anchors.digest,
            anchors.head,
            anchors.stride_blocks,
            anchors.blocks,
        )
        journal.records.keep_anchors([row])
        disk.tag(path, TAG, anchors.digest.encode())
