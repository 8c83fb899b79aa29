"""Checking a repository: the way a device would, and every content-addressed file besides.

Two independent looks. The first uses the device's own code (`TrustClient`, catalog evaluation) from a trust anchor. The
second knows nothing of trust: the name of a content-addressed file says what its bytes must be, whether anything refers
to it or not.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, cast

from modelota.clock import Clock
from modelota.content.digest import Digester
from modelota.content.pack import check_pack
from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.delivery.releases import load_documents, load_manifest
from modelota.delivery.stores import open_store
from modelota.delivery.trust import TrustClient, TrustMemory, TrustState
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.repository.layout import Sort, sort_object
from modelota.repository.published import Published, load_published
from modelota.repository.status import first_root
from modelota.repository.workspace import Workspace
from modelota.spec.limits import MIB, TARGETS_MAX_BYTES
from modelota.spec.manifest import Pack

_READ_BYTES: Final = 4 * MIB
OnObject = Callable[[str, int], None]  # path of an object and its size, after it was checked


@dataclass(frozen=True)
class Finding:
    """Something wrong: where, and as which error."""

    path: str
    error: ModelotaError


@dataclass
class AuditReport:
    """What an audit found.

    Attributes:
        url: what was checked.
        anchored: the trust anchor was given; without one the repository's first root vouches for itself only.
        deep: contents of all packs were read, not only their sizes.
        listed: the store could list its objects; a web server cannot, and then only what is referred to was checked.
        lags: a committed snapshot waits for its timestamp.
        models: how many were loaded as a device would.
        releases: how many manifests were loaded as a device would.
        objects: how many content-addressed objects were checked.
        bytes_read: of packs.
        findings: what is wrong.
        unreferenced: sound packs that no admitted release uses: left by an interrupted or beaten attempt.
        unknown: objects that have no place in a repository.
    """

    url: str
    anchored: bool
    deep: bool
    listed: bool = True
    lags: bool = False
    models: int = 0
    releases: int = 0
    objects: int = 0
    bytes_read: int = 0
    findings: list[Finding] = field(default_factory=list)
    unreferenced: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; unreferenced and unknown objects are only mentioned."""
        return not self.findings


def audit(
    where: Workspace | str,
    *,
    clock: Clock,
    root: bytes | None = None,
    deep: bool = True,
    memory: TrustMemory | None = None,
    on_object: OnObject = lambda _path, _size: None,
) -> AuditReport:
    """Check a repository.

    Args:
        where: a workspace, or the URL or directory of a public repository.
        clock: for expiry.
        root: the trust anchor; None is the workspace's root, or for a URL the repository's own first root.
        deep: read the contents of all packs.
        memory: what a device remembers; None is a device that sees the repository for the first time.
        on_object: called after each object of the second look.

    Raises:
        RefuseContent: `repository-not-found`. Everything else that is wrong is a finding.
        AskPerson: `argument-invalid`, `not-a-repository`, `permission-denied`.
        TryLater: `network-unreachable` and other errors that say nothing about the repository.
    """
    if isinstance(where, Workspace):
        store = open_store(where.repository_url)
        root = root or where.trusted_root()
    else:
        store = open_store(where)
    anchor = root or first_root(store)
    return _Audit(store, anchor, clock, memory or _Forgetful(), on_object, deep=deep, anchored=root is not None).run()


class _Forgetful:
    """A device's memory that lasts as long as the audit."""

    def __init__(self) -> None:
        self._state: TrustState | None = None

    def load(self) -> TrustState | None:
        return self._state

    def save(self, state: TrustState) -> None:
        self._state = state


