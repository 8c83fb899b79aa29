"""What may be trusted: TUF metadata, refreshed against a memory that does not forget (design decision 2).

`tuf.ngclient` verifies; its directory is a cache that may be torn, replaced or deleted at any time. What must not be
lost lies in the agent's database (`TrustMemory`): the chain of root metadata from the anchor on, the lowest version of
every role that may still be accepted, and the last time that was believed.

Target files are fetched here, never by ngclient, with a limit, and checked against the length and digests that the
metadata states.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple, Protocol

import msgspec
from tuf.api.exceptions import LengthOrHashMismatchError, RepositoryError
from tuf.api.metadata import Metadata, Root, Snapshot, Targets, Timestamp

from modelota.clock import Clock, from_iso, iso
from modelota.delivery import refusals
from modelota.delivery.objects import ObjectStore
from modelota.delivery.paths import target_path
from modelota.delivery.signers import signers_of
from modelota.delivery.tuf_session import PinnedUpdater, StoreFetcher
from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent
from modelota.spec.limits import TARGETS_MAX_BYTES
from modelota.storage.durable import disk_error

# Nothing has expired at this time: how stale media are read. Every other check is made as always.
_BEFORE_ALL: Final = datetime(1, 1, 1, tzinfo=UTC)
_NAMED_FIRST: Final = (Timestamp.type, Snapshot.type, Targets.type)  # the nearest to the root of the trouble


class TrustState(msgspec.Struct, frozen=True, kw_only=True):
    """What a device must remember about a repository.

    Attributes:
        roots: root metadata, the anchor first, each signed by the one before.
        floors: lowest acceptable version by role: `timestamp`, `snapshot`, `targets`, and every delegated role.
        accepted_at: the device's time at the last successful refresh, or None.
    """

    roots: tuple[bytes, ...]
    floors: dict[str, int] = {}
    accepted_at: str | None = None


class TrustMemory(Protocol):
    """Where the state is kept, durably; the agent's database."""

    def load(self) -> TrustState | None:
        """The state, or None before the first refresh."""
        ...

    def save(self, state: TrustState) -> None:
        """Replace the state; it is durable when this returns."""
        ...


class Refreshed(NamedTuple):
    """Outcome of a refresh.

    Attributes:
        stale_since: when the first of the top-level roles expired; None if all are fresh.
        at: the time that was believed.
    """

    stale_since: datetime | None
    at: datetime


class TargetInfo(NamedTuple):
    """What the metadata says about a target: its path, its length, its digests by algorithm."""

    path: str
    length_bytes: int
    hashes: dict[str, str]


class _Session(NamedTuple):
    updater: PinnedUpdater
    fetcher: StoreFetcher
    state: TrustState
    now: datetime


