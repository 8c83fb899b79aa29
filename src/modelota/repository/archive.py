"""The publisher's archive: every released version whole, in a private place of its own (clause 6.2-b).

::

    packs/<aa>/<digest>                               sealed as published; shared by entries
    <model>/<version>/<manifest digest>/manifest.json.zst
    <model>/<version>/<manifest digest>/notes.json  test-report.json  development.json
    <model>/<version>/<manifest digest>/entry.json    written last: the entry is complete

A release becomes visible only after its entry is complete. A version that lost a race for its number leaves an entry
under another manifest digest, which nothing refers to. Nothing in the archive depends on the public repository, or on
keys of device classes: the archive recipient's key, which is kept offline, opens every pack.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from modelota.clock import Clock, from_iso, iso
from modelota.content.digest import Digester, digest_bytes
from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.delivery.releases import open_manifest
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.repository.baseline import ArchiveKey, Baseline, PackKeys
from modelota.repository.manifest_file import pack_manifest
from modelota.repository.published import Published
from modelota.repository.workspace import Workspace
from modelota.spec.archive import ArchivedObject, ArchiveEntry
from modelota.spec.catalog import Catalog, CatalogRelease
from modelota.spec.document import canonical, read
from modelota.spec.limits import MANIFEST_SEALED_MAX_BYTES, MIB
from modelota.spec.manifest import Manifest, Pack
from modelota.spec.test_report import TestReport

KEPT_YEARS: Final = 2  # after the end of the model's service
ENTRY: Final = "entry.json"
MANIFEST: Final = "manifest.json.zst"
REPORT: Final = "test-report.json"
_ENTRY_MAX_BYTES: Final = 16 * MIB
_COPY_BYTES: Final = 4 * MIB

OnBytes = Callable[[int], None]


def open_archive(workspace: Workspace, *, writable: bool = False) -> ObjectStore | None:
    """The archive of a workspace, or None where it has none (one for trying out).

    Raises:
        AskPerson: `argument-invalid`, `permission-denied`.
        RefuseContent: `insecure-url`, `repository-not-found` (a directory that is not there, to be read).
    """
    place = workspace.config.archive_place
    if place is None:
        return None
    return open_store(place if "://" in place else (workspace.path / place).resolve().as_uri(), writable=writable)


def entry_folder(model: str, version: str, manifest_digest: str) -> str:
    """Where the entry of a release lies."""
    return f"{model}/{version}/{manifest_digest}"


def archive_release(
    archive: ObjectStore,
    public: ObjectStore,
    manifest: Manifest,
    report: TestReport | None,
    *,
    clock: Clock,
    on_bytes: OnBytes = lambda _: None,
) -> ArchiveEntry:
    """Put a release into the archive, whole, before it becomes visible. Interrupted, it is repeated.

    Args:
        archive: to be written.
        public: holds the release's packs.
        manifest: of the release.
        report: of its tests; None only for a workspace for trying out.
        clock: stamps the entry.
        on_bytes: told the bytes copied.

    Raises:
        RefuseContent: `pack-invalid`: a pack is not what the manifest says.
        AskPerson, TryLater: the stores' errors.
    """
    plain, packed = pack_manifest(manifest)
    digest = hashlib.sha256(plain).hexdigest()
    folder = entry_folder(manifest.model, manifest.version, digest)
    packs = [_copy_pack(archive, public, pack, on_bytes) for pack in full_packs(manifest)]
    documents = {
        MANIFEST: packed,
        "notes.json": canonical(manifest.notes),
        "development.json": canonical(
            {
                "model": manifest.model,
                "version": manifest.version,
                "predecessor": manifest.predecessor,
                "released_at": manifest.released_at,
                "device_models": manifest.device_models,
                "provenance": manifest.provenance,
            }
        ),
    }
    if report is not None:
        documents[REPORT] = canonical(report)
    kept = []
    for name, data in documents.items():
        archive.put(f"{folder}/{name}", data)
        kept.append(ArchivedObject(f"{folder}/{name}", len(data), digest_bytes(data)))
    entry = ArchiveEntry(
        model=manifest.model,
        version=manifest.version,
        archived_at=iso(clock.now()),
        manifest_digest=digest,
        documents=tuple(kept),
        packs=tuple(packs),
    )
    archive.put(f"{folder}/{ENTRY}", canonical(entry))
    return entry


def read_entry(archive: ObjectStore, path: str) -> ArchiveEntry:
    """The entry that lies at `path`.

    Raises:
        RefuseContent: `document-invalid`, `document-too-large`, `document-needs-newer`.
        AskPerson, RefuseContent, TryLater: the store's errors.
    """
    return read(archive.get(path, _ENTRY_MAX_BYTES), ArchiveEntry, _ENTRY_MAX_BYTES)


def full_packs(manifest: Manifest) -> list[Pack]:
    """The packs that hold the full packages of a release: all of its content."""
    used = {
        route.pack
        for variant in manifest.variants
        for package in variant.packages
        if package.mode == "full"
        for route in package.routes
    }
    return [pack for index, pack in enumerate(manifest.packs) if index in used]


def _copy_pack(archive: ObjectStore, public: ObjectStore, pack: Pack, on_bytes: OnBytes) -> ArchivedObject:
    path = paths.pack_path(pack.digest)
    kept = ArchivedObject(path, pack.size_bytes, pack.digest)
    try:
        if archive.size(path) == pack.size_bytes:
            return kept
    except TryLater as error:
        if error.code != "object-missing":
            raise
    with tempfile.TemporaryDirectory(prefix="modelota-archive-") as place:
        copy = Path(place) / "pack"
        with copy.open("wb") as file:
            for piece in _pieces(public, path, pack.size_bytes):
                file.write(piece)
                on_bytes(len(piece))
        _check_digest(pack, copy)
        archive.put(path, copy)
    return kept


def _pieces(store: ObjectStore, path: str, size_bytes: int) -> Iterator[bytes]:
    for offset in range(0, size_bytes, _COPY_BYTES):
        yield store.get_range(path, offset, min(_COPY_BYTES, size_bytes - offset))


def _check_digest(pack: Pack, copy: Path) -> None:
    digester = Digester()
    with copy.open("rb") as file:
        while piece := file.read(_COPY_BYTES):
            digester.update(piece)
    if digester.hexdigest() != pack.digest:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"digest is {digester.hexdigest()}")


@dataclass
class EntryReport:
    """What was found of one release in the archive.

    Attributes:
        model: name.
        version: number.
        entry: as it lies there, or None.
        opened_bytes: plain bytes that the archive key opened and that were as signed; 0 when it was not asked for.
        findings: what is wrong, by path.
        kept_until: until when nothing may delete it; None: nobody knows yet, so for ever.
    """

    model: str
    version: str
    entry: ArchiveEntry | None = None
    opened_bytes: int = 0
    findings: list[tuple[str, ModelotaError]] = field(default_factory=list)
    kept_until: datetime | None = None

    @property
    def complete(self) -> bool:
        """Whether everything of the release is there and as it should be."""
        return self.entry is not None and not self.findings


def check_archive(
    archive: ObjectStore,
    published: Published,
    model: str,
    *,
    versions: Sequence[str] | None = None,
    key: ArchiveKey | None = None,
    workspace: Workspace,
) -> list[EntryReport]:
    """Look whether every admitted release lies in the archive, whole; with the archive key, open each.

    Args:
        archive: to be read.
        published: says which releases there are.
        model: which.
        versions: only these; None: all.
        key: opens the packs; None: their bytes are compared with their digests only.
        workspace: of the publisher; its class keys are not used.

    Raises:
        AskPerson: `argument-invalid`: no such version.
        AskPerson, RefuseContent, TryLater: the store's errors that are not about one object.
    """
    catalog = published.catalog(model)
    if versions is not None:
        for version in versions:
            if catalog.release(version) is None:
                raise AskPerson("argument-invalid", argument=version, detail="not-admitted")
    keys = PackKeys(workspace, key, only_archive=True) if key is not None else None
    return [
        _check_entry(archive, catalog, release, keys)
        for release in catalog.releases
        if versions is None or release.version in versions
    ]


def _check_entry(archive: ObjectStore, catalog: Catalog, release: CatalogRelease, keys: PackKeys | None) -> EntryReport:
    report = EntryReport(catalog.model, release.version, kept_until=kept_until(catalog))
    folder = entry_folder(catalog.model, release.version, release.manifest_digest)
    try:
        report.entry = read_entry(archive, f"{folder}/{ENTRY}")
    except ModelotaError as error:
        report.findings.append((f"{folder}/{ENTRY}", error))
        return report
    for kept in (*report.entry.documents, *report.entry.packs):
        try:
            _check_object(archive, kept)
        except ModelotaError as error:
            report.findings.append((kept.path, error))
    if keys is not None and not report.findings:
        try:
            packed = archive.get(f"{folder}/{MANIFEST}", MANIFEST_SEALED_MAX_BYTES)
            manifest = open_manifest(packed, catalog.model, release).manifest
            report.opened_bytes = _open_all(Baseline(archive, manifest, keys))
        except ModelotaError as error:
            report.findings.append((folder, error))
    return report


def _check_object(archive: ObjectStore, kept: ArchivedObject) -> None:
    size_bytes = archive.size(kept.path)
    if size_bytes != kept.size_bytes:
        detail = f"{size_bytes} bytes"
        raise RefuseContent("file-mismatch", path=kept.path, expected=f"{kept.size_bytes} bytes", found=detail)
    digester = Digester()
    for piece in _pieces(archive, kept.path, size_bytes):
        digester.update(piece)
    if digester.hexdigest() != kept.digest:
        raise RefuseContent("file-mismatch", path=kept.path, expected=kept.digest, found=digester.hexdigest())


def _open_all(baseline: Baseline) -> int:
    """Open every file of every variant; every chunk is compared with its digest, every file with its own."""
    opened = 0
    for variant in baseline.manifest.variants:
        for entry in variant.files:
            digester = Digester()
            for data in baseline.chunks([baseline.manifest.chunks[index] for index in entry.chunks]):
                digester.update(data)
            if digester.hexdigest() != entry.digest:
                found = digester.hexdigest()
                raise RefuseContent("file-mismatch", path=entry.path, expected=entry.digest, found=found)
            opened += digester.size_bytes
    return opened


def kept_until(catalog: Catalog) -> datetime | None:
    """Until when every released version of a model is kept; None: its service has no end yet, so for ever."""
    if catalog.end_of_service is None:
        return None
    end = from_iso(catalog.end_of_service)
    try:
        return end.replace(year=end.year + KEPT_YEARS)
    except ValueError:  # the 29th of February
        return end.replace(year=end.year + KEPT_YEARS, month=3, day=1)
