"""Tests of modelota.delivery.tuf_session: the seams to tuf, pinned to the version they were made for."""

from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

import pytest
from tuf.api.exceptions import ExpiredMetadataError, RepositoryError
from tuf.ngclient._internal.trusted_metadata_set import TrustedMetadataSet
from tuf.ngclient.config import EnvelopeType

from modelota.delivery.stores import ObjectStore, open_store
from modelota.delivery.tuf_session import PinnedUpdater, StoreFetcher, claims
from modelota.errors import ModelotaError, OurBug
from modelota.testing.clock import EPOCH
from modelota.testing.repository import RepositorySimulator


@pytest.fixture(scope="module")
def repository() -> RepositorySimulator:
    return RepositorySimulator(EPOCH)


@pytest.fixture
def store(repository: RepositorySimulator, tmp_path: Path) -> ObjectStore:
    return open_store(str(repository.dump(tmp_path / "served")))


def updater(
    repository: RepositorySimulator, store: ObjectStore, cache: Path, moment: datetime
) -> tuple[PinnedUpdater, StoreFetcher]:
    cache.mkdir(exist_ok=True)
    fetcher = StoreFetcher(store, {})
    made = PinnedUpdater(cache, fetcher, anchor=repository.anchor, reference_time=moment, known_roots=0)
    return made, fetcher


def test_the_version_of_tuf() -> None:
    """A new tuf means: read its changes, run the tests below, then change this line."""
    assert version("tuf") == "7.0.1"


def test_the_attribute_exists(repository: RepositorySimulator) -> None:
    """The private attribute that carries the time is there and holds an aware time."""
    trusted = TrustedMetadataSet(repository.anchor, EnvelopeType.METADATA)
    assert isinstance(trusted.reference_time, datetime)
    assert trusted.reference_time.tzinfo is not None


@pytest.mark.parametrize("moment", [EPOCH - timedelta(days=20_000), EPOCH, EPOCH + timedelta(days=29)])
def test_fresh_at_our_time(
    repository: RepositorySimulator, store: ObjectStore, tmp_path: Path, moment: datetime
) -> None:
    """Before the expiry date, by our time, a refresh succeeds whatever the machine's clock says."""
    made, _ = updater(repository, store, tmp_path / "cache", moment)
    made.refresh()
    assert made.timestamp is not None
    assert made.snapshot is not None
    assert {signed.type for signed in made.loaded} == {"root", "timestamp", "snapshot", "targets"}


@pytest.mark.parametrize("moment", [EPOCH + timedelta(days=30), datetime(2099, 1, 1, tzinfo=UTC)])
def test_expired_at_our_time(
    repository: RepositorySimulator, store: ObjectStore, tmp_path: Path, moment: datetime
) -> None:
    """At and after the expiry date, by our time, it fails."""
    made, _ = updater(repository, store, tmp_path / "cache", moment)
    with pytest.raises(ExpiredMetadataError):
        made.refresh()


def test_a_tuf_without_the_attribute(
    repository: RepositorySimulator, store: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a tuf without the attribute were installed, nothing would run on the wrong time."""
    original = TrustedMetadataSet.__init__

    def without(self: TrustedMetadataSet, *arguments: object) -> None:
        original(self, *arguments)
        del self.reference_time

    monkeypatch.setattr(TrustedMetadataSet, "__init__", without)
    with pytest.raises(OurBug):
        updater(repository, store, tmp_path / "cache", EPOCH)


def test_a_bad_anchor(store: ObjectStore, tmp_path: Path) -> None:
    """An anchor that is no root metadata is an error of tuf's, told apart by the caller."""
    (tmp_path / "cache").mkdir()
    with pytest.raises(RepositoryError):
        PinnedUpdater(tmp_path / "cache", StoreFetcher(store, {}), anchor=b"{}", reference_time=EPOCH, known_roots=0)


def test_fetcher_names(store: ObjectStore, repository: RepositorySimulator) -> None:
    """Names that ngclient quotes become repository paths; versions and roles are told apart."""
    fetcher = StoreFetcher(store, {7: b"known"})
    data = fetcher.download_bytes("store:/1.acme%2Fassistant-releases.json", 10_000)
    assert data == repository.files["metadata/1.acme/assistant-releases.json"]
    assert fetcher.last_role == "acme/assistant-releases"
    assert fetcher.download_bytes("store:/7.root.json", 10) == b"known"
    assert fetcher.from_memory
    assert fetcher.roots == {7: b"known"}
    assert next(fetcher.fetch("store:/timestamp.json")) == repository.files["metadata/timestamp.json"]
    for name in ("1.%2E%2E%2F..%2Fx.json", "1./%2E%2E/%2E%2E/%2E%2E/etc/passwd.json", "no-suffix"):
        with pytest.raises(ModelotaError) as caught:
            fetcher.download_bytes(f"store:/{name}", 10)
        assert caught.value.code in {"unsafe-path", "object-missing"}


def test_claims(repository: RepositorySimulator) -> None:
    """A timestamp speaks for the snapshot, a snapshot for all others, targets for no one."""
    assert claims(repository.files["metadata/timestamp.json"]) == {"timestamp": 1, "snapshot": 1}
    assert claims(repository.files["metadata/1.snapshot.json"]) == {
        "snapshot": 1,
        "targets": 1,
        "acme/assistant-releases": 1,
        "acme/assistant-control": 1,
    }
    assert claims(repository.files["metadata/1.targets.json"]) == {}
