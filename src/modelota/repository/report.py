"""What publishing tells its caller: progress, and a report with figures and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modelota.errors import ModelotaError
from modelota.repository.steps import Change
from modelota.spec.manifest import Mode
from modelota.spec.version import Step as VersionStep

Step = Literal["reading", "packing", "comparing", "uploading", "archiving", "committing"]

# Why a variant has no such package: `too-large` (incremental, above what the standard allows), `not-smaller` (by 1 % at
# least, than the full or the incremental one), `not-below-full` (its base was named, but it is no smaller than the full
# one), `no-counterpart` (the base has no variant like it), `locked` (no key opens the base's packs), `unreadable` (the
# base is damaged), `manifest-full` (its description would cost every device too much).
SkipReason = Literal[
    "too-large", "not-smaller", "not-below-full", "no-counterpart", "locked", "unreadable", "manifest-full"
]


@dataclass(frozen=True)
class PublishProgress:
    """How far publishing is.

    Bytes in `reading`, `packing`, `comparing` (with baselines) and `archiving`, packs in `uploading`, 0 of 1 in
    `committing`. Packs are uploaded while others are made.
    """

    step: Step
    done: int
    total: int


OnProgress = Callable[[PublishProgress], None]


def no_progress(_: PublishProgress) -> None:
    """Tell nobody."""


class Counter:
    """Adds up bytes of one step and tells them as progress."""

    def __init__(self, on_progress: OnProgress, step: Step, total_bytes: int) -> None:
        self._on_progress = on_progress
        self._step = step
        self._total_bytes = total_bytes
        self._done_bytes = 0
        on_progress(PublishProgress(step, 0, total_bytes))

    def __call__(self, size_bytes: int) -> None:
        """Add these bytes and tell."""
        self._done_bytes += size_bytes
        self._on_progress(PublishProgress(self._step, self._done_bytes, self._total_bytes))

    def finish(self) -> None:
        """Tell that all is done, whatever was left out."""
        self(self._total_bytes - self._done_bytes)


@dataclass(frozen=True)
class PackageReport:
    """One package of a variant, or one that was tried.

    Attributes:
        mode: full, incremental or differential.
        base_version: the release it starts from; None for a full one.
        base_variant: the variant of that release, or None.
        size_bytes: of its sealed frames, or None if it was never made.
        skipped: why it is not published, or None.
        dropped: deltas that did not decode to what they should, and were replaced: a mistake of ours to be reported.
    """

    mode: Mode
    base_version: str | None
    base_variant: str | None
    size_bytes: int | None
    skipped: SkipReason | None = None
    dropped: int = 0


@dataclass(frozen=True)
class LayoutNote:
    """A file that looked like one of a known format but is treated as opaque.

    Attributes:
        path: on the publisher's disk.
        note: a word from `docs/formats/chunking.md`.
    """

    path: str
    note: str


@dataclass(frozen=True)
class VariantReport:
    """One variant.

    Attributes:
        name: of the variant.
        files: how many.
        size_bytes: of its files.
        packages: the full one first, then those that were published or tried.
    """

    name: str
    files: int
    size_bytes: int
    packages: tuple[PackageReport, ...]

    @property
    def full_bytes(self) -> int:
        """Size of its sealed full package."""
        return next((package.size_bytes or 0 for package in self.packages if package.mode == "full"), 0)

    @property
    def ratio(self) -> float | None:
        """Sealed full package over files; None for an empty one."""
        return self.full_bytes / self.size_bytes if self.size_bytes else None


@dataclass(frozen=True)
class PublishReport:
    """What was published, or would be.

    Attributes:
        model: name.
        version: number.
        predecessor: the release it is made from, or None.
        dry_run: nothing public was written.
        already_published: exactly this release was there before; at most an interrupted commit was finished.
        variants: sizes.
        new_packs: packs that are uploaded for it.
        new_bytes: their size.
        reused_bytes: sealed bytes that published packs already hold.
        manifest_bytes: the manifest's file.
        device_classes: who can open it.
        device_models: which kinds of device it is for; empty means all.
        step: of the version from its predecessor's; None for the first release.
        demanded: the least step that the changes demand.
        changes: what changed since the predecessor, the weightiest first.
        notes: files whose format was not what they said.
        refusals: why it may not be published; only ever filled in a dry run.
        snapshot: version of the snapshot that made it visible, or None.
    """

    model: str
    version: str
    predecessor: str | None
    dry_run: bool
    already_published: bool
    variants: tuple[VariantReport, ...]
    new_packs: int
    new_bytes: int
    reused_bytes: int
    manifest_bytes: int
    device_classes: tuple[str, ...]
    device_models: tuple[str, ...]
    step: VersionStep | None = None
    demanded: VersionStep | None = None
    changes: tuple[Change, ...] = ()
    notes: tuple[LayoutNote, ...] = ()
    refusals: tuple[ModelotaError, ...] = ()
    snapshot: int | None = None
