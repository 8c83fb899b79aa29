"""A device whose agent is gone: its record, a disk with residues and decoys, and the system around it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from modelota.agent.cleaning.bystanders import OpenFiles, Packages
from modelota.agent.cleaning.entries import Entries, State
from modelota.agent.cleaning.knowledge import CleaningRecord, Knowledge, RecordedFile, RecordedRow, of_record
from modelota.agent.cleaning.mounts import Mounts
from modelota.agent.cleaning.plan import CleaningPlan, CleaningProof, Finding, path_of
from modelota.agent.cleaning.removing import apply
from modelota.agent.cleaning.scanning import scan
from modelota.agent.cleaning.system import System
from modelota.content.anchors import anchors_of
from modelota.content.digest import digest_bytes
from modelota.testing.clock import ManualClock

MODEL_BYTES = 300_000  # not a multiple of the block: 73 blocks and a rest


def random_bytes(seed: int, size_bytes: int) -> bytes:
    """Bytes that nothing else has."""
    return random.Random(seed).randbytes(size_bytes)


class FakeEntries:
    """Entries of one scheme, in memory: what is there, by name, as the digest of its content."""

    def __init__(self) -> None:
        self.there: dict[str, str | None] = {}
        self.broken = False

    def state(self, name: str, digest: str | None) -> State:
        if self.broken:
            return "unknown"
        if name not in self.there:
            return "gone"
        return "ours" if self.there[name] == digest else "changed"

    def remove(self, name: str) -> bool:
        return self.there.pop(name, "") != ""


@dataclass
class Site:
    """What the tests plant things in.

    Attributes:
        place: of everything.
        model, tokenizer: contents of the two files of the slot that was deployed.
        ledger: rows of the record.
        ran: programs that were run.
    """

    place: Path
    model: bytes = field(default_factory=lambda: random_bytes(1, MODEL_BYTES))
    tokenizer: bytes = field(default_factory=lambda: random_bytes(2, 20_000))
    ledger: list[RecordedRow] = field(default_factory=list)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    keyring: FakeEntries = field(default_factory=FakeEntries)
    owner_uid: int = field(default_factory=os.geteuid)

    @property
    def disk(self) -> Path:
        """The file system that is scanned."""
        return self.place / "disk"

    @property
    def root(self) -> Path:
        """The device root that was."""
        return self.disk / "home" / "modelota"

    def put(self, name: str | bytes, content: bytes) -> Path:
        """Put a file on the disk."""
        path = self.disk / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def note(self, path: Path, kind: str, digest: str | None = None) -> None:
        """Note something in the ledger."""
        self.ledger.append(RecordedRow(path=str(path), kind=kind, digest=digest))

    def registered(self, name: str, kind: str, content: bytes = b"# ours\n") -> Path:
        """Put a file on the disk that the ledger names, with its digest."""
        path = self.put(name, content)
        self.note(path, kind, digest_bytes(content))
        return path

    def record(self, recorded_ns: int | None = None) -> CleaningRecord:
        """What was exported when the agent was removed: by default, just now."""
        files = tuple(
            RecordedFile(
                model="acme/assistant",
                version="1.1.1",
                variant="default",
                path=path,
                size_bytes=anchors.size_bytes,
                digest=anchors.digest,
                head=anchors.head,
                stride_blocks=anchors.stride_blocks,
                blocks=anchors.blocks,
            )
            for path, content in (("model.gguf", self.model), ("tokenizer.json", self.tokenizer))
            for anchors in [anchors_of(content)]
        )
        return CleaningRecord(
            root=str(self.root),
            runtime_directory=str(self.root / "run"),
            owner_uid=self.owner_uid,
            recorded_ns=time.time_ns() + 10**10 if recorded_ns is None else recorded_ns,
            ledger=tuple(self.ledger),
            files=files,
        )

    def system(self) -> System:
        """The system, with this disk as its only file system."""
        entries: dict[str, Entries] = {"keyring": self.keyring}

        def run(argv: Sequence[str]) -> str:
            self.ran.append(tuple(argv))
            return ""

        return System(
            mounts=lambda: Mounts((str(self.disk),), frozenset(), ()),
            packages=Packages(self.place / "dpkg", self.place / "system"),
            open_files=OpenFiles(),
            entries=entries,
            run=run,
            clock=ManualClock(),
        )

    def knowledge(self) -> Knowledge:
        """What the record tells."""
        return of_record(self.record())

    def scan(self, *, deep: bool = True) -> CleaningPlan:
        """Scan the disk."""
        return scan(self.knowledge(), self.system(), deep=deep)

    def apply(self, plan: CleaningPlan, *accepted: Finding) -> CleaningProof:
        """Carry a plan out."""
        return apply(plan, [each.id for each in accepted], self.system())

    def clean(self) -> CleaningProof:
        """Scan, and remove what is certain."""
        return self.apply(self.scan())


def paths(findings: tuple[Finding, ...], certainty: str) -> set[str]:
    """Paths of the findings of one certainty."""
    return {path_of(each.path) for each in findings if each.certainty == certainty}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A disk with an own root and nothing else."""
    made = Site(tmp_path)
    made.root.mkdir(parents=True, mode=0o700)
    return made
