"""Messages of the agent's socket about cleaning: how a scan or removal stands, its findings, its proof (clause 7.4).

A part of `modelota.spec.api`, whose rules hold here; what is asked for is in `modelota.spec.api_owner`.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from modelota.spec.api import ErrorBody

CleaningState = Literal["idle", "scanning", "found", "removing", "done", "failed"]


class SpaceView(msgspec.Struct, frozen=True, kw_only=True):
    """Free bytes of a file system before and after; others write too, so the difference is no proof by itself."""

    path: str
    before_bytes: int | None
    after_bytes: int | None


class CleaningResult(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a cleaning, in figures; `GET /v1/cleaning/removals` has each path.

    Attributes:
        removed: findings that went.
        gone: that were not there any more.
        refused: that stay, each with a reason.
        removed_bytes: of those that went.
        began_at: when.
        ended_at: when.
        free_space: per file system that something went from.
        reloaded: programs that were told that their files are gone.
    """

    removed: int
    gone: int
    refused: int
    removed_bytes: int
    began_at: str
    ended_at: str
    free_space: tuple[SpaceView, ...] = ()
    reloaded: tuple[str, ...] = ()


class CleaningView(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/cleaning`, `POST /v1/cleaning/scan`, `POST /v1/cleaning` and `DELETE /v1/cleaning`.

    Attributes:
        state: `found` has a plan that waits for its owner; `done` and `failed` are how the last scan or removal ended.
        done: files looked at in `scanning`, findings dealt with in `removing`.
        total: of how many, or None.
        deep: all local file systems are or were looked at.
        within: only this directory was, or None.
        plan_digest: what a confirmation names, from `found` on.
        certain: findings that go once the plan is agreed to.
        certain_bytes: of these.
        probable: findings that go only if each is named.
        probable_bytes: of these.
        spared: how many look like a residue and are never removed.
        files_seen: looked at.
        unreadable: could not be looked at.
        complete: False when more was found than a plan holds: the next scan finds the rest.
        began_at: of the scan or removal.
        ended_at: of it, or None.
        result: what was removed, in `done`.
        error: why it failed, in `failed`.
    """

    state: CleaningState = "idle"
    done: int = 0
    total: int | None = None
    deep: bool = False
    within: str | None = None
    plan_digest: str | None = None
    certain: int = 0
    certain_bytes: int = 0
    probable: int = 0
    probable_bytes: int = 0
    spared: int = 0
    files_seen: int = 0
    unreadable: int = 0
    complete: bool = True
    began_at: str | None = None
    ended_at: str | None = None
    result: CleaningResult | None = None
    error: ErrorBody | None = None


class FindingEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """Why something is thought to be left of a model: by the ledger, its place, its content, its tag."""

    by: str
    model: str = ""
    version: str = ""
    variant: str = ""
    file: str = ""
    proven_bytes: int = 0
    probes: int = 0
    matched: int = 0


class FindingView(msgspec.Struct, frozen=True, kw_only=True):
    r"""Something that may be removed; `id` names it in `CleaningAccept.probable`, `doubts` say why it is not certain.

    A path is text in which a backslash is doubled and a byte that is not UTF-8 is `\xNN`.
    """

    id: str
    path: str
    kind: str
    certainty: Literal["certain", "probable"]
    size_bytes: int
    evidence: FindingEvidence
    doubts: tuple[str, ...] = ()


class StayingView(msgspec.Struct, frozen=True, kw_only=True):
    """Something that stays, with its size, or a file system that was not looked at; `kind` says what it is."""

    path: str
    reason: str
    kind: str = ""
    size_bytes: int | None = None


class FindingsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/cleaning/findings?after=&limit=`: certain ones first; `next` is the next `after`, or None."""

    plan_digest: str
    findings: tuple[FindingView, ...]
    spared: tuple[StayingView, ...] = ()
    not_looked_at: tuple[StayingView, ...] = ()
    next: int | None = None


class RemovedView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one finding: removed, gone before, or refused for a reason."""

    id: str
    path: str
    kind: str
    size_bytes: int
    result: Literal["removed", "gone", "refused"]
    reason: str | None = None


class RemovalsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/cleaning/removals?after=&limit=`: the proof, piece by piece; `next` as in `FindingsPage`."""

    plan_digest: str
    removals: tuple[RemovedView, ...]
    next: int | None = None
