"""Publishing a release: read, refuse or pack, upload, commit."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from modelota.clock import Clock, iso
from modelota.delivery import paths
from modelota.errors import AskPerson, ModelotaError
from modelota.repository.archive import archive_release, full_packs, open_archive
from modelota.repository.baseline import PackKeys, read_archive_key
from modelota.repository.build import OnPack, Packer, pack_sources, recipients_of
from modelota.repository.candidate import Candidate, find_candidate
from modelota.repository.commit import Change, Signing, advance_timestamp, commit, unlock_for, upload
from modelota.repository.encoding import Encoders
from modelota.repository.keys import KeyRing
from modelota.repository.manifest_cache import DIRECTORY, ManifestCache
from modelota.repository.manifest_file import pack_manifest
from modelota.repository.packages import PackageBuilder, PackageChoice
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import Published, load_published
from modelota.repository.report import (
    Counter,
    LayoutNote,
    OnProgress,
    PackageReport,
    PublishProgress,
    PublishReport,
    VariantReport,
    no_progress,
)
from modelota.repository.roles import keys_of
from modelota.repository.rules import baselines_of
from modelota.repository.scan import check_unchanged
from modelota.repository.steps import demanded_step
from modelota.repository.tables import Tables, lay_tables
from modelota.repository.trial import read_report, report_path, report_problems
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import Catalog, CatalogRelease
from modelota.spec.document import canonical, read
from modelota.spec.limits import CATALOG_MAX_BYTES, SNAPSHOT_MAX_BYTES
from modelota.spec.manifest import Manifest, Pack
from modelota.spec.test_report import TestReport
from modelota.spec.version import Version

_DEFAULT_CHOICE = PackageChoice()


@dataclass(frozen=True)
class Built:
    """A release, packed.

    Attributes:
        tables: of its manifest.
        reports: packages of each variant, by its name, those included that were tried and skipped.
        new_packs: that are uploaded for it.
        reused_bytes: sealed bytes of chunks that published packs already hold.
    """

    tables: Tables
    reports: Mapping[str, Sequence[PackageReport]]
    new_packs: tuple[Pack, ...]
    reused_bytes: int


def publish(
    workspace: Workspace,
    source: Path,
    *,
    clock: Clock,
    passphrases: Passphrases,
    dry_run: bool = False,
    version: str | None = None,
    model: str | None = None,
    packages: PackageChoice = _DEFAULT_CHOICE,
    test_report: Path | None = None,
    on_progress: OnProgress = no_progress,
) -> PublishReport:
    """Publish the release that `source` describes.

    Publishing exactly the same release again is not an error: it finishes a commit that was interrupted. Without a dry
    run the first refusal is raised; packs that were uploaded before a failure are deleted again where that is certain
    to be safe.

    Args:
        workspace: the publisher's.
        source: a release description (`.toml`), or a model file or directory, which only a workspace for trying out
            publishes without a description.
        clock: for release time and expiry.
        passphrases: open the signing keys; a dry run asks for none.
        dry_run: write nothing public; report sizes, reach and refusals.
        version: of a release without description; None is the next patch, or 1.1.1. With a description it must agree.
        model: as `version`; None is the workspace's only model.
        packages: which packages it is to have besides the full ones, and how they are made.
        test_report: what `repo test` wrote about it; None: where the workspace keeps it.
        on_progress: is told how far it is.

    Raises:
        AskPerson: `description-invalid`, `version-invalid`, `version-exists`, `version-order`,
            `version-step-too-small`, `self-test-missing`, `interface-dropped`, `core-test-dropped`, `model-empty`,
            `model-unreadable`, `model-changed`, `key-missing`, `passphrase-missing`, `key-unlock-failed`,
            `argument-invalid`, `no-space`, `permission-denied`, `baseline-unusable`, `incremental-too-large`,
            `incremental-without-base`, `model-file-hostile`, `test-report-missing`, `test-report-stale`,
            `test-report-failed`, `archive-missing`.
        RefuseContent: `version-content-conflict`, `document-too-large`; the repository is damaged or not one.
        TryLater: `publish-conflict`, `worker-crashed`; the store's errors.
    """
    archive = read_archive_key(packages.archive_key, passphrases) if packages.archive_key is not None else None
    signing = Signing(KeyRing(workspace.key_directories, passphrases), workspace.config.expiry_days, clock)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    published.cache = ManifestCache(workspace.path / DIRECTORY)
    candidate = find_candidate(workspace, published, source, version=version, model=model)
    keys = PackKeys(workspace, archive)
    return _Publication(
        workspace, published, candidate, signing, on_progress, packages, keys, test_report, dry_run=dry_run
    ).run()


class _Publication:
    def __init__(
        self,
        workspace: Workspace,
        published: Published,
        candidate: Candidate,
        signing: Signing,
        on_progress: OnProgress,
        choice: PackageChoice,
        keys: PackKeys,
        report_file: Path | None,
        *,
        dry_run: bool,
    ) -> None:
        self._workspace = workspace
        self._published = published
        self._candidate = candidate
        self._signing = signing
        self._on_progress = on_progress
        self._choice = choice
        self._keys = keys
        self._report_file = report_file
        self._test_report: TestReport | None = None  # read once: manifest and archive tell of the same
        self._dry_run = dry_run
        self._model = candidate.catalog.model
        self._role = paths.releases_role(self._model)
        self._refusals: list[ModelotaError] = []
        self._uploaded: list[str] = []

    def run(self) -> PublishReport:
        candidate, published = self._candidate, self._published
        existing = candidate.catalog.release(candidate.description.version)
        self._refuse(candidate.find_predecessor(published))
        self._refuse(problem for problem in candidate.problems() if problem.code != "version-exists")
        self._refuse(self._unmet_demands())
        self._refuse(self._missing_keys())
        if not self._dry_run:
            # ask for every passphrase before the long work, not after it
            unlock_for(published, [self._role], self._signing)
        total = sum(place.stat().st_size for place in candidate.places)
        candidate.read(published, self._workspace, Counter(self._on_progress, "reading", total))
        if existing is not None:
            manifest = published.manifest(self._model, existing)
            if candidate.is_same_as(manifest):
                return self._finish_again(manifest)
            self._refuse(iter([AskPerson("version-exists", model=self._model, version=existing.version)]))
        self._refuse(candidate.content_problems())
        self._test_report = self._read_test_report()
        self._refuse(report_problems(self._workspace, published, candidate, self._test_report))
        baselines = self._baselines()
        with self._workspace.staging() as directory, self._undo_uploads():
            built = self._pack(directory, total, baselines)
            manifest = self._manifest(built)
            if self._dry_run:
                return self._report(manifest, built)
            check_unchanged(list(candidate.scanned.values()))
            self._archive(manifest)
            snapshot = self._commit(manifest)
        self._workspace.note_seen(snapshot)
        return self._report(manifest, built, snapshot=snapshot)

    def _read_test_report(self) -> TestReport | None:
        if self._report_file is not None:
            return read_report(self._report_file)
        return read_report(report_path(self._workspace, self._model, self._candidate.description.version))

    def _refuse(self, problems: Iterator[ModelotaError]) -> None:
        for problem in problems:
            if not self._dry_run:
                raise problem
            self._refusals.append(problem)

    def _unmet_demands(self) -> Iterator[ModelotaError]:
        candidate = self._candidate
        # one that is named and cannot be found was refused already
        if self._choice.incremental and candidate.predecessor is None and candidate.description.predecessor is None:
            yield AskPerson("incremental-without-base", detail="no-predecessor")
        is_new = candidate.catalog.release(candidate.description.version) is None
        if is_new and not self._workspace.config.dev and self._workspace.config.archive_place is None:
            yield AskPerson("archive-missing", model=self._model)

    def _missing_keys(self) -> Iterator[ModelotaError]:
        root, targets = self._published.root.signed, self._published.targets.signed
        for name, delegator in ((self._role, targets), ("snapshot", root), ("timestamp", root)):
            keyids, need = keys_of(delegator, name)
            have = self._signing.ring.have(keyids)
            if have < need:
                yield AskPerson("key-missing", role=name, have=have, need=need)

    def _finish_again(self, manifest: Manifest) -> PublishReport:
        """The release is there already; whoever published it may not have come to write the timestamp."""
        published = self._published
        version, root = published.snapshot.signed.version, published.root.signed
        if not self._dry_run:
            signers = self._signing.signers(root, published.targets.signed, "timestamp")
            data = published.store.get(paths.metadata_path("snapshot", version), SNAPSHOT_MAX_BYTES)
            advance_timestamp(published.store, root, version, data, self._signing, signers)
            self._workspace.note_seen(version)
        return self._report(manifest, None, snapshot=version)

    def _baselines(self) -> list[str]:
        """Versions that differential packages are tried from."""
        version, chosen = self._candidate.description.version, self._choice.baselines
        if self._choice.full_only:
            return []
        try:
            return baselines_of(version, chosen, self._candidate.catalog, self._candidate.control)
        except AskPerson as error:
            self._refuse(iter([error]))
            return []

    def _pack(self, directory: Path, total: int, baselines: Sequence[str]) -> Built:
        candidate, config = self._candidate, self._workspace.config
        recipients = recipients_of(config, self._model)

        def new_packer(on_pack: OnPack) -> Packer:
            return Packer(directory, config.suite, recipients, on_pack)

        with Encoders(self._choice.workers) as encoders:
            packer = new_packer(self._release_pack)
            count = Counter(self._on_progress, "packing", total)
            placed = pack_sources(
                candidate.variants, candidate.scanned, candidate.known.placed, packer, encoders, count
            )
            builder = PackageBuilder(
                published=self._published,
                catalog=candidate.catalog,
                variants=candidate.variants,
                scanned=candidate.scanned,
                placed=placed,
                deltas=candidate.known.deltas,
                keys=self._keys,
                encoders=encoders,
                new_packer=new_packer,
                release_pack=self._release_pack,
                refuse=lambda problem: self._refuse(iter([problem])),
            )
            if candidate.predecessor is not None and not self._choice.full_only:
                builder.add_incremental(candidate.predecessor, demanded=self._choice.incremental)
            if baselines:
                sizes = (candidate.scanned[place].size_bytes for v in candidate.variants for _, place in v.files)
                compared = Counter(self._on_progress, "comparing", sum(sizes) * len(baselines))
                for version in baselines:
                    builder.add_differential(version, chosen=self._choice.baselines is not None, on_bytes=compared)
                compared.finish()
        made = builder.made
        new = {pack.digest for pack in packer.packs}
        return Built(
            tables=lay_tables(candidate.variants, candidate.scanned, made.planned),
            reports=made.reports,
            new_packs=(*packer.packs, *made.packs),
            reused_bytes=sum(place.length_bytes for place in placed.values() if place.pack.digest not in new),
        )

    def _release_pack(self, path: Path, pack: Pack) -> None:
        if not self._dry_run:
            self._uploaded.append(pack.digest)  # before, because a failed upload may have arrived all the same
            upload(self._published.store, paths.pack_path(pack.digest), path)
            self._on_progress(PublishProgress("uploading", len(self._uploaded), len(self._uploaded)))
        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _undo_uploads(self) -> Iterator[None]:
        """Delete this attempt's packs when it fails before its commit can have happened.

        Their keys are fresh, so nobody else refers to them. After a failure during the commit they stay: the commit
        may have happened without our knowing.
        """
        try:
            yield
        except Exception:
            for digest in self._uploaded:
                # the error on its way is the one to tell; a pack that stays is found by `audit`
                with contextlib.suppress(ModelotaError):
                    self._published.store.delete(paths.pack_path(digest))
            raise

    def _manifest(self, built: Built) -> Manifest:
        description, predecessor = self._candidate.description, self._candidate.predecessor
        report = self._test_report
        manifest = Manifest(
            model=description.model,
            version=description.version,
            predecessor=predecessor.version if predecessor is not None else None,
            released_at=iso(self._signing.clock.now()),
            kind=description.kind,
            urgency=description.urgency,
            notes=description.notes,
            permissions=description.permissions,
            device_models=description.device_models,
            interfaces=description.interfaces,
            user_data_schema=description.user_data_schema,
            at_rest=description.at_rest,
            provenance=description.provenance,
            test_report=None if report is None else report.digest,
            chunks=built.tables.chunks,
            packs=built.tables.packs,
            variants=built.tables.variants,
        )
        manifest.check()
        return manifest

    def _archive(self, manifest: Manifest) -> None:
        """Complete or no release (clause 6.2-b)."""
        archive = open_archive(self._workspace, writable=True)
        if archive is None:
            return  # a workspace for trying out; any other was refused
        total = sum(pack.size_bytes for pack in full_packs(manifest))
        count = Counter(self._on_progress, "archiving", total)
        clock = self._signing.clock
        archive_release(archive, self._published.store, manifest, self._test_report, clock=clock, on_bytes=count)
        count.finish()

    def _commit(self, manifest: Manifest) -> int:
        self._on_progress(PublishProgress("committing", 0, 1))
        plain, packed = pack_manifest(manifest)
        catalog = canonical(self._admit(manifest, plain))
        read(catalog, Catalog, CATALOG_MAX_BYTES)  # nothing is published that a device could not read
        change, targets = Change(), self._published.role(self._role)
        change.add_document(self._role, targets, paths.manifest_target(self._model, manifest.version), packed)
        change.add_document(self._role, targets, paths.catalog_target(self._model), catalog)
        try:
            snapshot = commit(self._published, change, self._signing)
        except Exception as error:
            beaten = isinstance(error, ModelotaError) and error.code == "publish-conflict"
            if change.attempted and not beaten:
                self._uploaded = []  # it may have been committed all the same
            raise
        self._on_progress(PublishProgress("committing", 1, 1))
        return snapshot

    def _admit(self, manifest: Manifest, plain: bytes) -> Catalog:
        entry = CatalogRelease(
            version=manifest.version,
            manifest_digest=hashlib.sha256(plain).hexdigest(),
            manifest_bytes=len(plain),
            released_at=manifest.released_at,
            kind=manifest.kind,
            urgent=manifest.urgency is not None,
            fixes=self._candidate.description.fixes,
            agent_min_version=self._candidate.agent_min_version,
        )
        before = self._candidate.catalog
        configured = next((model.title for model in self._workspace.config.models if model.name == self._model), None)
        releases = (*before.releases, entry)
        catalog = msgspec.structs.replace(before, releases=releases, title=configured or before.title)
        catalog.check()
        return catalog

    def _report(self, manifest: Manifest, built: Built | None, *, snapshot: int | None = None) -> PublishReport:
        """A report; without `built` the release was there before."""
        variants = []
        for variant in manifest.variants:
            packages: Sequence[PackageReport] = [
                PackageReport(package.mode, package.base_version, package.base_variant, package.size_bytes)
                for package in variant.packages
            ]
            if built is not None:
                packages = built.reports[variant.name]
            variants.append(VariantReport(variant.name, len(variant.files), variant.size_bytes, tuple(packages)))
        new_packs = built.new_packs if built is not None else ()
        files = self._candidate.scanned.values()
        return PublishReport(
            model=manifest.model,
            version=manifest.version,
            predecessor=manifest.predecessor,
            dry_run=self._dry_run,
            already_published=built is None,
            variants=tuple(variants),
            new_packs=len(new_packs),
            new_bytes=sum(pack.size_bytes for pack in new_packs),
            reused_bytes=built.reused_bytes if built is not None else 0,
            manifest_bytes=len(pack_manifest(manifest)[1]),
            device_classes=tuple(entry.name for entry in self._workspace.config.classes_of(self._model)),
            device_models=manifest.device_models,
            notes=tuple(LayoutNote(str(file.place), file.layout.note) for file in files if file.layout.note),
            refusals=tuple(self._refusals),
            snapshot=snapshot,
            **self._step(manifest),
        )

    def _step(self, manifest: Manifest) -> dict[str, Any]:
        if manifest.predecessor is None:
            return {}
        changes = self._candidate.changes()
        step = None
        with contextlib.suppress(AskPerson):  # refused already: it is older, or its lower parts did not restart
            step = Version.parse(manifest.version).step_from(Version.parse(manifest.predecessor))
        return {"step": step, "demanded": demanded_step(changes), "changes": tuple(changes)}
