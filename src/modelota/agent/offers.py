"""Build an offer from what was found. Pure: the same situation always gives the same offer and digest (ADR 0005)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from modelota.spec.limits import MIB
from modelota.spec.manifest import Manifest, Variant
from modelota.spec.offer import WITHDRAWN, Covers, Direction, Offer, Plan
from modelota.spec.slot import SlotDescription, SlotId
from modelota.spec.version import Version
from modelota.storage.assembly import peak_space_bytes

STORAGE_SHARE_MAX: Final = 0.1  # table 1 of the standard
CEILING_SHARE: Final = 0.1
CEILING_SMALL_BYTES: Final = 8 * MIB  # a small package may be fetched twice, up to this much more

# What a first guess of a duration rests on before this device measured anything: bytes, or tests, per second.
GUESSED_RATES: Final[dict[str, float]] = {"fetching": 5e6, "verifying": 300e6, "deploying": 100e6, "testing": 0.2}


def ceiling_bytes(planned_bytes: int) -> int:
    """The most that may be fetched under an offer: the plan, and room for what a bad network makes us fetch again."""
    return planned_bytes + max(int(planned_bytes * CEILING_SHARE), min(planned_bytes, CEILING_SMALL_BYTES))


def build_offer(
    manifest: Manifest,
    plan: Plan,
    *,
    current: SlotDescription | None,
    kept: tuple[SlotId, ...],
    failed_before: bool,
    storage_share_percent: float | None,
    stale_since: str | None,
    direction: Direction | None = None,
    peak_bytes: int | None = None,
    withdrawn: bool = False,
) -> Offer:
    """The offer to move from `current` to what `plan` builds.

    Args:
        manifest: of the release that is offered.
        plan: how its variant gets here.
        current: the version in use; None on a first install.
        kept: every slot the device holds.
        failed_before: the version was tried on this device and went back.
        storage_share_percent: what the model takes of the available storage afterwards (8.1.1-c); None: not known.
        stale_since: when the metadata that admits the release expired; None when it is fresh.
        direction: None tells it from the versions.
        withdrawn: its publisher took the release back, and the device still holds it.
        peak_bytes: space that everything which follows takes at most; None: what `plan` takes alone.
    """
    variant = manifest.variant(plan.variant)
    full = variant.package("full")
    from_slot = current.slot if current else None
    if direction is None and from_slot is None:
        direction = "install"
    elif direction is None and from_slot is not None:
        older = Version.parse(manifest.version) < Version.parse(from_slot.version)
        direction = "rollback" if older else "update"
    known = set(current.permissions) if current else set()
    assert direction is not None
    consequences = ["engine-restarts", "user-data-kept"] if current else []
    if direction == "rollback":
        consequences += ["older-version", "fetched-again"] if plan.frames else ["older-version"]
    if failed_before:
        consequences.append("failed-before")
    if withdrawn:
        consequences.append(WITHDRAWN)
    if storage_share_percent is not None and storage_share_percent > 100 * STORAGE_SHARE_MAX:
        consequences.append("storage-share")
    keep = (from_slot,) if from_slot else ()
    removed = tuple(slot.version for slot in kept if slot not in keep and direction != "repair")
    return Offer(
        model=manifest.model,
        direction=direction,
        from_version=from_slot.version if from_slot else None,
        from_variant=from_slot.variant if from_slot else None,
        to_version=manifest.version,
        to_variant=variant.name,
        manifest_digest=plan.manifest_digest,
        plan_digest=plan.digest,
        mode=plan.mode,
        planned_bytes=plan.fetch_bytes,
        ceiling_bytes=ceiling_bytes(plan.fetch_bytes),
        full_bytes=full.size_bytes if full else plan.fetch_bytes,
        installed_bytes=variant.size_bytes,
        peak_space_bytes=peak_space_bytes(manifest, plan) if peak_bytes is None else peak_bytes,
        kind=manifest.kind,
        urgency_reason=manifest.urgency.reason if manifest.urgency else None,
        notes=manifest.notes if direction != "repair" else {},  # they tell what a version brought, not what is mended
        permissions=manifest.permissions,
        new_permissions=tuple(permission for permission in manifest.permissions if permission not in known),
        consequences=tuple(consequences),
        covers=Covers(
            fetch_up_to_bytes=ceiling_bytes(plan.fetch_bytes),
            return_automatically_until_watch_ends=current is not None,
            keep_versions=tuple(slot.version for slot in keep),
            remove_versions=removed,
        ),
        stale_since=stale_since,
        storage_share_percent=_coarse(storage_share_percent),
    )


def _coarse(percent: float | None) -> float | None:
    """Rounded up to a whole percent: an offer's digest must not change with every file written.

    A check that finds the same situation makes the same offer (ADR 0005); free space differs by a few files each time.
    """
    return None if percent is None else float(max(1, math.ceil(percent)))


def estimate(plan: Plan, variant: Variant, rate: Callable[[str], float | None]) -> tuple[float, bool]:
    """Seconds that the update will probably take on this device, and whether that is a first guess.

    Args:
        plan: what is fetched.
        variant: what is written and tested.
        rate: measured units per second of a step on this device, or None.
    """
    tests = variant.self_tests
    guess = False
    seconds = 0.0
    for step, units in (
        ("fetching", plan.fetch_bytes),
        ("verifying", plan.fetch_bytes),
        ("deploying", variant.size_bytes),
        ("testing", len(tests.functional) + (tests.perplexity is not None) + (tests.performance is not None)),
    ):
        measured = rate(step)
        guess = guess or measured is None
        seconds += units / (measured or GUESSED_RATES[step])
    return seconds, guess
