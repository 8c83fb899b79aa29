"""What a cleaning knows: the ledger's rows, the agent's own places, and the anchors of every file ever deployed.

It comes from a device root, or from a record that was exported before the agent was removed: one JSON document with
the same content, so that residues can be found when nothing else is left of the agent.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from modelota.agent.journal import Journal
from modelota.agent.records import AnchorRow, LedgerRow
from modelota.content.anchors import Anchors
from modelota.errors import AskPerson, RefuseContent
from modelota.spec import document
from modelota.spec.limits import MIB
from modelota.storage.durable import disk_errors
from modelota.storage.layout import Layout

RECORD_MAX_BYTES: Final = 256 * MIB
MAIN_SHARE: Final = 10  # a file of at least a tenth of its slot tells whose it is; a licence or a tokenizer does not


@dataclass(frozen=True)
class Knowledge:
    """What a cleaning knows.

    Attributes:
        owner_uid: the user whose agent it is or was.
        rows: ledger rows whose things are residues, if they are still there.
        places: directories that are the agent's own: everything in them is a residue.
        off_limits: directories that are left alone: a living agent's root, data that its user keeps.
        files: what was deployed, without its blocks.
        load: gives the anchors of one of `files`, by its number.
        recorded_ns: when the record was exported; None when the agent is there and its database is current.
        originals: places of verified copies, by digest: truncated copies are compared with them to the last byte.
    """

    owner_uid: int
    rows: tuple[LedgerRow, ...]
    places: tuple[str, ...]
    off_limits: tuple[str, ...]
    files: tuple[AnchorRow, ...]
    load: Callable[[int], Anchors]
    recorded_ns: int | None = None
    originals: tuple[tuple[str, str], ...] = ()

    def main_files(self) -> frozenset[int]:
        """Numbers of the files whose content alone tells whose they are."""
        totals: dict[tuple[str, str, str], int] = {}
        for file in self.files:
            slot = (file.model, file.version, file.variant)
            totals[slot] = totals.get(slot, 0) + file.size_bytes
        return frozenset(
            number
            for number, file in enumerate(self.files)
            if file.size_bytes * MAIN_SHARE >= totals[file.model, file.version, file.variant] and file.size_bytes > 0
        )


class RecordedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the ledger in a record."""

    path: str
    kind: str
    digest: str | None = None


class RecordedFile(msgspec.Struct, frozen=True, kw_only=True):
    """Anchors of a deployed file in a record; bytes are base64."""

    model: str
    version: str
    variant: str
    path: str
    size_bytes: int
    digest: str
    head: bytes
    stride_blocks: int
    blocks: bytes


class CleaningRecord(document.Document, kw_only=True, frozen=True):
    """What is exported before an agent is removed, and accepted by a later cleaning.

    Attributes:
        root: the device root it was.
        runtime_directory: where its sockets were.
        owner_uid: who owned it.
        recorded_ns: when, in nanoseconds since 1970 of the device's clock: a file that changed later is not taken for
            the one that the ledger names.
    """

    NAME: ClassVar[str] = "cleaning-record"

    root: str
    runtime_directory: str
    owner_uid: int
    recorded_ns: int
    ledger: tuple[RecordedRow, ...]
    files: tuple[RecordedFile, ...]


def _sound(row: AnchorRow) -> Anchors | None:
    anchors = Anchors(
        size_bytes=row.size_bytes,
        digest=row.digest,
        head=row.head,
        stride_blocks=row.stride_blocks,
        blocks=row.blocks,
    )
    return anchors if anchors.is_sound else None


def _usable(anchors: Anchors | None, path: str) -> Anchors:
    if anchors is None:
        raise RefuseContent("document-invalid", document=CleaningRecord.NAME, detail=f"anchors of {path[:200]}")
    return anchors


def of_device(layout: Layout, journal: Journal, *, leaving: str | None = None) -> Knowledge:
    """What the agent of a living device root knows: residues are those of models that have no slot any more.

    The root itself is off limits but for the directories of such models; in those the user's own data is.

    Args:
        layout: of the root.
        journal: of the root.
        leaving: a model whose slots were just removed, and which the state still names.

    Raises:
        AskPerson: `database-unreadable`, `permission-denied`.
        TryLater: `disk-error`, `device-busy`.
    """
    records = journal.records
    all_rows, all_files = records.ledger_rows(), records.anchor_rows()
    installed: set[object] = set()
    originals: list[tuple[str, str]] = []
    gone: list[str] = []
    for model in sorted({file.model for file in all_files} | _models_below(layout, all_rows)):
        slots = journal.slots(model) if model != leaving else ()
        place = layout.model(model)
        state = journal.state(model)
        if model == leaving or not (slots or state.slots or state.kept or state.update):
            gone.append(str(place.directory))
        for slot in slots:
            for file in slot.files:
                installed |= {file.digest, (model, slot.slot.version, slot.slot.variant, file.path)}
                if slot.at_rest == "plain":
                    originals.append((file.digest, str(place.slot(slot.slot.name) / "files" / file.path)))
    kept = [str(kept) for place in gone for kept in _user_places(Path(place))]
    rows = [row for row in all_rows if _is_below(row.path, gone) and not _is_below(row.path, kept)]
    files = [file for file in all_files if not {file.digest, file[:4]} & installed]

    def load(number: int) -> Anchors:
        row = files[number]
        return _usable(_sound(row._replace(blocks=records.anchor_blocks(row))), row.path)

    with disk_errors(layout.root):
        owner = layout.root.stat().st_uid
    return Knowledge(
        owner_uid=owner,
        rows=tuple(rows),
        places=tuple(place for place in gone if Path(place).is_dir()),
        off_limits=(str(layout.root), *kept),
        files=tuple(files),
        load=load,
        originals=tuple(originals),
    )


