"""Messages of the agent's socket about a version's life: gates, damage, removal, the user's data.

A part of `modelota.spec.api`, whose rules hold here.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from modelota.spec.api import Channel, OfferView
from modelota.spec.removal import Reason, RemovalPlan, UserDataChoice

GatedStep = Literal["fetch", "activate", "switch"]  # steps of an update that a gate stands in front of
INHIBITOR_MAX_S: Final = 7 * 86_400  # a holder that died must not keep a device from updates for ever


class InhibitorRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/inhibitors`: keep updates from `steps` until released, or until it expires.

    A holder that asks again renews what it holds: each holder of a user has one inhibitor.
    """

    holder: Annotated[str, Meta(min_length=1, max_length=64)]
    reason: Annotated[str, Meta(min_length=1, max_length=200)]
    steps: Annotated[tuple[GatedStep, ...], Meta(min_length=1, max_length=3)] = ("fetch", "activate", "switch")
    expires_s: Annotated[int, Meta(ge=1, le=INHIBITOR_MAX_S)] = 3600


class InhibitorView(msgspec.Struct, frozen=True, kw_only=True):
    """An inhibitor that is held; `uid` is whose process asked for it, where that is known."""

    id: str
    holder: str
    reason: str
    steps: tuple[GatedStep, ...]
    until: str
    uid: int | None = None


class InhibitorsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/inhibitors`."""

    inhibitors: tuple[InhibitorView, ...]


class ConditionsRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/conditions`: what the host knows; what it leaves out, or null, stays as it was."""

    charging: bool | None = None
    unmetered: bool | None = None
    parked: bool | None = None


class ConditionView(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a condition holds; None is unknown, with the reason. `told_at`: when the host said so, or None."""

    holds: bool | None
    told_at: str | None = None
    reason: str | None = None


class ConditionsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `GET /v1/conditions` and to `POST /v1/conditions`."""

    charging: ConditionView
    unmetered: ConditionView
    parked: ConditionView


class VerifyRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/verify`: read every installed version; with `repair`, mend what can be mended."""

    model: str | None = None
    repair: bool = False
    channel: Channel = "socket"


class DamagedFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file with chunks that are not what the publisher signed; also a missing file."""

    path: str
    chunks: int
    damaged_bytes: int


class SlotCheck(msgspec.Struct, frozen=True, kw_only=True):
    """One installed version as it lies on the disk."""

    version: str
    variant: str
    checked_bytes: int
    damaged: tuple[DamagedFile, ...] = ()


class VerifyResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/verify`.

    Attributes:
        model: which.
        slots: what was found.
        started: the repair is under way: everything it needs is on the device.
        offer: the repair has to fetch something, and waits for this offer's answer.
    """

    model: str
    slots: tuple[SlotCheck, ...]
    started: bool = False
    offer: OfferView | None = None


class RemovalPlanRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/removal/plan`: what would uninstalling the model remove?"""

    model: str | None = None
    reason: Reason = "user"
    user_data: UserDataChoice = "keep"


class RemovalPlanView(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/removal/plan`: the plan, and the digest that a confirmation names."""

    plan: RemovalPlan
    digest: str


class RemovalRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/removal`: the owner confirms the plan with this digest."""

    plan_digest: str
    channel: Channel = "socket"


class BackupRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Body of `POST /v1/backup` and `POST /v1/restore`: an encrypted file of the user's data, by its absolute path."""

    path: Annotated[str, Meta(min_length=1, max_length=4096)]
    passphrase: Annotated[str, Meta(min_length=1, max_length=1024)]
    model: str | None = None

    def __repr__(self) -> str:
        """Without the passphrase, wherever it is printed."""
        return f"BackupRequest(path={self.path!r}, model={self.model!r})"


class BackupResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/backup`: the file, and what is not in it because it is no data (path -> reason)."""

    model: str
    path: str
    size_bytes: int
    skipped: dict[str, str] = {}


class RestoreResult(msgspec.Struct, frozen=True, kw_only=True):
    """Answer to `POST /v1/restore`: of which version and when; where the data that were there before are."""

    model: str
    version: str | None
    made_at: str
    kept_beside: str | None = None
