"""TUF metadata: making, signing, parsing and verifying it. Nothing here reads or writes a repository.

What the specification leaves open is fixed in `docs/formats/metadata.md`: consistent snapshots, SHA-256, lengths and
hashes everywhere, two terminating path-limited delegated roles per model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Final, TypeVar

from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import CryptoSigner, Key
from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError, UnsignedMetadataError
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    MetaFile,
    Role,
    Root,
    Signed,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization import DeserializationError
from tuf.api.serialization.json import JSONSerializer

from modelota.clock import Clock
from modelota.delivery import paths
from modelota.errors import RefuseContent
from modelota.repository.workspace import ExpiryDays, RoleKind, Thresholds

TOP_LEVEL: Final[tuple[RoleKind, ...]] = ("root", "targets", "snapshot", "timestamp")
DEV_FIELD: Final = "x-modelota-dev"  # in the root: made with keys that are not encrypted, for trying out

S = TypeVar("S", Root, Timestamp, Snapshot, Targets)  # as tuf restricts it


def kind_of(role: str) -> RoleKind:
    """The kind of a role by its name."""
    for kind in TOP_LEVEL:
        if role == kind:
            return kind
    return "control" if role.endswith("-control") else "releases"


def model_roles(model: str) -> tuple[str, str]:
    """The two delegated roles of `model`: releases, control."""
    return paths.releases_role(model), paths.control_role(model)


def key_prefix(role: str) -> str:
    """How the keys of `role` are called, before their number."""
    return role.replace("/", "..")  # no part of a model's name holds two dots


def expires(signed: Signed, days: ExpiryDays, role: str, clock: Clock) -> None:
    """Set the expiry of metadata that is about to be signed."""
    signed.expires = clock.now() + timedelta(days=days.of(kind_of(role)))


def serialise(signed: S, signers: Iterable[CryptoSigner]) -> bytes:
    """Sign and return the bytes of a metadata file."""
    metadata = Metadata(signed)
    for signer in signers:
        metadata.sign(signer, append=True)
    return metadata.to_bytes(JSONSerializer(compact=True))


def meta_file(data: bytes, version: int) -> MetaFile:
    """How snapshot and timestamp name the metadata file `data`."""
    return MetaFile(version, len(data), {"sha256": hashlib.sha256(data).hexdigest()})


def target_file(path: str, data: bytes) -> TargetFile:
    """How a targets role names the target `data` at `path`."""
    return TargetFile(len(data), {"sha256": hashlib.sha256(data).hexdigest()}, path)


def new_root(keys: Mapping[str, Sequence[Key]], thresholds: Thresholds, *, dev: bool) -> Root:
    """The first root: `keys` per top-level role."""
    root = Root(version=1, consistent_snapshot=True)
    if dev:
        root.unrecognized_fields[DEV_FIELD] = True
    for role in TOP_LEVEL:
        root.roles[role].threshold = thresholds.of(role).need
        for key in keys[role]:
            root.add_key(key, role)
    return root


def is_dev(root: Root) -> bool:
    """Whether the repository says of itself that it is for trying out."""
    return root.unrecognized_fields.get(DEV_FIELD) is True


def delegate(targets: Targets, model: str, keys: Mapping[str, Sequence[Key]], thresholds: Thresholds) -> None:
    """Add the two delegated roles of `model` to the top-level `targets`; `keys` per role."""
    if targets.delegations is None:
        targets.delegations = Delegations({}, {})
    assert targets.delegations.roles is not None
    for role, patterns in zip(
        model_roles(model), (paths.releases_patterns(model), paths.control_patterns(model)), strict=True
    ):
        need = thresholds.of(kind_of(role)).need
        targets.delegations.roles[role] = DelegatedRole(role, [], need, terminating=True, paths=patterns)
        for key in keys[role]:
            targets.add_key(key, role)


def parse(data: bytes, role: str, kind: type[S]) -> Metadata[S]:
    """Parse a metadata file that says it is of `kind`; verifies nothing.

    Raises:
        RefuseContent: `metadata-invalid`.
    """
    try:
        metadata = Metadata[S].from_bytes(data)
    except (DeserializationError, RecursionError) as error:
        raise RefuseContent("metadata-invalid", role=role, detail="does not parse") from error
    if not isinstance(metadata.signed, kind):
        raise RefuseContent("metadata-invalid", role=role, detail=f"is of type {metadata.signed.type}")
    return metadata


def verify(delegator: Root | Targets, role: str, metadata: Metadata[S]) -> None:
    """Check that enough keys of `role` signed.

    Raises:
        RefuseContent: `metadata-signature`.
    """
    try:
        delegator.verify_delegate(role, metadata.signed_bytes, metadata.signatures)
    except (UnsignedMetadataError, UnverifiedSignatureError, ValueError) as error:
        raise RefuseContent("metadata-signature", role=role, detail=str(error)[:200]) from error


def check_file(expected: MetaFile | TargetFile, data: bytes, name: str) -> None:
    """Check length and hashes that signed metadata states.

    Raises:
        RefuseContent: `metadata-invalid`.
    """
    try:
        expected.verify_length_and_hashes(data)
    except (LengthOrHashMismatchError, RepositoryError) as error:
        raise RefuseContent("metadata-invalid", role=name, detail="length or hash") from error


def keys_of(delegator: Root | Targets, role: str) -> tuple[list[str], int]:
    """Key ids of `role`, and how many must sign."""
    found: Role = delegator.get_delegated_role(role)
    return list(found.keyids), found.threshold


__all__ = [
    "DEV_FIELD",
    "TOP_LEVEL",
    "MetaFile",
    "Metadata",
    "Root",
    "Snapshot",
    "Targets",
    "Timestamp",
    "check_file",
    "delegate",
    "expires",
    "is_dev",
    "key_prefix",
    "keys_of",
    "kind_of",
    "meta_file",
    "model_roles",
    "new_root",
    "parse",
    "serialise",
    "target_file",
    "verify",
]
