"""Plan and proof of a cleaning: what is shown to the user, and what became of it. Plain data, canonical JSON."""

from __future__ import annotations

import os
import re
import stat
from typing import ClassVar, Final, Literal

import msgspec

from modelota.content.digest import digest_bytes
from modelota.spec.document import Document, canonical, digest_of
from modelota.spec.limits import MIB

FINDINGS_MAX: Final = 100_000  # in one plan; the next scan finds the rest
PLAN_MAX_BYTES: Final = 128 * MIB

Certainty = Literal["certain", "probable"]
Source = Literal["ledger", "place", "content", "tag"]

# Why a finding is only probable.
Doubt = Literal[
    "slice",  # a part from the middle of a file of ours, or ours with something else around it
    "end-unproven",  # a truncated copy whose last bytes, less than a span, could not be compared with an original
    "hard-linked",  # the file has another name, which may be someone else's
    "other-user",  # it belongs to another user than the agent does
    "other-application",  # it lies in another application's store, or in another agent's root
    "packages-unknown",  # it lies where packages install, and the system's package database cannot be read here
    "changed",  # the ledger names this path, but what is there is not what was written
    "newer-than-record",  # it was changed after the record was exported
    "tag-only",  # it has our tag, but not our content
]
# Why something that looks like a finding is never removed.
Spared = Literal["package-owned", "in-use", "cannot-tell"]
# Why an agreed removal did not happen.
Refusal = Literal["changed", "in-use", "not-empty", "permission-denied", "read-only", "disk-error", "cannot-tell"]


def path_text(path: str) -> str:
    r"""A path as text that JSON can carry and `path_of` reads back, whatever bytes its names have.

    A backslash is doubled, and a byte that is not UTF-8 becomes `\xNN`.
    """
    return os.fsencode(path).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def path_of(text: str) -> str:
    """The path (with surrogates for bytes that are not UTF-8) that `path_text` made `text` of."""
    raw = re.sub(
        rb"\\(\\|x([0-9a-f]{2}))",
        lambda match: bytes([int(match[2], 16)]) if match[2] else b"\\",
        text.encode("utf-8", "surrogatepass"),
    )
    return os.fsdecode(raw)


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """What stat(2) said about the thing that was shown; anything else at the same path is another thing."""

    device: int
    inode: int
    mode: int
    size_bytes: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, information: os.stat_result) -> Identity:
        """Of an lstat(2) result."""
        return cls(
            device=information.st_dev,
            inode=information.st_ino,
            mode=information.st_mode,
            size_bytes=information.st_size,
            mtime_ns=information.st_mtime_ns,
            ctime_ns=information.st_ctime_ns,
        )

    def is_that_of(self, information: os.stat_result) -> bool:
        """Whether it is still the same thing, unchanged; a directory's content may have changed."""
        if stat.S_ISDIR(self.mode):
            same = (information.st_dev, information.st_ino) == (self.device, self.inode)
            return same and stat.S_ISDIR(information.st_mode)
        return self == Identity.of(information)


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is thought to be a residue.

    Attributes:
        by: the ledger names it; it lies below a place that is wholly the agent's own; its content; its tag.
        model, version, variant, file: the deployed file that it comes from, as far as that is known.
        digest: BLAKE3 of the content (of a link: of its target) that was seen; checked again before removal.
        proven_bytes: how many of its bytes were compared with what is known.
        probes, matched: of a slice: how many places were looked at, and in how many a block of ours lay.
    """

    by: Source
    model: str = ""
    version: str = ""
    variant: str = ""
    file: str = ""
    digest: str | None = None
    proven_bytes: int = 0
    probes: int = 0
    matched: int = 0


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that may be removed.

    Attributes:
        path: as `path_text`; or `acl:…`, `dconf:…`, `keyring:…`.
        kind: `whole copy`, `truncated copy`, `slice`, `tagged file`, or what the ledger calls it.
        certainty: `certain` is removed once the plan is agreed to; `probable` only if it is named besides.
        size_bytes: what goes with it.
        evidence: the proof.
        doubts: why it is only probable; empty when certain.
        identity: of what was seen; None for what is not a file.
    """

    path: str
    kind: str
    certainty: Certainty
    size_bytes: int
    evidence: Evidence
    doubts: tuple[Doubt, ...] = ()
    identity: Identity | None = None

    @property
    def id(self) -> str:
        """Names this finding: 12 hexadecimal digits, the same as long as it is the same thing in the same state."""
        return digest_bytes(canonical((self.path, self.kind, self.identity, self.evidence.digest)))[:12]


class SparedFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Something that looks like a finding and is never removed, and why."""

    path: str
    kind: str
    size_bytes: int
    reason: Spared


class NotLookedAt(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted file system that was left out: network, read-only, or of a kind not known to be local."""

    path: str
    type: str
    reason: Literal["network", "read-only", "unknown-type", "unreadable"]


class CleaningPlan(Document, kw_only=True, frozen=True):
    """What a scan found. Its digest is that of the findings: counts of a living file system change all the time.

    Attributes:
        deep: all local file systems were looked at, not only what the ledger names.
        findings: certain ones first, then by path.
        spared: what is never removed though it looks like a residue.
        not_looked_at: file systems that were left out.
        files_seen, unreadable: how many files were looked at, how many files and directories could not be.
        complete: False when there are more findings than a plan holds.
    """

    NAME: ClassVar[str] = "cleaning-plan"

    deep: bool
    findings: tuple[Finding, ...]
    spared: tuple[SparedFinding, ...] = ()
    not_looked_at: tuple[NotLookedAt, ...] = ()
    files_seen: int = 0
    unreadable: int = 0
    complete: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical findings: what a confirmation names."""
        return digest_of((self.format, self.deep, self.findings))

    @property
    def certain_bytes(self) -> int:
        """What is freed without naming any probable finding."""
        return sum(finding.size_bytes for finding in self.findings if finding.certainty == "certain")


class Removal(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one finding; `gone` means that it was not there any more."""

    id: str
    path: str
    kind: str
    size_bytes: int
    result: Literal["removed", "gone", "refused"]
    reason: Refusal | None = None


class FreeSpace(msgspec.Struct, frozen=True, kw_only=True):
    """Free bytes of a file system before and after; others write too, so the difference is no proof by itself."""

    path: str
    before_bytes: int | None
    after_bytes: int | None


class CleaningProof(Document, kw_only=True, frozen=True):
    """What was done (requirement 7.3.2): every path, its bytes, and the result."""

    NAME: ClassVar[str] = "cleaning-proof"

    plan_digest: str
    accepted: tuple[str, ...]
    removals: tuple[Removal, ...]
    free_space: tuple[FreeSpace, ...]
    reloaded: tuple[str, ...]
    began_at: str
    ended_at: str

    def count(self, result: str) -> int:
        """How many findings ended with `result`."""
        return sum(removal.result == result for removal in self.removals)

    @property
    def removed_bytes(self) -> int:
        """Bytes of everything that was removed."""
        return sum(removal.size_bytes for removal in self.removals if removal.result == "removed")
