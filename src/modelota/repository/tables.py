"""The manifest's tables: chunks, packs, and the routes of every package through them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from modelota.repository.build import Placed
from modelota.repository.description import SourceVariant
from modelota.repository.scan import ScannedFile
from modelota.repository.structure import structure_of
from modelota.spec.manifest import Chunk, FileEntry, Mode, Pack, Package, Route, Variant


class PlannedRoute(NamedTuple):
    """A way to get one chunk: where it lies, and for a delta the chunk of the base that it is decoded against."""

    chunk: Chunk
    placed: Placed
    base: Chunk | None = None


@dataclass(frozen=True)
class PlannedPackage:
    """A package before it has a place in a manifest.

    Attributes:
        mode: full, incremental or differential.
        routes: in reading order of the variant's files.
        base_version: the release it starts from; None for a full one.
        base_variant: the variant of that release.
    """

    mode: Mode
    routes: tuple[PlannedRoute, ...]
    base_version: str | None = None
    base_variant: str | None = None

    @property
    def size_bytes(self) -> int:
        """What a device fetches: sealed frames."""
        return sum(route.placed.length_bytes for route in self.routes)


class Tables(NamedTuple):
    """The tables of a manifest."""

    chunks: tuple[Chunk, ...]
    packs: tuple[Pack, ...]
    variants: tuple[Variant, ...]


def chunks_of(variant: SourceVariant, scanned: Mapping[Path, ScannedFile]) -> tuple[Chunk, ...]:
    """The distinct chunks of a variant, in reading order."""
    found = {chunk.digest: chunk for _, place in variant.files for chunk in scanned[place].chunks}
    return tuple(found.values())


def full_package(chunks: Sequence[Chunk], placed: Mapping[str, Placed]) -> PlannedPackage:
    """The package that holds every chunk of a variant."""
    return PlannedPackage("full", tuple(PlannedRoute(chunk, placed[chunk.digest]) for chunk in chunks))


def lay_tables(
    variants: Sequence[SourceVariant],
    scanned: Mapping[Path, ScannedFile],
    packages: Mapping[str, Sequence[PlannedPackage]],
) -> Tables:
    """Describe a release.

    Args:
        variants: with their files.
        scanned: the first reading of each file.
        packages: of each variant, by its name, the full one first.
    """
    chunks: dict[str, tuple[int, Chunk]] = {}
    packs: dict[str, tuple[int, Pack]] = {}
    described = []
    for variant in variants:
        files = []
        for path, place in variant.files:
            file = scanned[place]
            for chunk in file.chunks:
                chunks.setdefault(chunk.digest, (len(chunks), chunk))
            indexes = tuple(chunks[chunk.digest][0] for chunk in file.chunks)
            files.append(FileEntry(path=path, size_bytes=file.size_bytes, digest=file.digest, chunks=indexes))
        described.append(
            Variant(
                name=variant.name,
                files=tuple(files),
                runtime=variant.runtime,
                requires=variant.requires,
                self_tests=variant.self_tests,
                packages=tuple(_package(package, chunks, packs) for package in packages[variant.name]),
                structure=structure_of(variant, scanned),
            )
        )
    return Tables(
        tuple(chunk for _, chunk in chunks.values()), tuple(pack for _, pack in packs.values()), tuple(described)
    )


def _package(
    package: PlannedPackage, chunks: Mapping[str, tuple[int, Chunk]], packs: dict[str, tuple[int, Pack]]
) -> Package:
    bases: dict[str, tuple[int, Chunk]] = {}
    routes = []
    for chunk, placed, base in package.routes:
        pack = packs.setdefault(placed.pack.digest, (len(packs), placed.pack))[0]
        number = None if base is None else bases.setdefault(base.digest, (len(bases), base))[0]
        index = chunks[chunk.digest][0]
        routes.append(Route(index, pack, placed.frame, placed.offset, placed.length_bytes, placed.codec, number))
    return Package(
        mode=package.mode,
        size_bytes=package.size_bytes,
        routes=tuple(routes),
        base_version=package.base_version,
        base_variant=package.base_variant,
        bases=tuple(base for _, base in bases.values()),
    )