class TrustClient:
    """A device's view of one repository.

    Args:
        store: the repository.
        cache_dir: for ngclient's files; anything in it may be deleted.
        memory: floors and root chain.
        clock: the device's clock.
        anchor: root metadata that the device was given when it was enrolled.
    """

    def __init__(
        self, store: ObjectStore, cache_dir: Path, memory: TrustMemory, clock: Clock, *, anchor: bytes
    ) -> None:
        self._store = store
        self._cache_dir = cache_dir
        self._memory = memory
        self._clock = clock
        self._anchor = anchor
        self._session: _Session | None = None

    # -- refreshing -----------------------------------------------------------------------------------------------

    def refresh(self, *, allow_stale: bool = False) -> Refreshed:
        """Bring the metadata up to date and check it against the memory.

        Args:
            allow_stale: the owner's separate decision to use what has expired. Signatures, versions, digests and floors
                hold as always; the last believed time does not move.

        Raises:
            RefuseContent: `metadata-expired`, `metadata-signature`, `metadata-rollback`, `metadata-invalid`,
                `metadata-too-large`, `repository-not-found`, `insecure-url`.
            TryLater: as `ObjectStore`.
            AskPerson: `root-untrusted`: the anchor is not valid root metadata, or not the one in the memory.
                `no-space`, `permission-denied`.
        """
        self._session = None
        state = self._memory.load() or TrustState(roots=(self._anchor,))
        if state.roots[0] != self._anchor:
            raise AskPerson("root-untrusted", detail="the memory belongs to another anchor")
        now = believed_time(self._clock, state)
        try:
            session = self._attempt(state, now, reference_time=now)
        except RefuseContent as error:
            if error.code != "metadata-expired" or not allow_stale:
                raise
            session = self._attempt(self._memory.load() or state, now, reference_time=_BEFORE_ALL)
        self._session = session
        stale_since = self.stale_since
        accepted_at = session.state.accepted_at if stale_since else iso(now)
        accepted = msgspec.structs.replace(session.state, floors=_raised(session), accepted_at=accepted_at)
        self._session = session._replace(state=accepted)
        self._memory.save(accepted)
        return Refreshed(stale_since=stale_since, at=now)

    @property
    def stale_since(self) -> datetime | None:
        """When the first of the roles loaded so far expired, delegated roles included; None if all are fresh.

        Raises:
            OurBug: `invariant-broken`: there was no refresh.
        """
        session = self._current()
        expired = [signed.expires for signed in session.updater.loaded if signed.is_expired(session.now)]
        return min(expired, default=None)

    def _attempt(self, state: TrustState, now: datetime, *, reference_time: datetime) -> _Session:
        """Refresh once; if the cache is in the way, without it, and if a remembered root is damaged, without those."""
        first = _root_version(self._anchor)
        known = {first + number: data for number, data in enumerate(state.roots) if number > 0}
        try:
            return self._walk(state, now, reference_time, known)
        except OSError:
            _discard(self._cache_dir)
        except _DamagedMemoryError:
            # The chain has to be fetched again; versions of other roles are still held to their floors.
            known = {}
        try:
            return self._walk(state, now, reference_time, known)
        except OSError as error:
            raise disk_error(error, self._cache_dir) from error

    def _walk(self, state: TrustState, now: datetime, reference_time: datetime, known: dict[int, bytes]) -> _Session:
        prepare_cache(self._cache_dir)
        fetcher = StoreFetcher(self._store, known)
        try:
            updater = PinnedUpdater(
                self._cache_dir,
                fetcher,
                anchor=self._anchor,
                reference_time=reference_time,
                known_roots=len(known),
            )
        except RepositoryError as error:
            raise AskPerson("root-untrusted", detail=str(error)[:200]) from error
        try:
            updater.refresh()
        except refusals.TUF_ERRORS as error:
            if fetcher.from_memory:
                raise _DamagedMemoryError from error
            state = self._learn_roots(state, updater, fetcher)
            raise refusals.explain(error, updater, fetcher, state.floors, reference_time, now) from error
        except ModelotaError:
            self._learn_roots(state, updater, fetcher)
            raise
        state = self._learn_roots(state, updater, fetcher)
        _check_floors(updater, state.floors)
        return _Session(updater, fetcher, state, now)

    def _learn_roots(self, state: TrustState, updater: PinnedUpdater, fetcher: StoreFetcher) -> TrustState:
        """Remember newly verified roots at once, whatever becomes of the rest: a revocation is learnt once."""
        first = _root_version(self._anchor)
        chain = [self._anchor] + [fetcher.roots[version] for version in range(first + 1, updater.root.version + 1)]
        if tuple(chain) == state.roots:
            return state
        floors = dict(state.floors)
        for older, newer in itertools.pairwise(chain):
            if newer not in state.roots:
                _forget_replaced(floors, older, newer)
        learnt = msgspec.structs.replace(state, roots=tuple(chain), floors=floors)
        self._memory.save(learnt)
        return learnt

    # -- targets --------------------------------------------------------------------------------------------------

    def target_info(self, path: str) -> TargetInfo | None:
        """What the metadata says about the target at `path`, or None if no role that may sign it lists it.

        Loads the delegated roles on the way.

        Raises:
            RefuseContent: as `refresh`.
            TryLater: as `ObjectStore`.
            OurBug: `invariant-broken`: there was no refresh.
        """
        updater, fetcher, state, now = self._current()
        try:
            info = updater.get_targetinfo(path)
        except refusals.TUF_ERRORS as error:
            raise refusals.explain(error, updater, fetcher, state.floors, now, now) from error
        except OSError as error:
            raise disk_error(error, self._cache_dir) from error
        return None if info is None else TargetInfo(info.path, info.length, dict(info.hashes))

    def signers(self, path: str) -> tuple[str, ...]:
        """Ids of the keys whose signatures vouch for the target at `path`; see `signers_of`.

        Raises:
            As `target_info`.
        """
        info = self.target_info(path)
        found = self._current().updater.get_targetinfo(path) if info is not None else None
        return () if found is None else signers_of(self._current().updater.loaded, self._cache_dir, found)

    def target(self, path: str, limit_bytes: int) -> bytes:
        """Fetch the target at `path` and verify it.

        Raises:
            RefuseContent: `document-too-large` (the metadata states more than `limit_bytes`), `document-invalid` (no
                such target, or other bytes than the metadata states), `server-lies-about-size`; others as
                `target_info`.
            TryLater: as `ObjectStore`.
        """
        session = self._current()
        stated = self.target_info(path)
        info = session.updater.get_targetinfo(path) if stated is not None else None
        if info is None:
            raise RefuseContent("document-invalid", document=path, detail="no such target")
        if info.length > limit_bytes:
            raise RefuseContent("document-too-large", document=path, limit_bytes=limit_bytes, found_bytes=info.length)
        prefix = next(iter(info.hashes.values())) if session.updater.root.consistent_snapshot else None
        address = target_path(path, prefix)
        try:
            data = self._store.get(address, info.length)
        except RefuseContent as error:
            if error.code != "document-too-large":
                raise
            raise self._wrong_length(address, info.length, error.params.get("found_bytes")) from error
        if len(data) != info.length:
            raise self._wrong_length(address, info.length, len(data))
        try:
            info.verify_length_and_hashes(data)
        except LengthOrHashMismatchError as error:
            raise RefuseContent("document-invalid", document=path, detail="digest") from error
        return data

    def _wrong_length(self, path: str, expected_bytes: int, found_bytes: object) -> RefuseContent:
        url = self._store.address(path)
        return RefuseContent("server-lies-about-size", url=url, expected_bytes=expected_bytes, found_bytes=found_bytes)

    def _current(self) -> _Session:
        if self._session is None:
            raise OurBug("invariant-broken", detail="a target was asked for before a successful refresh")
        return self._session


