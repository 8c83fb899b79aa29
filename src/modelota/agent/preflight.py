"""What this device has, measured as far as a release asks for it (requirement 7.1.1-a). Runs in the worker."""

from __future__ import annotations

import platform
from pathlib import Path
from typing import Final

import msgspec

import modelota
from modelota.agent.journal import Journal
from modelota.spec.manifest import Manifest, Requires
from modelota.storage.layout import Layout, ModelLayout
from modelota.storage.space import allocated_bytes
from modelota.telemetry.compute import ComputeFigures, boot_id, measure_compute
from modelota.telemetry.profile import DeviceProfile, device_profile

FACT: Final = "compute"


class _Kept(msgspec.Struct, frozen=True):
    situation: str
    figures: ComputeFigures


def profile_for(layout: Layout, journal: Journal, *requirements: Requires) -> DeviceProfile:
    """The device's profile, with the compute benchmark where one of `requirements` asks for it.

    The benchmark is run once per start of the system, kernel and agent version; its figures are journalled.
    """
    profile = device_profile(layout.root)
    if not any(one.compute.min_gops or one.compute.min_memory_gb_s for one in requirements):
        return profile
    figures = _compute(journal)
    reasons = {name: why for name, why in profile.reasons.items() if name not in {"gops", "memory_gb_s"}}
    if figures is None:
        reasons |= dict.fromkeys(("gops", "memory_gb_s"), "the benchmark could not run")
        return msgspec.structs.replace(profile, reasons=reasons)
    return msgspec.structs.replace(profile, gops=figures.gops, memory_gb_s=figures.memory_gb_s, reasons=reasons)


def _compute(journal: Journal) -> ComputeFigures | None:
    situation = f"{boot_id()} {platform.release()} {modelota.__version__}"
    data = journal.fact(FACT)
    if data is not None:
        try:
            kept = msgspec.json.decode(data, type=_Kept)
        except msgspec.MsgspecError:  # another agent version wrote it
            kept = None
        if kept is not None and kept.situation == situation:
            return kept.figures
    figures = measure_compute()
    if figures is not None:
        journal.set_fact(FACT, msgspec.json.encode(_Kept(situation, figures)))
        journal.note("", "compute-measured", msgspec.to_builtins(figures))
    return figures


def storage_share_percent(
    layout: ModelLayout,
    manifest: Manifest,
    variant: str,
    free_bytes: int | None,
    *,
    current: str | None,
    keep_bytes: int,
) -> float | None:
    """The share of the available storage that the model takes once the version is in use, in percent (8.1.1-c).

    Available is what is free and what the model takes itself. Afterwards it takes the new version, the one before
    (which is kept), `keep_bytes` of older ones, and the user's data with their copies, as they lie now: allocated
    blocks, each inode once.

    Args:
        layout: of the model.
        manifest: of the release.
        variant: its variant.
        free_bytes: on the file system of the device root, or None.
        current: name of the slot in use, or None.
        keep_bytes: what older versions are going to take.

    Returns:
        percent with one decimal; None where the free space is not known.
    """
    if free_bytes is None:
        return None
    own = allocated_bytes(layout.directory)
    stays = [path for path in _entries(layout.directory) if path.name.startswith("userdata") or path == layout.backups]
    if current is not None:
        stays.append(layout.slot(current))
    after = manifest.variant(variant).size_bytes + keep_bytes + sum(allocated_bytes(path) for path in stays)
    return round(100 * after / max(1, free_bytes + own), 1)


def _entries(directory: Path) -> list[Path]:
    return list(directory.iterdir()) if directory.is_dir() else []