class _Audit:
    def __init__(
        self,
        store: ObjectStore,
        anchor: bytes,
        clock: Clock,
        memory: TrustMemory,
        on_object: OnObject,
        *,
        deep: bool,
        anchored: bool,
    ) -> None:
        self._store = store
        self._anchor = anchor
        self._clock = clock
        self._memory = memory
        self._on_object = on_object
        self._packs: dict[str, Pack] = {}
        self._documents: set[str] = set()
        self.report = AuditReport(store.url, anchored, deep)

    def run(self) -> AuditReport:
        published: Published | None = None
        try:
            published = load_published(self._store, self._anchor)
            self.report.lags = published.lags
        except ModelotaError as error:
            self._find(paths.METADATA, error)
        with tempfile.TemporaryDirectory(prefix="modelota-audit-") as cache:
            self._as_device(Path(cache), published)
        try:
            listing = sorted(self._store.list(""))
        except AskPerson as error:
            if error.code != "argument-invalid":
                raise
            self.report.listed = False
            listing = []
        there = set()
        for entry in listing:
            there.add(entry.path)
            self._look(entry.path, entry.size_bytes)
        for digest, pack in self._packs.items():
            path = paths.pack_path(digest)
            if path not in there:
                self._check_pack(path, pack)
        return self.report

    def _find(self, path: str, error: ModelotaError) -> None:
        self.report.findings.append(Finding(path, error))

    # -- the first look: as a device --------------------------------------------------------------------------------

    def _as_device(self, cache: Path, published: Published | None) -> None:
        client = TrustClient(self._store, cache, self._memory, self._clock, anchor=self._anchor)
        try:
            client.refresh()
        except ModelotaError as error:
            self._find(paths.METADATA, error)
            return
        for model in published.models() if published is not None else ():
            self._model_as_device(client, model)

    def _model_as_device(self, client: TrustClient, model: str) -> None:
        try:
            documents = load_documents(client, model)
        except ModelotaError as error:
            self._find(paths.catalog_target(model), error)
            return
        self.report.models += 1
        for release in documents.catalog.releases:
            try:
                manifest = load_manifest(client, documents, release.version).manifest
            except ModelotaError as error:
                self._find(paths.manifest_target(model, release.version), error)
                continue
            self.report.releases += 1
            for pack in manifest.packs:
                known = self._packs.setdefault(pack.digest, pack)
                if (known.size_bytes, known.frames, known.suite) != (pack.size_bytes, pack.frames, pack.suite):
                    self._find(
                        paths.pack_path(pack.digest),
                        RefuseContent("pack-invalid", pack=pack.digest, detail="two manifests describe it differently"),
                    )

    # -- the second look: names against bytes -----------------------------------------------------------------------

    def _look(self, path: str, size_bytes: int) -> None:
        sort, digest = sort_object(path)
        if sort is Sort.UNKNOWN:
            self.report.unknown.append(path)
        elif sort is Sort.TARGET:
            self._check_target(path, digest)
            self._on_object(path, size_bytes)
        elif sort is Sort.PACK:
            pack = self._packs.get(digest)
            if pack is not None:
                self._check_pack(path, pack)
            else:
                self._check_unreferenced(path, digest, size_bytes)
            self._on_object(path, size_bytes)

    def _check_target(self, path: str, digest: str) -> None:
        self.report.objects += 1
        try:
            data = self._store.get(path, TARGETS_MAX_BYTES * 4)
            found = hashlib.sha256(data).hexdigest()
            if found != digest:
                raise RefuseContent("file-mismatch", path=path, expected=digest, found=found)
        except ModelotaError as error:
            self._find(path, error)

    def _check_pack(self, path: str, pack: Pack) -> None:
        self.report.objects += 1
        try:
            size_bytes = self._store.size(path)
            if size_bytes != pack.size_bytes:
                detail = f"{size_bytes} bytes, not {pack.size_bytes}"
                raise RefuseContent("pack-invalid", pack=pack.digest, detail=detail)
            if self.report.deep:
                # io.RawIOBase has what check_pack asks of a stream; BinaryIO is a wider class
                check_pack(cast("BinaryIO", _Reader(self._store, path, size_bytes)), pack)
                self.report.bytes_read += size_bytes
        except ModelotaError as error:
            self._find(path, error)

    def _check_unreferenced(self, path: str, digest: str, size_bytes: int) -> None:
        self.report.objects += 1
        try:
            if self.report.deep:
                digester, reader = Digester(), _Reader(self._store, path, size_bytes)
                while piece := reader.read(_READ_BYTES):
                    digester.update(piece)
                self.report.bytes_read += size_bytes
                if digester.hexdigest() != digest:
                    raise RefuseContent("pack-invalid", pack=digest, detail=f"digest is {digester.hexdigest()}")
        except ModelotaError as error:
            self._find(path, error)
        else:
            self.report.unreferenced.append(path)


class _Reader(io.RawIOBase):
    """An object as a stream, read in ranges."""

    def __init__(self, store: ObjectStore, path: str, size_bytes: int) -> None:
        self._store = store
        self._path = path
        self._left = size_bytes
        self._offset = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, and never more than a few MiB."""
        wanted = min(self._left, _READ_BYTES, size if size >= 0 else _READ_BYTES)
        if not wanted:
            return b""
        piece = self._store.get_range(self._path, self._offset, wanted)
        self._offset += len(piece)
        self._left -= len(piece)
        return piece
