"""A repository under a test's control: real keys, real signatures, any misdeed.

`RepositorySimulator` holds the TUF side of one model: the four top-level roles and the two delegated ones. A test
changes the metadata objects, publishes, and attacks what was published::

    repository = RepositorySimulator(clock.now())
    repository.set_document(repository.releases, "acme/assistant/catalog.json", catalog)
    repository.publish()
    before = repository.saved()
    ...
    repository.restore(before)          # an old mirror: rollback, freeze
    repository.dump(directory)          # what a server serves
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from securesystemslib.signer import CryptoSigner
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from modelota.delivery import paths

TOP_LEVEL: Final = (Root.type, Timestamp.type, Snapshot.type, Targets.type)
MODEL: Final = "acme/assistant"


class RepositorySimulator:
    """The TUF metadata and targets of one model, in memory.

    Args:
        now: everything expires `valid_for` later.
        model: whose delegated roles exist.
        valid_for: lifetime of all metadata.

    Attributes:
        signed: the current payload of each role; change it, then `publish`.
        signers: who signs for each role; add, replace or remove keys to sign wrongly.
        files: what has been published, by repository path.
        anchor: the first root metadata.
        releases: name of the role that signs catalog and manifests.
        control: name of the role that signs the control.
    """

    def __init__(self, now: datetime, model: str = MODEL, *, valid_for: timedelta = timedelta(days=30)) -> None:
        self.model = model
        self.releases = paths.releases_role(model)
        self.control = paths.control_role(model)
        self.expires = (now + valid_for).replace(microsecond=0)
        self.files: dict[str, bytes] = {}
        self.signers: dict[str, list[CryptoSigner]] = {}
        root = Root(expires=self.expires)
        targets = Targets(expires=self.expires)
        self.signed: dict[str, Signed] = {
            Root.type: root,
            Targets.type: targets,
            Snapshot.type: Snapshot(expires=self.expires),
            Timestamp.type: Timestamp(expires=self.expires),
        }
        for role in TOP_LEVEL:
            self.signers[role] = [CryptoSigner.generate_ed25519()]
            root.add_key(self.signers[role][0].public_key, role)
        targets.delegations = Delegations({}, {})
        self.delegate(self.releases, paths.releases_patterns(model))
        self.delegate(self.control, paths.control_patterns(model))
        self._published: set[str] = set()
        self.publish_root()
        self.anchor = self.files[paths.metadata_path(Root.type, 1)]
        self.publish()

    @property
    def root(self) -> Root:
        """The current root payload."""
        signed = self.signed[Root.type]
        assert isinstance(signed, Root)
        return signed

    @property
    def snapshot(self) -> Snapshot:
        """The current snapshot payload."""
        signed = self.signed[Snapshot.type]
        assert isinstance(signed, Snapshot)
        return signed

    @property
    def timestamp(self) -> Timestamp:
        """The current timestamp payload."""
        signed = self.signed[Timestamp.type]
        assert isinstance(signed, Timestamp)
        return signed

    def targets(self, role: str = Targets.type) -> Targets:
        """The current payload of the top-level targets role or of a delegated one."""
        signed = self.signed[role]
        assert isinstance(signed, Targets)
        return signed

    # -- contents -------------------------------------------------------------------------------------------------

    def delegate(self, role: str, patterns: Iterable[str], *, parent: str = Targets.type, threshold: int = 1) -> None:
        """Add a terminating delegated role with one fresh key per threshold."""
        delegations = self.targets(parent).delegations
        if delegations is None or delegations.roles is None:
            delegations = self.targets(parent).delegations = Delegations({}, {})
        assert delegations.roles is not None
        delegations.roles[role] = DelegatedRole(role, [], threshold, terminating=True, paths=list(patterns))
        self.signed[role] = Targets(expires=self.expires)
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(threshold)]
        for signer in self.signers[role]:
            self.targets(parent).add_key(signer.public_key, role)

    def set_document(self, role: str, path: str, data: bytes) -> str:
        """Make `role` vouch for `data` at target `path`; returns the repository path of the file.

        It becomes visible with the next `publish`.
        """
        target = TargetFile.from_data(path, data, ["sha256"])
        self.targets(role).targets[path] = target
        stored = paths.target_path(path, target.hashes["sha256"])
        self.files[stored] = data
        return stored

    # -- publishing -----------------------------------------------------------------------------------------------

    def publish(self, *roles: str) -> None:
        """Publish new versions of `roles` (default: all targets roles), then of snapshot and timestamp."""
        for role in roles or [name for name, signed in self.signed.items() if isinstance(signed, Targets)]:
            data = self.publish_only(role)
            self.snapshot.meta[f"{role}.json"] = self._meta(self.signed[role].version, data)
        data = self.publish_only(Snapshot.type)
        self.timestamp.snapshot_meta = self._meta(self.snapshot.version, data)
        self.publish_only(Timestamp.type)

    def publish_only(self, role: str) -> bytes:
        """Publish a new version of `role` and of nothing that refers to it; returns the file."""
        if role in self._published:
            self.signed[role].version += 1
        self._published.add(role)
        data = self.sign(role)
        self.files[self.path_of(role)] = data
        return data

    def publish_root(self, *, also: Iterable[CryptoSigner] = ()) -> bytes:
        """Publish a new root version, signed by the root's signers and by `also` (the keys being replaced)."""
        if Root.type in self._published:
            self.root.version += 1
        self._published.add(Root.type)
        data = self.sign(Root.type, [*self.signers[Root.type], *also])
        self.files[self.path_of(Root.type)] = data
        return data

    def sign(self, role: str, signers: Iterable[CryptoSigner] | None = None) -> bytes:
        """Serialise the current payload of `role`, signed by `signers` (default: its own)."""
        metadata: Metadata[Any] = Metadata[Any](self.signed[role])
        for signer in self.signers[role] if signers is None else signers:
            metadata.sign(signer, append=True)
        return metadata.to_bytes(JSONSerializer(compact=True))

    def path_of(self, role: str) -> str:
        """Repository path of the current version of `role`."""
        return paths.metadata_path(role, None if role == Timestamp.type else self.signed[role].version)

    @staticmethod
    def _meta(version: int, data: bytes) -> MetaFile:
        return MetaFile.from_data(version, data, ["sha256"])

    # -- keys -----------------------------------------------------------------------------------------------------

    def rotate(self, role: str, *, keys: int = 1, threshold: int = 1) -> list[CryptoSigner]:
        """Replace all keys of a top-level role and publish the root; returns the revoked signers."""
        revoked = self.signers[role]
        for signer in revoked:
            self.root.revoke_key(signer.public_key.keyid, role)
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(keys)]
        self.root.roles[role].threshold = threshold
        for signer in self.signers[role]:
            self.root.add_key(signer.public_key, role)
        self.publish_root(also=revoked if role == Root.type else ())
        return revoked

    def rotate_delegated(self, role: str, *, keys: int = 1, threshold: int = 1) -> list[CryptoSigner]:
        """Replace all keys of a delegated role; visible with the next `publish`. Returns the revoked signers."""
        targets = self.targets()
        revoked = self.signers[role]
        for signer in revoked:
            targets.revoke_key(signer.public_key.keyid, role)
        self.signers[role] = [CryptoSigner.generate_ed25519() for _ in range(keys)]
        assert targets.delegations is not None
        assert targets.delegations.roles is not None
        targets.delegations.roles[role].threshold = threshold
        for signer in self.signers[role]:
            targets.add_key(signer.public_key, role)
        return revoked

    # -- what a hostile mirror can do -------------------------------------------------------------------------------

    def saved(self) -> dict[str, bytes]:
        """A copy of everything published so far."""
        return dict(self.files)

    def restore(self, saved: dict[str, bytes], *only: str) -> None:
        """Serve what was saved again: everything, or the paths in `only`."""
        if not only:
            self.files = dict(saved)
        for path in only:
            self.files[path] = saved[path]

    def tamper(self, path: str, change: Callable[[bytes], bytes]) -> None:
        """Replace a published file by what `change` makes of it."""
        self.files[path] = change(self.files[path])

    def dump(self, directory: Path) -> Path:
        """Make `directory` hold exactly what is published; returns it."""
        if directory.exists():
            shutil.rmtree(directory)
        for path, data in self.files.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        return directory
