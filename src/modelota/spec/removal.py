"""Uninstalling a model: what is planned, what the owner confirms, and the proof of what was done (clause 7.3)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from modelota.spec.document import Document, digest_of
from modelota.spec.manifest import Bytes, DigestText, ModelName, Time

Reason = Literal["user", "end-of-service", "unsuitable-hardware"]
UserDataChoice = Literal["keep", "remove"]
ItemKind = Literal["link", "slot", "staging", "kept versions", "sealed copies of user data", "user data", "directory"]


PASSING: Final = frozenset({"staging", "kept versions"})  # the agent makes and removes them in the background


class RemovalItem(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to remove: its path, what it is, and the allocated bytes that go with it."""

    path: Annotated[str, Meta(max_length=8192)]
    kind: ItemKind
    size_bytes: Bytes


class RemovalPlan(Document, kw_only=True, frozen=True):
    """What uninstalling a model removes and what stays; its digest is what a confirmation names.

    Attributes:
        model: which.
        version: the one in use, or None.
        reason: why: its user wants it, its publisher ended the service, or the device can't run it any more.
        user_data: what becomes of the user's data.
        items: what goes, in the order of going.
        stays: what is kept, by name: `records`, `anchors`, `user-data`.
    """

    NAME: ClassVar[str] = "removal-plan"

    model: ModelName
    version: str | None
    reason: Reason
    user_data: UserDataChoice
    items: tuple[RemovalItem, ...]
    stays: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """What is freed."""
        return sum(item.size_bytes for item in self.items)

    @property
    def identity(self) -> str:
        """What a confirmation names: everything but sizes and what comes and goes by itself while the owner reads."""
        paths = tuple((item.path, item.kind) for item in self.items if item.kind not in PASSING)
        return digest_of((self.format, self.model, self.version, self.reason, self.user_data, paths, self.stays))


class RemovedItem(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one item: removed now, or gone already (removed before an interruption)."""

    path: str
    kind: ItemKind
    size_bytes: Bytes
    result: Literal["removed", "gone"]


class RemovalProof(Document, kw_only=True, frozen=True):
    """What was done: every path, its bytes and its result (requirement 7.3.2).

    Attributes:
        model: which.
        version: the one that was in use.
        reason: why.
        plan_digest: of the plan that was confirmed.
        items: every item of the plan.
        free_before_bytes, free_after_bytes: of the file system; others write too, so they prove nothing alone.
        began_at, ended_at: when.
    """

    NAME: ClassVar[str] = "removal-proof"

    model: ModelName
    version: str | None
    reason: Reason
    plan_digest: DigestText
    items: tuple[RemovedItem, ...]
    free_before_bytes: Bytes | None
    free_after_bytes: Bytes | None
    began_at: Time
    ended_at: Time

    @property
    def removed_bytes(self) -> int:
        """Bytes of everything that was removed."""
        return sum(item.size_bytes for item in self.items if item.result == "removed")
