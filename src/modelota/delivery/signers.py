"""Whose signatures stand behind a target: what the owner of a device is told about where a release comes from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from tuf.api.exceptions import RepositoryError, StorageError
from tuf.api.metadata import Metadata, Root, Signed, TargetFile, Targets


def signers_of(loaded: Sequence[Signed], cache_dir: Path, target: TargetFile) -> tuple[str, ...]:
    """Ids of the keys that signed the role which lists `target`, in order.

    Every signature is verified here, so a key that is named has signed. ngclient keeps what it verified without the
    signatures; they are read from its cache, and only with the very metadata that it verified.

    Args:
        loaded: what was verified in this session.
        cache_dir: of ngclient.
        target: as the verified metadata lists it.

    Returns:
        Nothing when the cache has lost the role's metadata meanwhile.
    """
    for delegator in loaded:
        if not isinstance(delegator, Root | Targets):
            continue
        for role in _roles_for(delegator, target.path):
            metadata = _cached(cache_dir, role)
            if metadata is None or metadata.signed not in loaded or metadata.signed.targets.get(target.path) != target:
                continue
            result = delegator.get_verification_result(role, metadata.signed_bytes, metadata.signatures)
            return tuple(sorted(result.signed))
    return ()


def _roles_for(delegator: Root | Targets, path: str) -> list[str]:
    """The roles of a delegator that may sign the target at `path`."""
    if isinstance(delegator, Root):
        return [Targets.type]
    delegations = delegator.delegations
    return [] if delegations is None else [role for role, _ in delegations.get_roles_for_target(path)]


def _cached(cache_dir: Path, role: str) -> Metadata[Targets] | None:
    try:
        return Metadata[Targets].from_file(str(cache_dir / f"{quote(role, '')}.json"))
    except (RepositoryError, StorageError):
        return None