class _DamagedMemoryError(Exception):
    """A root from the memory does not verify."""


def believed_time(clock: Clock, state: TrustState | None) -> datetime:
    """The time to compare expiry with: the clock's, but never earlier than the last time that was believed."""
    now = clock.now()
    if state is None or state.accepted_at is None:
        return now
    return max(now, from_iso(state.accepted_at))


def prepare_cache(cache_dir: Path) -> None:
    """Make the cache directory usable; whatever does not belong there goes.

    Roots are kept in the memory, so their cached history is dropped: every root then passes through our fetcher.

    Raises:
        OSError: the directory cannot be made or read.
    """
    cache_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in cache_dir.iterdir():
        status = entry.lstat()
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(entry)
        elif entry.suffix != ".json" or not stat.S_ISREG(status.st_mode) or status.st_size > TARGETS_MAX_BYTES:
            entry.unlink()


def _discard(cache_dir: Path) -> None:
    """Get the cache out of the way, whatever it is; what cannot be removed shows when it is made anew."""
    if cache_dir.is_dir() and not cache_dir.is_symlink():
        shutil.rmtree(cache_dir, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            cache_dir.unlink()


def _root_version(data: bytes) -> int:
    try:
        return int(msgspec.json.decode(data, type=_RootHead).signed.version)
    except msgspec.MsgspecError as error:
        raise AskPerson("root-untrusted", detail=str(error)[:200]) from error


class _RootSigned(msgspec.Struct, frozen=True):
    version: int


class _RootHead(msgspec.Struct, frozen=True):
    signed: _RootSigned


def _forget_replaced(floors: dict[str, int], older: bytes, newer: bytes) -> None:
    """Drop the floors of roles whose keys were replaced (TUF 5.3.11, recovery from a fast-forward attack).

    Who held the old keys could have claimed any version; root's signers have taken them away.
    """
    before, after = (Metadata[Root].from_bytes(data).signed.roles for data in (older, newer))

    def replaced(role: str) -> bool:
        kept = set(before[role].keyids) & set(after[role].keyids)
        return len(kept) < after[role].threshold

    # The timestamp vouches for the snapshot's version, the snapshot for every other role's.
    drop_targets = replaced(Snapshot.type)
    drop_timestamp = replaced(Timestamp.type)
    for role in list(floors):
        vouched_by_timestamp = role in {Timestamp.type, Snapshot.type}
        if drop_timestamp if vouched_by_timestamp else drop_targets:
            del floors[role]


def _versions(updater: PinnedUpdater) -> dict[str, int]:
    """Version of every role but root, as the trusted snapshot lists them."""
    timestamp, snapshot = updater.timestamp, updater.snapshot
    assert timestamp is not None  # a refresh that succeeded has loaded both
    assert snapshot is not None
    listed = {name.removesuffix(".json"): meta.version for name, meta in snapshot.meta.items()}
    return listed | {Timestamp.type: timestamp.version, Snapshot.type: snapshot.version}


def _check_floors(updater: PinnedUpdater, floors: dict[str, int]) -> None:
    """Compare with what cannot be deleted; ngclient compares with its cache only.

    Raises:
        RefuseContent: `metadata-rollback`.
    """
    found = _versions(updater)
    for role in dict.fromkeys((*_NAMED_FIRST, *sorted(floors))):
        floor = floors.get(role, 0)
        if found.get(role, 0) < floor:
            raise RefuseContent("metadata-rollback", role=role, floor=floor, found=found.get(role))


def _raised(session: _Session) -> dict[str, int]:
    return session.state.floors | _versions(session.updater)
