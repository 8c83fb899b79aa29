"""The two seams to `tuf.ngclient`: where its metadata comes from, and what time it believes.

ngclient 7.0.1 takes no clock. `TrustedMetadataSet.reference_time` is what every expiry is compared with; it is
set once, to the machine's clock, when an `Updater` is made. `PinnedUpdater` sets it to the time we decided on. It
belongs to a private class, so `tests/delivery/test_tuf_session.py` fails when tuf's version or behaviour changes, and
a missing attribute is an error at run time, never a silently unused time.

ngclient writes its cache itself and does not flush it. That is right for a cache that may vanish at any moment; what
must last is in `TrustMemory`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import unquote

from tuf.api.exceptions import DownloadHTTPError
from tuf.api.metadata import Metadata, Root, Signed, Snapshot, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig
from tuf.ngclient.fetcher import FetcherInterface

from modelota.delivery.objects import ObjectStore
from modelota.delivery.paths import METADATA
from modelota.errors import ModelotaError, OurBug, RefuseContent
from modelota.spec import limits

_BASE: Final = "store:/"
_NAME: Final = re.compile(r"(?:([0-9]{1,18})\.)?(.+)\.json", re.DOTALL)
DELEGATIONS_MAX: Final = 32  # roles visited in search of one target


class StoreFetcher(FetcherInterface):
    """Reads metadata from an object store, and remembers what was read for explanations and for the root chain.

    Args:
        store: the repository.
        known_roots: root metadata by version that need not be fetched.

    Attributes:
        last_role: the role that was asked for last.
        documents: the bytes last obtained, by role.
        roots: root metadata obtained or known, by version.
        from_memory: whether the last document was a known root.
    """

    def __init__(self, store: ObjectStore, known_roots: Mapping[int, bytes]) -> None:
        self._store = store
        self._known_roots = known_roots
        self.last_role = Root.type
        self.documents: dict[str, bytes] = {}
        self.roots: dict[int, bytes] = {}
        self.from_memory = False

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """Read the metadata that ngclient calls `url`.

        Raises:
            RefuseContent: `metadata-too-large`, `repository-not-found` (no timestamp); others as `ObjectStore.get`.
            DownloadHTTPError: there is no such root; ngclient then knows that it has the newest.
        """
        name = unquote(url.removeprefix(_BASE))
        match = _NAME.fullmatch(name)
        if match is None:
            raise RefuseContent("unsafe-path", path=ascii(name)[:200])
        version, role = match[1], match[2]
        self.last_role = role
        self.from_memory = False
        if role == Root.type and version is not None and int(version) in self._known_roots:
            self.from_memory = True
            data = self._known_roots[int(version)]
        else:
            data = self._get(f"{METADATA}/{name}", role, max_length)
        self.documents[role] = data
        if role == Root.type and version is not None:
            self.roots[int(version)] = data
        return data

    def _get(self, path: str, role: str, limit_bytes: int) -> bytes:
        try:
            return self._store.get(path, limit_bytes)
        except ModelotaError as error:
            missing = error.code == "object-missing"
            # Buckets whose contents may not be listed answer 403 for what is not there.
            if role == Root.type and (missing or error.params.get("status") == 403):
                raise DownloadHTTPError(path, 404) from error
            if role == Timestamp.type and missing:
                raise RefuseContent("repository-not-found", url=self._store.url) from error
            if error.code == "document-too-large":
                raise RefuseContent("metadata-too-large", role=role, limit_bytes=limit_bytes) from error
            raise

    def _fetch(self, url: str) -> Iterator[bytes]:
        """The interface's other door: ngclient uses it for targets, which modelota fetches itself."""
        yield self.download_bytes(url, limits.TARGETS_MAX_BYTES)


class PinnedUpdater(Updater):
    """An `Updater` for one refresh, at a given time.

    Args:
        cache_dir: where ngclient keeps its files.
        fetcher: where metadata comes from.
        anchor: the trusted root metadata to start from.
        reference_time: aware UTC; everything that expires before it has expired.
        known_roots: how many roots the fetcher has in memory: they do not count as rotations.

    Raises:
        RepositoryError: the anchor is not valid root metadata.
        OSError: the cache cannot be written.
        OurBug: `invariant-broken`: this is not the tuf that the seam was made for.
    """

    def __init__(
        self, cache_dir: Path, fetcher: StoreFetcher, *, anchor: bytes, reference_time: datetime, known_roots: int
    ) -> None:
        config = UpdaterConfig(
            max_root_rotations=known_roots + limits.ROOT_ROTATIONS_MAX,
            max_delegations=DELEGATIONS_MAX,
            root_max_length=limits.ROOT_MAX_BYTES,
            timestamp_max_length=limits.TIMESTAMP_MAX_BYTES,
            snapshot_max_length=limits.SNAPSHOT_MAX_BYTES,
            targets_max_length=limits.TARGETS_MAX_BYTES,
        )
        super().__init__(str(cache_dir), _BASE, fetcher=fetcher, config=config, bootstrap=anchor)
        if not isinstance(vars(self._trusted_set).get("reference_time"), datetime):
            raise OurBug("invariant-broken", detail="tuf: TrustedMetadataSet.reference_time is gone")
        self._trusted_set.reference_time = reference_time

    @property
    def root(self) -> Root:
        """The newest trusted root."""
        return self._trusted_set.root

    @property
    def timestamp(self) -> Timestamp | None:
        """The timestamp, once loaded."""
        signed = self._trusted_set.get(Timestamp.type)
        return signed if isinstance(signed, Timestamp) else None

    @property
    def snapshot(self) -> Snapshot | None:
        """The snapshot, once loaded."""
        signed = self._trusted_set.get(Snapshot.type)
        return signed if isinstance(signed, Snapshot) else None

    @property
    def loaded(self) -> tuple[Signed, ...]:
        """Everything loaded so far."""
        return tuple(iter(self._trusted_set))  # this mapping iterates over its values


def claims(data: bytes) -> dict[str, int]:
    """What a piece of metadata says about versions: its own, and those it lists.

    Args:
        data: metadata that ngclient has parsed before.
    """
    signed: Signed = Metadata.from_bytes(data).signed
    found = {} if isinstance(signed, Targets) else {signed.type: signed.version}
    if isinstance(signed, Timestamp):
        found[Snapshot.type] = signed.snapshot_meta.version
    if isinstance(signed, Snapshot):
        found |= {name.removesuffix(".json"): meta.version for name, meta in signed.meta.items()}
    return found
