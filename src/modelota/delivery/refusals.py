"""Why metadata was refused: exceptions of tuf as errors with a code, a role, and the versions or times that clash."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Snapshot, Timestamp

from modelota.clock import iso
from modelota.delivery.tuf_session import PinnedUpdater, StoreFetcher, claims
from modelota.errors import ModelotaError, RefuseContent, TryLater

TUF_ERRORS: Final = (exceptions.RepositoryError, exceptions.DownloadError)


def explain(
    error: Exception,
    updater: PinnedUpdater,
    fetcher: StoreFetcher,
    floors: dict[str, int],
    reference_time: datetime,
    device_time: datetime,
) -> ModelotaError:
    """The error for a tuf exception that ended a refresh or a search for a target.

    Args:
        error: one of `TUF_ERRORS`.
        updater: as far as it came.
        fetcher: what was read.
        floors: remembered versions by role.
        reference_time: what expiry was compared with.
        device_time: what the device believes; the same, except for stale media.

    Returns `RefuseContent` `metadata-signature`, `metadata-expired`, `metadata-rollback` or `metadata-invalid`;
    `TryLater` `object-missing` when tuf says that a file is not there.
    """
    role = fetcher.last_role
    detail = str(error)[:300]
    if isinstance(error, exceptions.DownloadError):
        return TryLater("object-missing", url=detail)
    if isinstance(error, exceptions.UnsignedMetadataError):
        return RefuseContent("metadata-signature", role=role, detail=detail)
    if isinstance(error, exceptions.ExpiredMetadataError):
        role, expired_at = _expired(updater, fetcher, reference_time)
        return RefuseContent("metadata-expired", role=role, expired_at=iso(expired_at), device_time=iso(device_time))
    if isinstance(error, exceptions.LengthOrHashMismatchError):
        return RefuseContent("metadata-invalid", role=role, detail="length or digest is not the one its parent states")
    return _rollback(updater, fetcher, floors) or RefuseContent("metadata-invalid", role=role, detail=detail)


def _expired(updater: PinnedUpdater, fetcher: StoreFetcher, reference_time: datetime) -> tuple[str, datetime]:
    """Which role expired, and when. tuf loads root, timestamp and snapshot even if expired; others only if fresh."""
    for signed in (updater.root, updater.timestamp, updater.snapshot):
        if signed is not None and signed.is_expired(reference_time):
            return signed.type, signed.expires
    data = fetcher.documents.get(fetcher.last_role)
    expires = Metadata.from_bytes(data).signed.expires if data is not None else datetime.min.replace(tzinfo=UTC)
    return fetcher.last_role, expires


def _rollback(updater: PinnedUpdater, fetcher: StoreFetcher, floors: dict[str, int]) -> RefuseContent | None:
    """The clash if what came last states, or is, an older version than was accepted before; None if it does not."""
    role = fetcher.last_role
    data = fetcher.documents.get(role)
    try:
        found = claims(data) if data is not None else {}
    except exceptions.RepositoryError:  # it does not even parse: not a rollback
        return None
    if not found and data is not None:
        found = {role: Metadata.from_bytes(data).signed.version}
    known = dict(floors)
    timestamp, snapshot = updater.timestamp, updater.snapshot
    if timestamp is not None:
        known[Timestamp.type] = max(known.get(Timestamp.type, 0), timestamp.version)
        known[Snapshot.type] = max(known.get(Snapshot.type, 0), timestamp.snapshot_meta.version)
    if snapshot is not None:
        for name, meta in snapshot.meta.items():
            listed = name.removesuffix(".json")
            known[listed] = max(known.get(listed, 0), meta.version)
    for name, version in found.items():
        if version < known.get(name, 0):
            return RefuseContent("metadata-rollback", role=name, floor=known[name], found=version)
    if role == Snapshot.type:
        gone = sorted(known.keys() - found.keys() - {Timestamp.type})
        if gone:
            return RefuseContent("metadata-rollback", role=gone[0], floor=known[gone[0]], found=None)
    return None
