"""Everything published before: its content, and where its chunks lie. One manifest in memory at a time."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from modelota.repository.build import Placed, recipient_set
from modelota.repository.published import Published
from modelota.spec.catalog import Catalog
from modelota.spec.manifest import Manifest, Variant


@dataclass
class Known:
    """What earlier releases tell about a new one.

    Attributes:
        twin: an admitted version with exactly the same content, or None.
        placed: wanted chunks that already lie in packs for the same recipients and of the same suite.
        deltas: the same for deltas, by the digests of the wanted chunk and of its base.
    """

    twin: str | None = None
    placed: dict[str, Placed] = field(default_factory=dict)
    deltas: dict[tuple[str, str], Placed] = field(default_factory=dict)


def look_back(
    published: Published,
    catalog: Catalog,
    *,
    content: frozenset[frozenset[str]],
    wanted: AbstractSet[str],
    recipients: frozenset[tuple[str, int, str]],
    suite: str,
) -> Known:
    """Read all admitted manifests, newest first.

    Args:
        published: the repository.
        catalog: of the model.
        content: identity of the new release (`scan.content_identity`).
        wanted: digests of its chunks.
        recipients: whom its packs are for; packs for anyone else, or another epoch, are not reused.
        suite: its packs' suite; a publisher who changes it wants the new one used.

    Raises:
        RefuseContent: a published manifest is not what was signed.
        TryLater: the store's errors.
    """
    known = Known()
    for release in reversed(catalog.releases):
        manifest = published.manifest(catalog.model, release)
        if known.twin is None and identity_of(manifest) == content:
            known.twin = release.version
        usable = [recipient_set(pack.wraps) == recipients and pack.suite == suite for pack in manifest.packs]
        for variant in manifest.variants:
            _collect(manifest, variant, usable, wanted, known)
    return known


def identity_of(manifest: Manifest) -> frozenset[frozenset[str]]:
    """What makes two releases the same content: the set of their variants, each the set of its files' digests."""
    return frozenset(frozenset(file.digest for file in variant.files) for variant in manifest.variants)


def _collect(manifest: Manifest, variant: Variant, usable: list[bool], wanted: AbstractSet[str], known: Known) -> None:
    for package in variant.packages:
        for route in package.routes:
            digest = manifest.chunks[route.chunk].digest
            if not usable[route.pack] or digest not in wanted:
                continue
            placed = Placed(manifest.packs[route.pack], route.frame, route.offset, route.length_bytes, route.codec)
            if route.base is not None:
                known.deltas.setdefault((digest, package.bases[route.base].digest), placed)
            elif package.mode == "full":
                known.placed.setdefault(digest, placed)
