"""An entry that has every desktop session, or those of one user, show notices (Desktop Application Autostart 0.5)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from modelota.agent.enrol import membership_of, open_journal
from modelota.agent.outside import Kinds, OutsideWriter, digest_of
from modelota.agent.records import LedgerRow
from modelota.agent.service import command_of
from modelota.clock import Clock
from modelota.errors import AskPerson
from modelota.spec.names import is_name
from modelota.storage.durable import Disk, disk_errors
from modelota.storage.layout import Layout
from modelota.storage.owner import acting_as_owner

NAME: Final = "modelota-notify"
ENTRY: Final = "desktop autostart entry"
FOLDER: Final = "desktop autostart directory"
_KINDS: Final = Kinds(ENTRY, "desktop autostart link", FOLDER)

_RESERVED: Final = frozenset(" \t\"'\\><~|&;$*?#()`")  # Desktop Entry Specification 1.5, the Exec key
_ESCAPED: Final = frozenset('"`$\\')
_TEXT: Final = """\
# Written by modelota for {root}. “modelota device notify --remove” takes it away.
[Desktop Entry]
Type=Application
Name=modelota
Comment=Shows news about the models of this device
Comment[zh_CN]=显示此设备上模型的消息
Exec={command}
TryExec={program}
Icon=software-update-available
Terminal=false
NoDisplay=true
StartupNotify=false
"""


@dataclass(frozen=True)
class Autostart:
    """Where autostart entries lie."""

    directory: Path

    @classmethod
    def of(cls, scope: Literal["system", "user"], environ: Mapping[str, str] = os.environ) -> Autostart:
        """Of all users, or of this one."""
        if scope == "system":
            return cls(Path("/etc/xdg/autostart"))
        settings = environ.get("XDG_CONFIG_HOME", "")
        return cls((Path(settings) if settings.startswith("/") else Path.home() / ".config") / "autostart")

    def entry(self, name: str) -> Path:
        """Where the entry `name` lies."""
        return self.directory / f"{name}.desktop"


def install(root: Path, autostart: Autostart, clock: Clock, *, name: str = NAME) -> Path:
    """Have sessions show the notices of a device root from their next start on; returns the entry.

    Args:
        root: an enrolled device root.
        autostart: for whom.
        clock: the time.
        name: of the entry; another one for a second root of the same system.

    Raises:
        AskPerson: `argument-invalid`; `file-exists`: the name is taken; `service-changed`: somebody changed ours;
            `not-enrolled`, `permission-denied`: only the owner of the root keeps its ledger.
        TryLater: `disk-error`, `device-busy`.
    """
    layout = Layout.at(root)
    if not is_name(name):
        raise AskPerson("argument-invalid", argument="--name", detail=name[:80])
    text = entry_text(layout.root, command_of(layout.root, "notify"))
    with acting_as_owner(layout.root):
        journal = open_journal(layout, clock)
    try:
        membership_of(journal, layout.root)
        entry = autostart.entry(name)
        OutsideWriter(journal, autostart.directory, _KINDS).write(entry, text.encode())
        journal.note("", "autostart-installed", {"entry": str(entry)})
    finally:
        journal.close()
    return entry


def remove(root: Path, clock: Clock) -> tuple[Path, ...]:
    """Take away every entry of a device root; one that is gone already is fine.

    Returns:
        what was removed.

    Raises:
        AskPerson: `service-changed`: somebody changed an entry, and it is theirs now; `permission-denied`,
            `not-enrolled`.
        TryLater: `disk-error`, `device-busy`.
    """
    layout = Layout.at(root)
    with acting_as_owner(layout.root):
        journal = open_journal(layout, clock)
    try:
        rows = sorted(_rows(journal.records.ledger_rows()), key=lambda row: (row.kind == FOLDER, -len(row.path)))
        disk = Disk([Path(row.path).parent for row in rows], journal.ledger)
        removed = [path for path in (_remove(row, disk) for row in rows) if path is not None]
        for path in removed:
            journal.ledger.removed(path)
        if removed:
            journal.note("", "autostart-removed", {"entry": str(removed[0])})
    finally:
        journal.close()
    return tuple(removed)


def _rows(ledger: Sequence[LedgerRow]) -> list[LedgerRow]:
    return [row for row in ledger if row.kind in {ENTRY, FOLDER}]


def _remove(row: LedgerRow, disk: Disk) -> Path | None:
    path = Path(row.path)
    if row.kind == FOLDER:
        with disk_errors(path):
            if not path.is_dir() or any(path.iterdir()):
                return None
            path.rmdir()  # never with anything in it
        return path
    found = digest_of(path)
    if found is None:
        return None
    if found != row.digest:
        raise AskPerson("service-changed", path=row.path)
    disk.remove(path)
    return path


def entry_text(root: Path, command: Sequence[str]) -> str:
    """The entry that runs `command`.

    Raises:
        AskPerson: `argument-invalid`: a path that no entry can hold.
    """
    for text in (str(root), *command):
        if not text.isprintable():
            raise AskPerson("argument-invalid", argument=text[:80], detail="not-printable")
    return _TEXT.format(root=root, command=_value(" ".join(map(_word, command))), program=_value(command[0]))


def _word(text: str) -> str:
    """One argument of the Exec key."""
    text = text.replace("%", "%%")
    if text and not _RESERVED & set(text):
        return text
    escaped = "".join("\\" + char if char in _ESCAPED else char for char in text)
    return f'"{escaped}"'


def _value(text: str) -> str:
    """A string value: its backslashes are escaped once more (Desktop Entry Specification 1.5, possible value types)."""
    return text.replace("\\", "\\\\")
