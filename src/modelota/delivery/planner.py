"""Which chunk comes from where, and in how many requests. Pure: no input or output.

Only full packages so far: every chunk of the variant comes from a pack.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from modelota.errors import RefuseContent
from modelota.spec.manifest import Manifest, Route
from modelota.spec.offer import Plan, PlannedFrame

CODECS: Final = frozenset({"raw", "zstd"})  # what this version's decoder knows


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
    package = manifest.variant(variant_name).package("full")
    if package is None:
        detail = f"no full package of {variant_name}"
        raise RefuseContent("manifest-mismatch", model=manifest.model, version=manifest.version, detail=detail)
    chosen: dict[int, Route] = {}
    for route in package.routes:
        if route.codec in codecs:
            chosen.setdefault(route.chunk, route)
    unreadable = next((route for route in package.routes if route.chunk not in chosen), None)
    if unreadable is not None:
        raise RefuseContent("document-needs-newer", document=Manifest.NAME, field=f"codec {unreadable.codec}")
    routes = sorted(chosen.values(), key=lambda route: (route.pack, route.offset, route.chunk))
    frames = tuple(
        PlannedFrame(
            pack=manifest.packs[route.pack].digest,
            frame=route.frame,
            offset=route.offset,
            length_bytes=route.length_bytes,
            codec=route.codec,
            chunk=route.chunk,
        )
        for route in routes
    )
    return Plan(
        mode="full",
        manifest_digest=manifest_digest,
        variant=variant_name,
        frames=frames,
        fetch_bytes=sum(frame.length_bytes for frame in frames),
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
