"""Slots: one directory per installed version and variant, and the `current` link that says which is in use.

A slot holds `files/` (the release, read-only), and its own `cache/` and `log/` (requirement 6.4-b); the engine's socket
lies in the runtime directory under the slot's name. A slot directory is never adopted because it exists: the agent's
database says which slots there are and what their files must be. Copies of that description and of the manifest lie in
the slot, for the day the database can't be read: what `current` names is then verified by them and served.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

import msgspec

from modelota.errors import ModelotaError
from modelota.spec import names
from modelota.spec.limits import MANIFEST_MAX_BYTES, MIB
from modelota.spec.slot import SlotDescription, SlotId
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import ModelLayout

DESCRIPTION: Final = "slot.json"
MANIFEST: Final = "manifest.json"
DESCRIPTION_MAX_BYTES: Final = 16 * MIB


class Slots:
    """The slot directories of one model."""

    def __init__(self, layout: ModelLayout, disk: Disk) -> None:
        self._layout = layout
        self._disk = disk

    def directory(self, slot: SlotId) -> Path:
        """Where `slot` lies."""
        return self._layout.slot(slot.name)

    def file(self, slot: SlotId, path: str) -> Path:
        """Where a file of `slot` lies."""
        return self.directory(slot) / "files" / names.safe_path(path)

    def current(self) -> SlotId | None:
        """The slot that the `current` link names; None without a link, or when it names no slot of ours."""
        with disk_errors(self._layout.current):
            try:
                target = self._layout.current.readlink()
            except (FileNotFoundError, OSError) as error:
                if isinstance(error, FileNotFoundError) or error.errno == 22:  # EINVAL: not a link
                    return None
                raise
        if target.parent != Path("slots"):
            return None
        try:
            return SlotId.parse(target.name)
        except ModelotaError:  # whoever asks then points it where it belongs
            return None

    def switch(self, slot: SlotId) -> None:
        """Make `slot` the current one: the commit point of an update.

        Raises:
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        self._disk.switch_link(self._layout.current, f"slots/{slot.name}")

    def clear_current(self) -> None:
        """Remove the `current` link."""
        self._disk.remove(self._layout.current)

    def seal(self, assembled: Path, slot: SlotId) -> None:
        """Give a complete, verified directory its final place; a damaged slot there goes in the same step."""
        self._disk.make_directory(self._layout.slots)
        place = self.directory(slot)
        if place.exists():
            self._disk.exchange(assembled, place, kind="slot")
            self._disk.remove(assembled)
        else:
            self._disk.rename(assembled, place, kind="slot")

    def keep_description(
        self, description: SlotDescription, manifest: bytes | None, directory: Path | None = None
    ) -> None:
        """Keep copies of a slot's description and manifest in it, if it is there, or in the directory that becomes it.

        Args:
            description: of the slot.
            manifest: the bytes that its digest is of; None when they are not at hand.
            directory: of a slot that has not got its place yet.
        """
        directory = directory or self.directory(description.slot)
        for name, data in ((DESCRIPTION, msgspec.json.encode(description)), (MANIFEST, manifest)):
            path = directory / name
            with disk_errors(path):
                known = path.read_bytes() if data is not None and path.is_file() else None
            if data is not None and data != known and directory.is_dir():
                for left in directory.glob(f".{name}.*.tmp"):  # by a kill; it would get its place with the slot
                    self._disk.remove(left)
                self._disk.write_file(path, data, mode=0o400, kind="slot description")

    def kept_manifest(self, description: SlotDescription) -> bytes | None:
        """The manifest that lies in a slot; None when there is none, or it is not the one of the description."""
        try:
            with (self.directory(description.slot) / MANIFEST).open("rb") as file:
                data = file.read(MANIFEST_MAX_BYTES)
        except OSError:
            return None
        return data if hashlib.sha256(data).hexdigest() == description.manifest_digest else None

    def kept_description(self, slot: SlotId) -> SlotDescription | None:
        """The copy that lies in a slot; None when there is none, or it is not of this slot."""
        path = self.directory(slot) / DESCRIPTION
        try:
            with path.open("rb") as file:
                found = msgspec.json.decode(file.read(DESCRIPTION_MAX_BYTES), type=SlotDescription)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return found if found.slot == slot else None

    def described(self) -> tuple[SlotDescription, ...]:
        """What the slots that are there say of themselves."""
        found = []
        for name in self.found():
            try:
                description = self.kept_description(SlotId.parse(name))
            except ModelotaError:  # not a slot's name
                continue
            if description is not None:
                found.append(description)
        return tuple(found)

    def remove(self, slot: SlotId) -> None:
        """Remove a slot's directory."""
        self._disk.remove(self.directory(slot))

    def found(self) -> tuple[str, ...]:
        """Names in the slots directory, ours or not."""
        if not self._layout.slots.is_dir():
            return ()
        with disk_errors(self._layout.slots):
            return tuple(sorted(entry.name for entry in self._layout.slots.iterdir()))

    def missing_files(self, description: SlotDescription) -> tuple[str, ...]:
        """Paths of files that are missing or have the wrong size; a cheap look, not a verification."""
        wrong = []
        for file in description.files:
            try:
                information = self.file(description.slot, file.path).lstat()
            except OSError:
                wrong.append(file.path)
                continue
            if information.st_size != file.size_bytes:
                wrong.append(file.path)
        return tuple(wrong)