def _models_below(layout: Layout, rows: list[LedgerRow]) -> set[str]:
    """Names of models that have, or had, a directory: vendor and product are two levels."""
    base = layout.root / "models"
    names = set()
    for row in rows:
        if row.path.startswith(f"{base}/"):
            parts = Path(row.path).relative_to(base).parts
            if len(parts) >= 2:
                names.add("/".join(parts[:2]))
    return names


def _user_places(model: Path) -> tuple[Path, ...]:
    """What an uninstalled model leaves on its user's wish."""
    return (model / "userdata", model / "backups", *sorted(model.glob("userdata-from-*")))


def _is_below(path: str, places: list[str]) -> bool:
    return any(path == place or path.startswith(f"{place}/") for place in places)


def record_of(layout: Layout, journal: Journal) -> CleaningRecord:
    """Everything that a cleaning after the agent's removal needs.

    Raises:
        AskPerson: `database-unreadable`, `permission-denied`.
        TryLater: `disk-error`, `device-busy`.
    """
    records = journal.records
    with disk_errors(layout.root):
        owner = layout.root.stat().st_uid
    files = [row._replace(blocks=records.anchor_blocks(row)) for row in records.anchor_rows()]
    return CleaningRecord(
        root=str(layout.root),
        runtime_directory=str(layout.runtime_directory),
        owner_uid=owner,
        recorded_ns=time.time_ns(),  # compared with the file system's times, so it is the device's own clock
        ledger=tuple(RecordedRow(path=row.path, kind=row.kind, digest=row.digest) for row in records.ledger_rows()),
        files=tuple(RecordedFile(**row._asdict()) for row in files),
    )


def read_record(path: Path) -> CleaningRecord:
    """Read an exported record.

    Raises:
        AskPerson: `argument-invalid` when there is no such file, `permission-denied`.
        RefuseContent: `document-invalid`, `document-too-large`, `document-needs-newer`.
        TryLater: `disk-error`.
    """
    if not path.is_file():
        raise AskPerson("argument-invalid", argument=str(path), detail="not-a-file")
    with disk_errors(path), path.open("rb") as file:
        data = file.read(RECORD_MAX_BYTES + 1)
    return document.read(data, CleaningRecord, RECORD_MAX_BYTES)


def of_record(record: CleaningRecord, *, leaving: bool = False) -> Knowledge:
    """What an exported record tells about an agent that is gone.

    Args:
        record: as `record_of` made it.
        leaving: the agent is being removed right now, so its root is its own still. Otherwise a root that holds a
            database belongs to an agent that was set up anew, and is off limits.

    Raises:
        RefuseContent: `document-invalid`: its paths or anchors are not what they should be.
    """
    anchors = [_usable(_sound(AnchorRow(**msgspec.structs.asdict(file))), file.path) for file in record.files]
    for path in (record.root, record.runtime_directory):
        if not path.startswith("/") or os.path.normpath(path) != path or path == "/":
            raise RefuseContent("document-invalid", document=record.NAME, detail=f"place {path[:200]}")
    living = not leaving and (Path(record.root) / "agent.db").exists()
    places = [] if living else [record.root, record.runtime_directory]
    off_limits = [record.root, record.runtime_directory] if living else []
    rows = [LedgerRow(row.path, row.kind, row.digest) for row in record.ledger]
    return Knowledge(
        owner_uid=record.owner_uid,
        rows=tuple(row for row in rows if not _is_below(row.path, off_limits)),
        places=tuple(place for place in places if Path(place).is_dir()),
        off_limits=tuple(off_limits),
        files=tuple(AnchorRow(**msgspec.structs.asdict(file))._replace(blocks=b"") for file in record.files),
        load=lambda number: anchors[number],
        recorded_ns=None if leaving else record.recorded_ns,
    )
