"""How a change becomes public: everything new first, then one file that makes it visible, then the timestamp.

Order: documents, metadata of the roles, `N.snapshot.json` created only if absent (the commit point), timestamp. A
device follows the timestamp, so it sees the whole change or nothing of it, whatever happens to the publisher meanwhile.

Two publishers: role metadata is created under the next free version, so neither overwrites the other's; whoever creates
`N.snapshot.json` wins, the other is told `publish-conflict` and what it uploaded stays unreferenced.

The timestamp's version is the version of the snapshot it names, so there is exactly one timestamp per version and it
only moves forward. Object stores have no conditional replace in common: between reading the old timestamp and writing
ours another publisher may have written a newer one. Therefore after writing we look for a newer snapshot, and if there
is one, write the timestamp for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from securesystemslib.signer import CryptoSigner

from modelota import faults
from modelota.clock import Clock
from modelota.delivery import paths
from modelota.delivery.stores import ObjectStore
from modelota.errors import ModelotaError, RefuseContent, TryLater
from modelota.repository import roles
from modelota.repository.keys import KeyRing
from modelota.repository.published import Published
from modelota.repository.roles import MetaFile, Root, Snapshot, Targets, Timestamp
from modelota.repository.workspace import ExpiryDays
from modelota.spec.limits import SNAPSHOT_MAX_BYTES, TIMESTAMP_MAX_BYTES
from modelota.storage.durable import disk_errors

_VERSIONS_TRIED_MAX = 10_000


@dataclass
class Change:
    """What is going to be published.

    Attributes:
        documents: new targets: role, target path, bytes.
        roles: changed metadata of the top-level targets and of delegated roles, by name. Version and expiry are set
            here.
        extra_signers: sign in addition to a role's own keys: the keys being introduced by a rotation.
        attempted: set just before the commit point: a failure after that may be a success without our knowing.
    """

    documents: list[tuple[str, str, bytes]] = field(default_factory=list)
    roles: dict[str, Targets] = field(default_factory=dict)
    extra_signers: dict[str, list[CryptoSigner]] = field(default_factory=dict)
    attempted: bool = False

    def add_document(self, role: str, targets: Targets, target: str, data: bytes) -> None:
        """Put `data` at `target` and have `targets`, the metadata of `role`, sign for it."""
        targets.targets[target] = roles.target_file(target, data)
        self.roles[role] = targets
        self.documents.append((role, target, data))


@dataclass(frozen=True)
class Signing:
    """Who signs, and for how long: keys at hand, expiry periods, time."""

    ring: KeyRing
    days: ExpiryDays
    clock: Clock

    def signers(self, root: Root, targets: Targets, role: str) -> list[CryptoSigner]:
        """Unlock as many keys of `role` as must sign.

        Raises:
            AskPerson: `key-missing`, `passphrase-missing`, `key-unlock-failed`.
        """
        delegator: Root | Targets = root if role in roles.TOP_LEVEL else targets
        keyids, need = roles.keys_of(delegator, role)
        return self.ring.signers(role, keyids, need)

    def sign(self, signed: roles.S, role: str, signers: Sequence[CryptoSigner]) -> bytes:
        """Set the expiry, sign, and return the file's bytes."""
        roles.expires(signed, self.days, role, self.clock)
        return roles.serialise(signed, _distinct(signers))


def unlock_for(published: Published, change_roles: Sequence[str], signing: Signing) -> None:
    """Unlock every key that a change of `change_roles` is going to need, before any work is done.

    Raises:
        AskPerson: `key-missing`, `passphrase-missing`, `key-unlock-failed`.
    """
    for role in (*change_roles, "snapshot", "timestamp"):
        signing.signers(published.root.signed, published.targets.signed, role)


