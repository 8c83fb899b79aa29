"""The public repository as its publisher sees it: verified, of whatever age, never older than what was seen before.

A device refuses expired metadata; the publisher must be able to renew it, so nothing here asks for the time. A device
follows the timestamp; the publisher follows the *newest snapshot*, because creating `N.snapshot.json` is the moment at
which a release is published, and whoever did that may have died before writing the timestamp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tuf.api.metadata import TargetFile

from modelota.delivery import paths
from modelota.delivery.stores import ObjectStore
from modelota.errors import RefuseContent, TryLater
from modelota.repository import roles
from modelota.repository.manifest_cache import ManifestCache
from modelota.repository.manifest_file import open_manifest
from modelota.repository.roles import Metadata, MetaFile, Root, Snapshot, Targets, Timestamp
from modelota.spec import limits
from modelota.spec.catalog import Catalog, CatalogRelease, Control
from modelota.spec.document import read
from modelota.spec.limits import (
    CATALOG_MAX_BYTES,
    CONTROL_MAX_BYTES,
    MANIFEST_SEALED_MAX_BYTES,
    ROOT_ROTATIONS_MAX,
)
from modelota.spec.manifest import Manifest

_AHEAD_MAX: Final = 10_000  # snapshots that may lie ahead of the timestamp


@dataclass
class Published:
    """What is published, verified down from a trusted root.

    Attributes:
        store: where it lies.
        root: the newest root.
        root_data: its bytes.
        timestamp: as it is; may lag behind `snapshot`.
        snapshot: the newest one.
        targets: the top-level targets.
        delegated: the roles of the models, by name.
        cache: of manifests, or None to read each from the store.
    """

    store: ObjectStore
    root: Metadata[Root]
    root_data: bytes
    timestamp: Metadata[Timestamp]
    snapshot: Metadata[Snapshot]
    targets: Metadata[Targets]
    delegated: dict[str, Metadata[Targets]]
    cache: ManifestCache | None = None

    @property
    def lags(self) -> bool:
        """Whether the timestamp still has to be moved to the newest snapshot."""
        return self.timestamp.signed.snapshot_meta.version < self.snapshot.signed.version

    def models(self) -> list[str]:
        """Names of the models that the repository delegates."""
        suffix = paths.releases_role("")
        return [role.removesuffix(suffix) for role in self.delegated if role.endswith(suffix)]

    def role(self, name: str) -> Targets:
        """The metadata of a targets role.

        Raises:
            RefuseContent: `model-not-in-repository`.
        """
        if name == "targets":
            return self.targets.signed
        if name not in self.delegated:
            raise RefuseContent("model-not-in-repository", model=name.rpartition("-")[0])
        return self.delegated[name].signed

    def document(self, role: str, target: str, limit_bytes: int) -> bytes:
        """Bytes of the target `target` that `role` signed for.

        Raises:
            RefuseContent: `metadata-invalid` (not signed for, or other bytes), `document-too-large`.
            TryLater: the store's errors.
        """
        entry, digest = self._signed(role, target)
        data = self.store.get(paths.target_path(target, digest), limit_bytes)
        roles.check_file(entry, data, target)
        return data

    def _signed(self, role: str, target: str) -> tuple[TargetFile, str]:
        entry = self.role(role).targets.get(target)
        digest = entry.hashes.get("sha256") if entry is not None else None
        if entry is None or digest is None:
            raise RefuseContent("metadata-invalid", role=role, detail=f"no target {target}")
        return entry, digest

    def catalog(self, model: str) -> Catalog:
        """The catalog of `model`, checked."""
        data = self.document(paths.releases_role(model), paths.catalog_target(model), CATALOG_MAX_BYTES)
        catalog = read(data, Catalog, CATALOG_MAX_BYTES)
        catalog.check()
        return catalog

    def control(self, model: str) -> Control:
        """The control of `model`."""
        data = self.document(paths.control_role(model), paths.control_target(model), CONTROL_MAX_BYTES)
        return read(data, Control, CONTROL_MAX_BYTES, strict=True)

    def manifest(self, model: str, release: CatalogRelease) -> Manifest:
        """The manifest of a release that the catalog admits, checked."""
        role, target = paths.releases_role(model), paths.manifest_target(model, release.version)
        packed = self._cached(role, target)
        if packed is None:
            packed = self.document(role, target, MANIFEST_SEALED_MAX_BYTES)
            if self.cache is not None:
                self.cache.put(self._signed(role, target)[1], packed)
        return open_manifest(packed, model, release)

    def _cached(self, role: str, target: str) -> bytes | None:
        if self.cache is None:
            return None
        entry, digest = self._signed(role, target)
        data = self.cache.get(digest)
        try:
            if data is not None:
                roles.check_file(entry, data, target)
        except RefuseContent:
            return None  # damaged on this disk; the repository decides
        return data


def load_published(store: ObjectStore, trusted_root: bytes, *, floor: int = 0) -> Published:
    """Load the current state of a repository and verify it.

    Args:
        store: where it lies.
        trusted_root: root metadata that is trusted.
        floor: the newest snapshot version seen before.

    Raises:
        RefuseContent: `repository-not-found`, `metadata-invalid`, `metadata-signature`, `metadata-rollback`,
            `metadata-too-large`.
        TryLater: the store's errors.
    """
    chain, root_data = _follow_roots(store, trusted_root)
    root, roots = chain[-1], [entry.signed for entry in reversed(chain)]
    data = _get(store, paths.metadata_path("timestamp", None), limits.TIMESTAMP_MAX_BYTES, "timestamp")
    if data is None:
        raise RefuseContent("repository-not-found", url=store.url)
    timestamp = roles.parse(data, "timestamp", Timestamp)
    _verify(roots, "timestamp", timestamp)
    snapshot = _newest_snapshot(store, roots, timestamp.signed)
    if snapshot.signed.version < floor:
        raise RefuseContent("metadata-rollback", role="snapshot", floor=floor, found=snapshot.signed.version)
    meta = snapshot.signed.meta
    targets = _load(store, roots, "targets", meta["targets.json"], Targets, limits.TARGETS_MAX_BYTES)
    delegated = {}
    delegations = targets.signed.delegations
    for name in (delegations.roles if delegations is not None else None) or {}:
        if f"{name}.json" in meta:
            entry = meta[f"{name}.json"]
            delegated[name] = _load(store, [targets.signed], name, entry, Targets, limits.TARGETS_MAX_BYTES)
    return Published(store, root, root_data, timestamp, snapshot, targets, delegated)


def _follow_roots(store: ObjectStore, trusted: bytes) -> tuple[list[Metadata[Root]], bytes]:
    """All roots from the trusted one to the newest, and the newest one's bytes."""
    root, data = roles.parse(trusted, "root", Root), trusted
    chain = [root]
    for _ in range(ROOT_ROTATIONS_MAX):
        version = root.signed.version + 1
        following = _get(store, paths.metadata_path("root", version), limits.ROOT_MAX_BYTES, "root")
        if following is None:
            return chain, data
        candidate = roles.parse(following, "root", Root)
        roles.verify(root.signed, "root", candidate)
        roles.verify(candidate.signed, "root", candidate)
        if candidate.signed.version != version:
            raise RefuseContent("metadata-invalid", role="root", detail=f"version {candidate.signed.version}")
        root, data = candidate, following
        chain.append(root)
    raise RefuseContent("metadata-invalid", role="root", detail=f"more than {ROOT_ROTATIONS_MAX} rotations")


