"""Files that the agent keeps outside its root: a service's unit, an entry of a desktop's autostart.

The ledger knows of each before it is there, with the digest of its content: so it is known as ours later, and what
somebody changed is left to them. Every step can be repeated; ended at any moment, the next call, or a cleaning, goes
on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from modelota.agent.journal import Journal
from modelota.content.digest import digest_bytes
from modelota.errors import AskPerson
from modelota.storage.durable import Disk, disk_errors


class Kinds(NamedTuple):
    """What the ledger calls a file, a link and a directory of one purpose."""

    file: str
    link: str
    folder: str


class OutsideWriter:
    """Writes outside the root; the ledger knows of it first.

    Args:
        journal: has the ledger.
        directory: below which it writes; it may be missing.
        kinds: what the ledger calls what is written.
    """

    def __init__(self, journal: Journal, directory: Path, kinds: Kinds) -> None:
        self._journal = journal
        self._kinds = kinds
        self._rows = {row.path: row for row in journal.records.ledger_rows()}
        with disk_errors(directory):
            missing = [folder for folder in (directory, *directory.parents) if not folder.exists()]
        self._disk = Disk((missing[-1] if missing else directory,), journal.ledger)

    def _place(self, path: Path) -> str:
        return str(path.parent.resolve() / path.name)

    def _make_directory(self, directory: Path) -> None:
        """Make a directory of somebody else's; what the agent made itself goes again when it is empty."""
        for folder in reversed([candidate for candidate in (directory, *directory.parents) if not candidate.exists()]):
            self._journal.ledger.will_write(self._place(folder), self._kinds.folder, None)
            self._disk.make_directory(folder, mode=0o755)

    def _is_there(self, path: Path, digest: str) -> bool:
        """Whether what `digest` names is there already; what the ledger knows and is another is taken away.

        Raises:
            AskPerson: `file-exists`, `service-changed`.
        """
        self._make_directory(path.parent)
        row = self._rows.get(self._place(path))
        found = digest_of(path)
        if found is None:
            return False
        if row is None or row.kind not in {self._kinds.file, self._kinds.link}:
            raise AskPerson("file-exists", path=str(path))
        if found != row.digest:
            raise AskPerson("service-changed", path=str(path))
        if found == digest:
            return True
        self._disk.remove(path)  # not written over: between ledger and file the digest would be of the other one
        return False

    def write(self, path: Path, data: bytes) -> None:
        """Have `path` hold `data`.

        Raises:
            AskPerson: `file-exists`: there is a file of somebody else's; `service-changed`: somebody changed ours;
                `permission-denied`, `no-space`.
            TryLater: `disk-error`, `device-busy`.
        """
        digest = digest_bytes(data)
        if not self._is_there(path, digest):
            self._journal.ledger.will_write(self._place(path), self._kinds.file, digest)
            self._disk.write_file(path, data, mode=0o644, kind=self._kinds.file)

    def link(self, path: Path, target: str) -> None:
        """Have `path` be a symbolic link to `target`. Raises as `write`."""
        digest = digest_bytes(os.fsencode(target))
        if not self._is_there(path, digest):
            self._journal.ledger.will_write(self._place(path), self._kinds.link, digest)
            self._disk.switch_link(path, target)


def digest_of(path: Path) -> str | None:
    """BLAKE3 of a file's content or of a link's target; None when nothing is there.

    Raises:
        ModelotaError: it can't be read.
    """
    with disk_errors(path):
        if path.is_symlink():
            return digest_bytes(os.fsencode(path.readlink()))
        return digest_bytes(path.read_bytes()) if path.exists() else None
