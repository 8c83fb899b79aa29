"""What opens a slot to an engine besides its files: the secret of a sealed one, the stamps of a verified one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from modelota.agent.journal import Journal
from modelota.agent.local_secret import local_secret, slot_secret
from modelota.agent.verified import VerifiedRow, boot_id
from modelota.runtime.protocol import FileStamp, SlotSecret
from modelota.spec.slot import SlotDescription
from modelota.storage.durable import Disk
from modelota.storage.layout import Layout

# A file is known by its path and by the digest that it was verified against.
_Stamps = dict[str, tuple[str, FileStamp]]


class SlotAccess:
    """Access to the slots of one device root.

    Args:
        layout: of the root.
        journal: of the root.
        disk: the writer.
    """

    def __init__(self, layout: Layout, journal: Journal, disk: Disk) -> None:
        self._layout: Final = layout
        self._journal: Final = journal
        self._disk: Final = disk

    def secret(self, slot: SlotDescription) -> SlotSecret | None:
        """What a sealed slot's files are opened with; None for a plain one.

        Raises:
            AskPerson: `root-not-private`, `permission-denied`, `no-space`.
            TryLater: `disk-error`.
        """
        if slot.at_rest != "sealed":
            return None
        return SlotSecret(slot_secret(local_secret(self._layout, self._disk), slot.model, slot.slot))

    def stamps(self, slot: SlotDescription) -> Mapping[str, FileStamp]:
        """Stamps by path below the slot, from its verification since this system was started; else none."""
        row = self._journal.verified.last(slot.model, slot.slot)
        if row is None or row.boot_id != boot_id():
            return {}
        try:
            stamps = msgspec.json.decode(row.stamp, type=_Stamps)
        except msgspec.MsgspecError:  # then it counts as not verified
            return {}
        digests = {file.path: file.digest for file in slot.files}
        return {path: stamp for path, (digest, stamp) in stamps.items() if digests.get(path) == digest}

    def note(self, slot: SlotDescription, stamps: Mapping[str, FileStamp]) -> None:
        """Note what an engine's process reported of a slot's files.

        Args:
            slot: that the engine runs.
            stamps: by absolute path, of the files it verified or found unchanged.

        Raises:
            ModelotaError: the database can't be written; the slot is then verified again at its next start.
        """
        now = boot_id()
        files = self._layout.model(slot.model).slot(slot.slot.name) / "files"
        found: _Stamps = {
            file.path: (file.digest, stamps[str(files / file.path)])
            for file in slot.files
            if str(files / file.path) in stamps
        }
        known = self.stamps(slot)
        if now is not None and found and {path: stamp for path, (_, stamp) in found.items()} != known:
            self._journal.verified.note(slot.model, slot.slot, VerifiedRow(now, msgspec.json.encode(found).decode()))