def _verify(delegators: Sequence[Root | Targets], role: str, metadata: Metadata[roles.S]) -> None:
    """Check signatures against the first delegator, or else the next ones.

    The newest root comes first. One that lies between the workspace's trusted root and the newest will do, too: a
    rotation after a key was lost publishes the root before it can sign anything with the new key, and whoever takes
    over after an interruption there trusted the old keys until this moment.
    """
    refused: RefuseContent | None = None
    for delegator in delegators:
        try:
            roles.verify(delegator, role, metadata)
        except RefuseContent as error:
            refused = refused or error
        else:
            return
    assert refused is not None
    raise refused


def _newest_snapshot(store: ObjectStore, roots: Sequence[Root], timestamp: Timestamp) -> Metadata[Snapshot]:
    named = timestamp.snapshot_meta
    newest = _load(store, roots, "snapshot", named, Snapshot, limits.SNAPSHOT_MAX_BYTES)
    for version in range(named.version + 1, named.version + 1 + _AHEAD_MAX):
        path = paths.metadata_path("snapshot", version)
        if not store.exists(path):
            break
        newest = _load(store, roots, "snapshot", MetaFile(version), Snapshot, limits.SNAPSHOT_MAX_BYTES)
    if "targets.json" not in newest.signed.meta:
        raise RefuseContent("metadata-invalid", role="snapshot", detail="names no targets")
    return newest


def _load(
    store: ObjectStore,
    delegators: Sequence[Root | Targets],
    role: str,
    entry: MetaFile,
    kind: type[roles.S],
    limit_bytes: int,
) -> Metadata[roles.S]:
    data = _get(store, paths.metadata_path(role, entry.version), limit_bytes, role)
    if data is None:
        url = store.address(paths.metadata_path(role, entry.version))
        raise TryLater("object-missing", url=url)
    roles.check_file(entry, data, role)
    metadata = roles.parse(data, role, kind)
    _verify(delegators, role, metadata)
    if metadata.signed.version != entry.version:
        raise RefuseContent("metadata-invalid", role=role, detail=f"version {metadata.signed.version}")
    return metadata


def _get(store: ObjectStore, path: str, limit_bytes: int, role: str) -> bytes | None:
    """The object at `path`, or None if there is none."""
    try:
        return store.get(path, limit_bytes)
    except TryLater as error:
        if error.code == "object-missing":
            return None
        raise
    except RefuseContent as error:
        if error.code == "document-too-large":
            raise RefuseContent("metadata-too-large", role=role, limit_bytes=limit_bytes) from error
        raise
