"""What publishing tells its caller: progress, and a report with figures and refusals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from modelota.errors import ModelotaError

Step = Literal["reading", "packing", "uploading", "committing"]


@dataclass(frozen=True)
class PublishProgress:
    """How far publishing is: bytes in `reading` and `packing`, packs in `uploading`, 0 of 1 in `committing`."""

    step: Step
    done: int
    total: int


OnProgress = Callable[[PublishProgress], None]


def no_progress(_: PublishProgress) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class VariantReport:
    """Sizes of one variant in bytes: of its files, and of its sealed full package."""

    name: str
    files: int
    size_bytes: int
    full_bytes: int

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
    refusals: tuple[ModelotaError, ...] = ()
    snapshot: int | None = None