def commit(published: Published, change: Change, signing: Signing) -> int:
    """Publish `change` on top of `published`; returns the version of the snapshot that made it visible.

    Raises:
        AskPerson: `key-missing`, `passphrase-missing`, `key-unlock-failed`, `no-space`, `permission-denied`.
        TryLater: `publish-conflict`; the store's errors.
    """
    store, root = published.store, published.root.signed
    targets = change.roles.get("targets", published.targets.signed)
    signers = {
        role: signing.signers(root, targets, role) + change.extra_signers.get(role, [])
        for role in (*change.roles, "snapshot", "timestamp")
    }
    for _, target, data in change.documents:
        entry = roles.target_file(target, data)
        upload(store, paths.target_path(target, entry.hashes["sha256"]), data)
    meta: dict[str, MetaFile] = dict(published.snapshot.signed.meta)
    for role, signed in sorted(change.roles.items(), key=lambda item: item[0] == "targets"):
        data = _create_role(store, role, signed, signing, signers[role])
        meta[f"{role}.json"] = roles.meta_file(data, signed.version)
    snapshot = Snapshot(version=published.snapshot.signed.version + 1, meta=meta)
    data = signing.sign(snapshot, "snapshot", signers["snapshot"])
    change.attempted = True
    _create_snapshot(store, paths.metadata_path("snapshot", snapshot.version), data)
    advance_timestamp(store, root, snapshot.version, data, signing, signers["timestamp"])
    return snapshot.version


def upload(store: ObjectStore, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
    """Put one object, after its fail point.

    Raises:
        AskPerson, TryLater: as `ObjectStore.put`.
    """
    with disk_errors(Path(path)):
        faults.point("publish.upload")
        store.put(path, data, create_only=create_only)


def advance_timestamp(
    store: ObjectStore,
    root: Root,
    version: int,
    snapshot: bytes,
    signing: Signing,
    signers: Sequence[CryptoSigner],
) -> None:
    """Move the timestamp to snapshot `version`, whose bytes are `snapshot`, or to a newer one if there is one by then.

    Raises:
        TryLater: the store's errors.
        RefuseContent: `metadata-invalid`, `metadata-signature` (a newer snapshot that is not ours to follow).
    """
    while _timestamp_version(store, root) < version:
        timestamp = Timestamp(version=version, snapshot_meta=roles.meta_file(snapshot, version))
        upload(store, paths.metadata_path("timestamp", None), signing.sign(timestamp, "timestamp", signers))
        if not store.exists(paths.metadata_path("snapshot", version + 1)):
            return
        version += 1
        snapshot = store.get(paths.metadata_path("snapshot", version), SNAPSHOT_MAX_BYTES)
        roles.verify(root, "snapshot", roles.parse(snapshot, "snapshot", Snapshot))


def _timestamp_version(store: ObjectStore, root: Root) -> int:
    try:
        data = store.get(paths.metadata_path("timestamp", None), TIMESTAMP_MAX_BYTES)
    except TryLater as error:
        if error.code == "object-missing":
            return 0
        raise
    try:
        timestamp = roles.parse(data, "timestamp", Timestamp)
        roles.verify(root, "timestamp", timestamp)
    except RefuseContent:
        return 0  # no device that knows this root accepts it: it is in the way of nothing
    return timestamp.signed.snapshot_meta.version


def _create_role(
    store: ObjectStore, role: str, signed: Targets, signing: Signing, signers: Sequence[CryptoSigner]
) -> bytes:
    """Create the metadata of `role` under the next version that is free, and return its bytes."""
    for _ in range(_VERSIONS_TRIED_MAX):
        signed.version += 1
        data = signing.sign(signed, role, signers)
        try:
            upload(store, paths.metadata_path(role, signed.version), data, create_only=True)
        except TryLater as error:
            if error.code != "publish-conflict":
                raise
            continue
        return data
    raise RefuseContent("metadata-invalid", role=role, detail=f"{_VERSIONS_TRIED_MAX} unused versions")


def _create_snapshot(store: ObjectStore, path: str, data: bytes) -> None:
    try:
        with disk_errors(Path(path)):
            faults.point("publish.commit")
            store.put(path, data, create_only=True)
    except TryLater as error:
        # A reply that was lost on the way looks like a failure or, on repetition, like someone else's success.
        try:
            ours = store.get(path, SNAPSHOT_MAX_BYTES) == data
        except ModelotaError as unknown:
            # "conflict" would say for certain that we did not commit
            raise (unknown if error.code == "publish-conflict" else error) from unknown
        if not ours:
            raise


def _distinct(signers: Sequence[CryptoSigner]) -> list[CryptoSigner]:
    return list({signer.public_key.keyid: signer for signer in signers}.values())
