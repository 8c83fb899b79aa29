"""Which chunk comes from where, and in how many requests. Pure: no input or output.

A plan has exactly one mode (requirement 5.2.1-a): full, incremental, or differential.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final

import msgspec

from modelota.content.delta import BASELESS, OPERATIONS
from modelota.errors import RefuseContent
from modelota.spec.manifest import DELTA_PREFIX, Manifest, Mode, Package, Route
from modelota.spec.offer import Plan, PlannedFrame

# What this version's decoder knows: what needs no base under its own name, deltas behind their prefix.
CODECS: Final = BASELESS | {f"{DELTA_PREFIX}{name}" for name in OPERATIONS if name not in BASELESS}
INCREMENTAL_MAX_PERCENT: Final = 30  # of the sealed full package (requirement 5.2.1-a)
# A differential plan is worth it when it saves more than both over an incremental one that is allowed: what the headers
# of one request take, and a hundredth of what would be fetched.
DELTAS_WORTH_BYTES: Final = 64
DELTAS_WORTH_PERCENT: Final = 1


class Range(msgspec.Struct, frozen=True, kw_only=True):
    """One ranged request.

    Attributes:
        pack: digest of the pack.
        offset: where the range starts in it.
        length_bytes: of the range.
        frames: the wanted frames inside it, by ascending offset.
    """

    pack: str
    offset: int
    length_bytes: int
    frames: tuple[PlannedFrame, ...]


def plan_full(manifest: Manifest, manifest_digest: str, variant_name: str, *, codecs: Collection[str] = CODECS) -> Plan:
    """Plan a full package: every chunk once, in reading order (pack, offset).

    Where a chunk has several routes, the first in the manifest that `codecs` can decode is taken.

    Args:
        manifest: checked (`Manifest.check`).
        manifest_digest: its SHA-256, as the catalog names it.
        variant_name: the variant wanted.
        codecs: what the decoder knows.

    Raises:
        RefuseContent: `manifest-mismatch` (no such variant, no full package), `document-needs-newer` (a chunk can be
            had only with a codec that is not in `codecs`).
    """
    chosen = _whole_frames(manifest, variant_name, codecs)
    return _plan(manifest, "full", manifest_digest, variant_name, chosen.values(), ())


def plan_cheapest(
    manifest: Manifest,
    manifest_digest: str,
    variant_name: str,
    *,
    held: Collection[str],
    bases: Collection[tuple[str, str]],
    codecs: Collection[str] = CODECS,
) -> Plan:
    """The plan of one mode that fetches least; of equal ones the simplest (full, incremental, differential).

    An incremental plan takes what the device holds and fetches the rest whole; it is allowed when that rest is at most
    `INCREMENTAL_MAX_PERCENT` of the full package (requirement 5.2.1-a), whatever packages the publisher made. A
    differential plan may also use deltas against chunks that the device holds; it is allowed when the publisher made
    such a package for a version that the device has, and chosen over an incremental one when it saves more than
    `DELTAS_WORTH_BYTES` and `DELTAS_WORTH_PERCENT`.

    Args:
        manifest: checked.
        manifest_digest: its SHA-256.
        variant_name: the variant wanted.
        held: digests of the chunks that the device holds, of whatever version, verified when they are used.
        bases: version and variant of every slot that the device has.
        codecs: what the decoder knows.

    Raises:
        RefuseContent: as `plan_full`.
    """
    variant = manifest.variant(variant_name)
    whole = _whole_frames(manifest, variant_name, codecs)
    full = _plan(manifest, "full", manifest_digest, variant_name, whole.values(), ())
    local = {index for index in whole if manifest.chunks[index].digest in held}
    rest = {index: frame for index, frame in whole.items() if index not in local}
    incremental = _plan(manifest, "incremental", manifest_digest, variant_name, rest.values(), local)
    is_small = incremental.fetch_bytes * 100 <= full.fetch_bytes * INCREMENTAL_MAX_PERCENT
    plans = [full, incremental] if is_small else [full]
    usable = [
        package
        for package in variant.packages
        if package.mode == "differential" and (package.base_version, package.base_variant) in bases
    ]
    if usable:
        smallest = dict(rest)
        for package in usable:
            for route in package.routes:
                known = smallest.get(route.chunk)
                frame = _frame(manifest, package, route)
                fits = route.codec in codecs and (frame.base is None or frame.base in held)
                if known is not None and fits and frame.length_bytes < known.length_bytes:
                    smallest[route.chunk] = frame
        differential = _plan(manifest, "differential", manifest_digest, variant_name, smallest.values(), local)
        worth_bytes = max(DELTAS_WORTH_BYTES, incremental.fetch_bytes * DELTAS_WORTH_PERCENT // 100)
        if not is_small or incremental.fetch_bytes - differential.fetch_bytes > worth_bytes:
            plans.append(differential)
    return min(plans, key=lambda plan: plan.fetch_bytes)  # min keeps the first of equal ones


def plan_repair(
    manifest: Manifest,
    manifest_digest: str,
    variant_name: str,
    *,
    held: Collection[str],
    codecs: Collection[str] = CODECS,
) -> Plan:
    """Rebuild an installed variant: what is whole on the device is taken from there, and only the rest is fetched.

    Raises:
        RefuseContent: as `plan_full`.
    """
    whole = _whole_frames(manifest, variant_name, codecs)
    local = {index for index in whole if manifest.chunks[index].digest in held}
    rest = [frame for index, frame in whole.items() if index not in local]
    return _plan(manifest, "incremental", manifest_digest, variant_name, rest, local)


def without(plan: Plan, manifest: Manifest, damaged: Collection[str], *, codecs: Collection[str] = CODECS) -> Plan:
    """The same plan when chunks that it counted on turned out damaged or gone: what needs them is fetched whole.

    Args:
        plan: as it was offered.
        manifest: of the release.
        damaged: digests of chunks that the device does not hold after all.
        codecs: what the decoder knows.

    Returns:
        A plan of the same mode, and `plan` itself when nothing changes.
    """
    if not damaged:
        return plan
    lost = {index for index in plan.local_chunks if manifest.chunks[index].digest in damaged}
    lost |= {frame.chunk for frame in plan.frames if frame.base in damaged}
    if not lost:
        return plan
    whole = _whole_frames(manifest, plan.variant, codecs)
    frames = [frame for frame in plan.frames if frame.chunk not in lost]
    frames += [whole[index] for index in lost]
    local = [index for index in plan.local_chunks if index not in lost]
    return _plan(manifest, plan.mode, plan.manifest_digest, plan.variant, frames, local)


def needed_digests(plan: Plan, manifest: Manifest) -> frozenset[str]:
    """Digests of the chunks that the device must hold to carry out `plan`."""
    local = {manifest.chunks[index].digest for index in plan.local_chunks}
    return frozenset(local | {frame.base for frame in plan.frames if frame.base is not None})


def _whole_frames(manifest: Manifest, variant_name: str, codecs: Collection[str]) -> dict[int, PlannedFrame]:
    """One frame for every chunk of the variant that needs nothing else."""
    package = manifest.variant(variant_name).package("full")
    if package is None:
        detail = f"no full package of {variant_name}"
        raise RefuseContent("manifest-mismatch", model=manifest.model, version=manifest.version, detail=detail)
    chosen: dict[int, PlannedFrame] = {}
    for route in package.routes:
        if route.codec in codecs and route.base is None:
            chosen.setdefault(route.chunk, _frame(manifest, package, route))
    unreadable = next((route for route in package.routes if route.chunk not in chosen), None)
    if unreadable is not None:
        raise RefuseContent("document-needs-newer", document=Manifest.NAME, field=f"codec {unreadable.codec}")
    return chosen


def _frame(manifest: Manifest, package: Package, route: Route) -> PlannedFrame:
    base = None if route.base is None else package.bases[route.base]
    return PlannedFrame(
        pack=manifest.packs[route.pack].digest,
        frame=route.frame,
        offset=route.offset,
        length_bytes=route.length_bytes,
        codec=route.codec,
        chunk=route.chunk,
        base=base.digest if base else None,
        base_bytes=base.size_bytes if base else 0,
    )


def _plan(
    manifest: Manifest,
    mode: Mode,
    manifest_digest: str,
    variant: str,
    frames: Iterable[PlannedFrame],
    local: Iterable[int],
) -> Plan:
    order = {pack.digest: number for number, pack in enumerate(manifest.packs)}
    ordered = tuple(sorted(frames, key=lambda frame: (order[frame.pack], frame.offset, frame.chunk)))
    return Plan(
        mode=mode,
        manifest_digest=manifest_digest,
        variant=variant,
        frames=ordered,
        local_chunks=tuple(sorted(local)),
        fetch_bytes=sum(frame.length_bytes for frame in ordered),
    )


def coalesce(frames: Sequence[PlannedFrame], max_bytes: int, max_gap_bytes: int) -> list[Range]:
    """Group frames that lie close together in one pack into ranged requests.

    Args:
        frames: in reading order; order between packs is kept.
        max_bytes: the most bytes in one request; a single frame may be longer.
        max_gap_bytes: unwanted bytes between two frames that are read rather than asked for separately.
    """
    ranges: list[Range] = []
    group: list[PlannedFrame] = []
    end = 0
    for frame in frames:
        frame_end = frame.offset + frame.length_bytes
        joins = (
            bool(group)
            and frame.pack == group[0].pack
            and frame.offset >= group[-1].offset
            and frame.offset - end <= max_gap_bytes
            and max(end, frame_end) - group[0].offset <= max_bytes
        )
        if not joins and group:
            ranges.append(_range(group, end))
            group = []
        end = max(end, frame_end) if group else frame_end
        group.append(frame)
    if group:
        ranges.append(_range(group, end))
    return ranges


def _range(group: list[PlannedFrame], end: int) -> Range:
    return Range(pack=group[0].pack, offset=group[0].offset, length_bytes=end - group[0].offset, frames=tuple(group))
