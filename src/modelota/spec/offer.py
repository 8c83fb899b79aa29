"""Offer, plan and decision: what the user is told and what the user answers (clause 5.1, design decision 6).

An offer is canonical data that depends only on its content, so the same situation always has the same digest; when it
was made and how it was rendered is journalled beside it. A decision names the digest of exactly one offer.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

import msgspec
from msgspec import Meta

from modelota.spec.document import Document, digest_of
from modelota.spec.manifest import Bytes, DigestText, Index, Kind, Localised, Mode, ModelName, Permission, Time

Direction = Literal["install", "update", "rollback", "repair"]


RETURN_LIMIT_S: Final = 300  # a way back that takes longer is an explicit choice (clause 6.3-b)
WITHDRAWN: Final = "withdrawn"  # the consequence that says so of a version which its publisher took back


class PlannedFrame(msgspec.Struct, frozen=True, array_like=True):
    """One frame to fetch for one chunk: pack, frame number, offset, sealed length, codec, chunk index.

    `base` and `base_bytes` are digest and size of the chunk that a delta is decoded against.
    """

    pack: DigestText
    frame: Index
    offset: Bytes
    length_bytes: Bytes
    codec: str
    chunk: Index
    base: DigestText | None = None
    base_bytes: Bytes = 0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Which chunk comes from where; exactly one mode (requirement 5.2.1-a).

    Attributes:
        frames: what is fetched, in reading order.
        local_chunks: indexes of chunks that come from what the device has.
        fetch_bytes: sum of the frames' sealed lengths.
    """

    mode: Mode
    manifest_digest: DigestText
    variant: str
    frames: tuple[PlannedFrame, ...]
    local_chunks: tuple[Index, ...] = ()
    fetch_bytes: Bytes = 0

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical plan."""
        return digest_of(self)


class Covers(msgspec.Struct, frozen=True, kw_only=True):
    """What accepting the offer allows, and nothing beyond it."""

    fetch_up_to_bytes: Bytes
    activate: bool = True
    return_automatically_until_watch_ends: bool = True
    repair_up_to_bytes: Bytes = 0
    remove_own_temporaries: bool = True
    keep_versions: tuple[str, ...] = ()
    remove_versions: tuple[str, ...] = ()


class Offer(Document, kw_only=True, frozen=True):
    """What the user is told before anything is triggered (clause 5.1-c)."""

    NAME: ClassVar[str] = "offer"

    model: ModelName
    direction: Direction
    from_version: str | None
    from_variant: str | None
    to_version: str
    to_variant: str
    manifest_digest: DigestText
    plan_digest: DigestText
    mode: Mode
    planned_bytes: Bytes
    ceiling_bytes: Bytes
    full_bytes: Bytes
    installed_bytes: Bytes
    peak_space_bytes: Bytes
    kind: Kind
    urgency_reason: Localised | None = None
    notes: Localised
    permissions: tuple[Permission, ...] = ()
    new_permissions: tuple[Permission, ...] = ()
    consequences: tuple[str, ...] = ()
    covers: Covers
    stale_since: Time | None = None
    storage_share_percent: float | None = None  # of available storage, taken afterwards (table 1, 8.1.1-c)

    @property
    def digest(self) -> str:
        """SHA-256 of the canonical offer: its identity."""
        return digest_of(self)


Answer = Literal["accept", "later", "skip", "decline"]
Condition = Literal["charging", "unmetered", "parked"]


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """What the user answered.

    Attributes:
        offer_digest: the offer that was answered.
        answer: accept, later, skip this version, or decline.
        authority: who answered: `uid:<n>` from the socket's peer credentials, or `embedding-host`.
        channel: where: `terminal`, `script`, `socket`, `host`, `page`.
        at: when.
        conditions: what an accepted update waits for besides what the settings say (requirement 5.3-b).
        not_before: it does not begin earlier.
        expires_at: when the answer stops to count by itself (of an accepted update: unless it has begun to fetch).
        remind_at: when the user who answered *later* hears of the offer again.
    """

    offer_digest: DigestText
    answer: Answer
    authority: Annotated[str, Meta(max_length=64)]
    channel: Literal["terminal", "script", "socket", "host", "page"]
    at: Time
    conditions: tuple[Condition, ...] = ()
    not_before: Time | None = None
    expires_at: Time | None = None
    remind_at: Time | None = None
