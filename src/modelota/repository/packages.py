"""Which packages a release has besides the full one, and what they cost.

Incremental: the chunks that the predecessor lacks, as they lie in packs already. Differential: for a baseline, each of
these chunks in the shortest of its codings, deltas against the baseline's chunks included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from modelota.delivery.planner import INCREMENTAL_MAX_PERCENT
from modelota.errors import AskPerson, ModelotaError
from modelota.repository.baseline import Baseline, PackKeys
from modelota.repository.build import OnPack, Packer, Placed
from modelota.repository.description import SourceVariant
from modelota.repository.differences import Differences, map_base, map_target
from modelota.repository.encoding import Encoders
from modelota.repository.pairing import MappedFile, shared_tensors
from modelota.repository.published import Published
from modelota.repository.report import PackageReport, SkipReason
from modelota.repository.scan import Progress, ScannedFile
from modelota.repository.tables import PlannedPackage, PlannedRoute, chunks_of, full_package
from modelota.spec.catalog import Catalog
from modelota.spec.limits import MIB
from modelota.spec.manifest import Chunk, Manifest, Pack, Variant

SAVING_MIN_PERCENT: Final = 1  # of the package that a device would fetch otherwise, unless a person named the base
ROUTE_BYTES: Final = 16  # about what a route adds to a compressed manifest
BASE_BYTES: Final = 40  # the same for a base chunk
DESCRIBED_MAX_BYTES: Final = 4 * MIB  # of a compressed manifest, for all packages but the full ones


@dataclass(frozen=True)
class PackageChoice:
    """What a person wants besides full packages.

    Attributes:
        full_only: nothing.
        incremental: an incremental package from the predecessor is demanded: one that is too large, or has nothing to
            start from, is an error.
        baselines: versions that differential packages start from; None is the usual choice (`rules.baselines_of`).
        archive_key: file of the archive key, for baselines whose class keys are not in the workspace any more.
        workers: processes that code chunks; None is one per processor, 0 or 1 is this one.
    """

    full_only: bool = False
    incremental: bool = False
    baselines: tuple[str, ...] | None = None
    archive_key: Path | None = None
    workers: int | None = None


@dataclass
class Packages:
    """What came out.

    Attributes:
        planned: packages of each variant, by its name, the full one first.
        reports: the same with sizes, and with those that were skipped.
        packs: that hold deltas, and are new.
    """

    planned: dict[str, list[PlannedPackage]] = field(default_factory=dict)
    reports: dict[str, list[PackageReport]] = field(default_factory=dict)
    packs: list[Pack] = field(default_factory=list)


class PackageBuilder:
    """Makes the packages of one release.

    Args:
        published: the repository.
        catalog: of the model.
        variants: of the release.
        scanned: the first reading of each file.
        placed: where each chunk lies, by digest.
        deltas: published deltas, by the digests of chunk and base.
        keys: open baselines.
        encoders: code deltas.
        new_packer: makes a packer for deltas.
        release_pack: takes a pack, with its file, that is going to be published.
        refuse: is told what a person demanded and cannot have.
    """

    def __init__(
        self,
        *,
        published: Published,
        catalog: Catalog,
        variants: Sequence[SourceVariant],
        scanned: Mapping[Path, ScannedFile],
        placed: Mapping[str, Placed],
        deltas: Mapping[tuple[str, str], Placed],
        keys: PackKeys,
        encoders: Encoders,
        new_packer: Callable[[OnPack], Packer],
        release_pack: Callable[[Path, Pack], None],
        refuse: Callable[[ModelotaError], None],
    ) -> None:
        self._published = published
        self._catalog = catalog
        self._variants = variants
        self._placed = placed
        self._keys = keys
        self._release_pack = release_pack
        self._refuse = refuse
        self._chunks = {variant.name: chunks_of(variant, scanned) for variant in variants}
        self._target = {variant.name: map_target(variant, scanned) for variant in variants}
        self._differences = Differences(placed, deltas, encoders, new_packer)
        self._described_bytes = 0
        self.made = Packages()
        for variant in variants:
            full = full_package(self._chunks[variant.name], placed)
            self.made.planned[variant.name] = [full]
            self.made.reports[variant.name] = [PackageReport("full", None, None, full.size_bytes)]

    def add_incremental(self, predecessor: Manifest, *, demanded: bool) -> None:
        """Add the incremental packages from `predecessor`; reads none of its content."""
        baseline = Baseline(self._published.store, predecessor, self._keys)
        bases = {each.name: _counterpart(each, self._chunks[each.name], baseline) for each in self._variants}
        if demanded and not any(bases.values()):
            self._refuse(AskPerson("incremental-without-base", detail="no-counterpart"))
        for variant in self._variants:
            base = bases[variant.name]
            if base is None:
                self._skip(variant, PackageReport("incremental", baseline.version, None, None, "no-counterpart"))
                continue
            routes = self._lacking(variant, baseline, base)
            package = PlannedPackage("incremental", routes, baseline.version, base.name)
            size_bytes, full_bytes = package.size_bytes, self.made.planned[variant.name][0].size_bytes
            if size_bytes * 100 > full_bytes * INCREMENTAL_MAX_PERCENT:
                self._skip(variant, _report(package, "too-large"))
                if demanded:
                    self._refuse(_too_large(variant.name, baseline.version, size_bytes, full_bytes))
            else:
                self._keep(variant, package)

    def add_differential(self, version: str, *, chosen: bool, on_bytes: Progress) -> None:
        """Add the differential packages from `version`.

        Args:
            version: an older release.
            chosen: a person named it: the package is made if it is smaller than the full one at all, and what prevents
                it is an error, not a note.
            on_bytes: called with numbers of bytes that add up to the size of all variants.

        Raises:
            AskPerson: `baseline-unusable` with `locked`; `model-changed`, `model-unreadable`; `enrolment-invalid`,
                `no-space`, `permission-denied`.
            RefuseContent: a chosen baseline is damaged.
            TryLater: `worker-crashed`; the store's errors.
        """
        release = self._catalog.release(version)
        if release is None:
            raise AskPerson("baseline-unusable", version=version, detail="unknown")
        manifest = self._published.manifest(self._catalog.model, release)
        baseline = Baseline(self._published.store, manifest, self._keys)
        for variant in self._variants:
            try:
                self._add_differential(variant, baseline, on_bytes, chosen=chosen)
            except ModelotaError as error:
                reason = _why_not(error)
                if reason is None:
                    raise
                if chosen:
                    if reason == "locked":
                        raise AskPerson("baseline-unusable", version=version, detail="locked") from error
                    raise
                self._skip(variant, PackageReport("differential", version, None, None, reason))

    def _add_differential(
        self, variant: SourceVariant, baseline: Baseline, on_bytes: Progress, *, chosen: bool
    ) -> None:
        target = self._target[variant.name]
        base = _counterpart(variant, self._chunks[variant.name], baseline, target)
        if base is None:
            self._skip(variant, PackageReport("differential", baseline.version, None, None, "no-counterpart"))
            return
        lacking = self._lacking(variant, baseline, base)
        draft = self._differences.code(target, lacking, baseline, base, on_bytes)
        package = PlannedPackage("differential", draft.routes, baseline.version, base.name)
        reason = self._why_leave_out(variant, package, chosen=chosen)
        if reason is not None:
            draft.discard()
            self._skip(variant, _report(package, reason, draft.dropped))
            return
        for path, pack in draft.packs:
            self._release_pack(path, pack)
            self.made.packs.append(pack)
        self._differences.keep(draft)
        self._keep(variant, package, draft.dropped)

    def _why_leave_out(self, variant: SourceVariant, package: PlannedPackage, *, chosen: bool) -> SkipReason | None:
        """Why a differential package is not worth publishing; None if it is."""
        planned = self.made.planned[variant.name]
        described_bytes = _described_bytes(package)
        if chosen:
            if package.size_bytes >= planned[0].size_bytes:
                return "not-below-full"
        else:
            base = package.base_version, package.base_variant
            cheapest_bytes = min(
                other.size_bytes
                for other in planned
                if other.mode == "full" or (other.base_version, other.base_variant) == base
            )
            if (package.size_bytes + described_bytes) * 100 > cheapest_bytes * (100 - SAVING_MIN_PERCENT):
                return "not-smaller"
        return "manifest-full" if self._described_bytes + described_bytes > DESCRIBED_MAX_BYTES else None

    def _lacking(self, variant: SourceVariant, baseline: Baseline, base: Variant) -> tuple[PlannedRoute, ...]:
        """Routes to exactly the chunks that a device with `base` lacks."""
        known = baseline.chunks_of(base)
        return tuple(
            PlannedRoute(chunk, self._placed[chunk.digest])
            for chunk in self._chunks[variant.name]
            if chunk.digest not in known
        )

    def _keep(self, variant: SourceVariant, package: PlannedPackage, dropped: int = 0) -> None:
        self._described_bytes += _described_bytes(package)
        self.made.planned[variant.name].append(package)
        self.made.reports[variant.name].append(_report(package, None, dropped))

    def _skip(self, variant: SourceVariant, report: PackageReport) -> None:
        self.made.reports[variant.name].append(report)


def _counterpart(
    variant: SourceVariant,
    chunks: Sequence[Chunk],
    baseline: Baseline,
    target: Sequence[MappedFile] | None = None,
) -> Variant | None:
    """The variant of the baseline that `variant` follows: of the same name, else the most similar of its runtime.

    Without `target` only shared chunks count, and nothing of the baseline is read.
    """
    variants = baseline.manifest.variants
    same = next((other for other in variants if other.name == variant.name), None)
    if same is not None:
        return same
    best: tuple[tuple[int, int], Variant] | None = None
    for other in variants:
        if other.runtime.name != variant.runtime.name:
            continue
        known = baseline.chunks_of(other)
        shared_bytes = sum(chunk.size_bytes for chunk in chunks if chunk.digest in known)
        shared = 0 if target is None else shared_tensors(target, map_base(baseline, other))
        if (shared or shared_bytes) and (best is None or (shared, shared_bytes) > best[0]):
            best = (shared, shared_bytes), other
    return best[1] if best is not None else None


def _why_not(error: ModelotaError) -> SkipReason | None:
    """Why a baseline that nobody chose is passed over; None for an error that has another cause."""
    if error.code == "pack-key-missing":
        return "locked"
    return "unreadable" if error.branch == "refuse-content" or error.code == "object-missing" else None


def _described_bytes(package: PlannedPackage) -> int:
    """About what the package adds to a compressed manifest, which every device fetches."""
    bases = {route.base.digest for route in package.routes if route.base is not None}
    return len(package.routes) * ROUTE_BYTES + len(bases) * BASE_BYTES


def _report(package: PlannedPackage, skipped: SkipReason | None, dropped: int = 0) -> PackageReport:
    return PackageReport(package.mode, package.base_version, package.base_variant, package.size_bytes, skipped, dropped)


def _too_large(variant: str, base: str, size_bytes: int, full_bytes: int) -> AskPerson:
    return AskPerson(
        "incremental-too-large",
        variant=variant,
        base=base,
        size_bytes=size_bytes,
        full_bytes=full_bytes,
        percent=-(-size_bytes * 100 // full_bytes),
        limit=INCREMENTAL_MAX_PERCENT,
    )
