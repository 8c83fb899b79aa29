"""Removing the agent itself: what is planned, what its owner confirms, and the proof (requirement 7.3.2)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from modelota.spec.document import Document, digest_of
from modelota.spec.manifest import Bytes, DigestText, Time
from modelota.spec.removal import RemovalPlan

PathText = Annotated[str, Meta(max_length=8192)]
Result = Literal["removed", "gone", "refused"]


class LeavingItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that goes: its path (or a scheme and a name), what it is, and the allocated bytes that go with it."""

    path: PathText
    kind: str
    size_bytes: Bytes = 0


class StayingItem(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stays, and why: `not-ours`, or a doubt of the cleaning about what the ledger names."""

    path: PathText
    kind: str
    reason: str


class LeavingPlan(Document, kw_only=True, frozen=True):
    """What removing the agent removes; its digest is what a confirmation names.

    Attributes:
        root: of the device.
        set_up_at: when that root was set up: a root that was set up again is another one.
        models: what uninstalling each installed model removes.
        items: the agent's own files below the root and its runtime directories, in the order of going.
        outside: what else the ledger names: units, entries, directories above the root.
            Paths are as `cleaning-plan` has them.
        stays: what is not removed.
    """

    NAME: ClassVar[str] = "leaving-plan"

    root: str
    set_up_at: Time
    models: tuple[RemovalPlan, ...]
    items: tuple[LeavingItem, ...]
    outside: tuple[LeavingItem, ...]
    stays: tuple[StayingItem, ...]

    @property
    def size_bytes(self) -> int:
        """What is freed."""
        own = sum(item.size_bytes for item in (*self.items, *self.outside))
        return own + sum(plan.size_bytes for plan in self.models)

    @property
    def digest(self) -> str:
        """What a confirmation names: everything but the sizes, which grow while the owner reads."""
        own = tuple((item.path, item.kind) for item in (*self.items, *self.outside))
        return digest_of(
            (self.format, self.root, self.set_up_at, tuple(plan.identity for plan in self.models), own, self.stays)
        )


class LeftItem(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item: `gone` was removed before an interruption; `refused` has its reason."""

    path: PathText
    kind: str
    size_bytes: Bytes
    result: Result
    reason: str | None = None


class LeavingProof(msgspec.Struct, frozen=True, kw_only=True):
    """What was done: every path, its bytes and its result (requirement 7.3.2)."""

    plan_digest: DigestText
    items: tuple[LeftItem, ...]
    began_at: Time
    ended_at: Time

    @property
    def removed_bytes(self) -> int:
        """Bytes of everything that was removed."""
        return sum(item.size_bytes for item in self.items if item.result == "removed")
