"""What a device holds, in which slots and sealed where, and what keeping a version takes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from tests.storage.test_install import release

from modelota.agent.config import Config, Keep, StorageSettings
from modelota.agent.holdings import Holdings
from modelota.agent.journal import Journal
from modelota.agent.keeping import keep_and_remove
from modelota.agent.states import Restarted, State
from modelota.content.local_seal import sealed_size
from modelota.spec.document import canonical, digest_of
from modelota.spec.manifest import Manifest, RuntimeUse
from modelota.spec.slot import SlotId, describe
from modelota.storage.assembly import Assembly
from modelota.storage.durable import Disk
from modelota.storage.kept import chunk_sizes
from modelota.storage.layout import Layout
from modelota.storage.ledger import NoLedger
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


def manifest(version: str, *paths: str) -> Manifest:
    """The release of the storage tests, or a later one that has only some of its files."""
    whole = release().manifest
    files = tuple(file for file in whole.variants[0].files if file.path in paths)
    needed = {index for file in files for index in file.chunks}
    (full,) = whole.variants[0].packages
    routes = tuple(route for route in full.routes if route.chunk in needed)
    variant = msgspec.structs.replace(
        whole.variants[0],
        files=files,
        runtime=RuntimeUse(name="command", entry=paths[0]),
        packages=(
            msgspec.structs.replace(full, routes=routes, size_bytes=sum(route.length_bytes for route in routes)),
        ),
    )
    return msgspec.structs.replace(whole, version=version, variants=(variant,))


ONE = manifest("1.1.1", "model.bin", "sub/other.bin", "empty")
TWO, THREE = manifest("1.1.2", "sub/other.bin"), manifest("1.1.3", "sub/other.bin", "empty")
ID = {made.version: SlotId(made.version, "q8") for made in (ONE, TWO, THREE)}
ONLY_ONE = chunk_sizes(ONE, "q8").keys() - chunk_sizes(TWO, "q8").keys()


class Bench:
    """A device with versions 1 (previous) and 2 (in use)."""

    def __init__(self, place: Path) -> None:
        self.layout = Layout(place)
        self.journal = Journal(self.layout.database, ManualClock())
        self.disk = Disk((place,), NoLedger())
        for made in (ONE, TWO):
            self.install(made)
        self.state(State(current=ID["1.1.2"], previous=ID["1.1.1"], slots=(ID["1.1.1"], ID["1.1.2"])))

    def state(self, state: State) -> None:
        self.journal.commit(MODEL, Restarted(), State(), state)

    def install(self, made: Manifest) -> None:
        digest = digest_of(made)
        self.journal.keep_manifest(digest, MODEL, made.version, canonical(made))
        description = describe(made, digest, made.variants[0])
        self.journal.register_slot(description)
        place = self.layout.model(MODEL).slot(description.slot.name) / "files"
        for file in made.variants[0].files:
            (place / file.path).parent.mkdir(parents=True, exist_ok=True)
            (place / file.path).write_bytes(release().files[file.path])

    def holdings(self, *, older_versions: int = 1) -> Holdings:
        config = Config(keep=Keep(older_versions=older_versions))
        return Holdings(self.layout, self.journal, config, self.disk)

    def remove(self, *, keep: list[str], seal: list[str]) -> dict[str, object]:
        return keep_and_remove(
            self.layout,
            self.journal,
            self.holdings(),
            self.disk,
            MODEL,
            keep=[ID[version] for version in keep],
            seal=[ID[version] for version in seal],
            report=lambda _done, _total: None,
        )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def test_the_peak_counts_what_will_be_kept(bench: Bench) -> None:
    """Version 1 leaves its slot once 3 is in use: what 2 and 3 lack of it is written sealed before (8.1.1-c)."""
    expected = sum(sealed_size(size) for digest, size in chunk_sizes(ONE, "q8").items() if digest in ONLY_ONE)
    assert expected > 0
    assert bench.holdings().kept_bytes_after(THREE, THREE.variants[0]) == expected
    assert bench.holdings(older_versions=0).kept_bytes_after(THREE, THREE.variants[0]) == 0
    for mended in (ONE, TWO):  # a repair takes no slot from anyone
        assert bench.holdings().kept_bytes_after(mended, mended.variants[0]) == 0


def test_a_slot_goes_after_what_it_alone_held_is_kept(bench: Bench) -> None:
    """Slot 1 is removed, its own chunks are sources still, and its description still leads back to it."""
    bench.install(THREE)
    bench.layout.model(MODEL).staging.mkdir()
    result = bench.remove(keep=["1.1.2", "1.1.3"], seal=["1.1.1"])
    assert result == {"removed": ["1.1.1+q8"], "lost_chunks": 0}
    assert not bench.layout.model(MODEL).slot("1.1.1+q8").exists()
    assert not bench.layout.model(MODEL).staging.exists()
    bench.state(State(current=ID["1.1.3"], previous=ID["1.1.2"], slots=(ID["1.1.2"], ID["1.1.3"]), kept=(ID["1.1.1"],)))
    assert bench.holdings().kept(MODEL).held == ONLY_ONE
    sources = bench.holdings().sources(MODEL)
    assert sources.held >= chunk_sizes(ONE, "q8").keys()
    assert sources.damaged(chunk_sizes(ONE, "q8")) == frozenset()
    assert bench.holdings().kept_bytes_after(THREE, THREE.variants[0]) == 0


def test_what_can_not_be_kept_is_journalled(bench: Bench) -> None:
    """A damaged chunk of the version that goes is told; the slot goes all the same."""
    path = bench.layout.model(MODEL).slot("1.1.1+q8") / "files" / "model.bin"
    path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:])
    assert bench.remove(keep=["1.1.2"], seal=["1.1.1"])["lost_chunks"] == 1
    assert [entry.event for entry in bench.journal.log(MODEL, 0, 10)] == ["restarted", "kept-incomplete"]


def test_without_a_version_to_keep_nothing_is_sealed(bench: Bench) -> None:
    """Slots just go; no secret is made for nothing."""
    bench.remove(keep=["1.1.2"], seal=[])
    assert not bench.layout.model(MODEL).kept.exists()
    assert not bench.layout.model(MODEL).slot("1.1.1+q8").exists()


@pytest.mark.parametrize(
    ("release_says", "settings_say", "installed", "expected"),
    [
        ("plain", "plain", None, "plain"),
        ("plain", "sealed", None, "sealed"),
        ("sealed", "plain", None, "sealed"),
        ("plain", "sealed", "plain", "plain"),  # what is there is mended as it is
        ("plain", "plain", "sealed", "sealed"),
        ("sealed", "plain", "plain", "sealed"),
    ],
)
def test_how_a_slot_is_to_lie(
    bench: Bench, release_says: str, settings_say: str, installed: str | None, expected: str
) -> None:
    """The release can demand sealing, the settings can choose it, and a slot stays as it is (7.1.2-b)."""
    made = msgspec.structs.replace(THREE, at_rest=release_says)
    if installed is not None:
        bench.journal.register_slot(describe(THREE, digest_of(THREE), THREE.variants[0], at_rest=installed))
    config = Config(storage=StorageSettings(at_rest=settings_say))  # type: ignore[arg-type]  # a literal by its value
    holdings = Holdings(bench.layout, bench.journal, config, bench.disk)
    assert holdings.at_rest(made, made.variants[0]) == expected
    secret = holdings.secret_of(MODEL, ID["1.1.3"], holdings.at_rest(made, made.variants[0]))
    assert (secret is None) == (expected == "plain")


def test_no_file_of_a_slot_can_be_written_or_is_shared(tmp_path: Path) -> None:
    """Two versions with the same file have an inode each, without write permission (requirement 6.4-b)."""
    disk = Disk((tmp_path,), NoLedger())
    inodes = set()
    for made in (TWO, THREE):
        place = tmp_path / made.version
        (place / "files" / "sub").mkdir(parents=True)
        (place / "files" / "sub" / "other.bin").write_bytes(release().files["sub/other.bin"])
        Assembly(place, made, made.variants[0], disk).finish(lambda _: None)
        for path in (place / "files").rglob("*"):
            found = path.lstat()
            assert found.st_mode & 0o222 == 0
            if path.is_file():
                assert found.st_nlink == 1
                inodes.add(found.st_ino)
        assert (place / "files").stat().st_mode & 0o222 == 0
        assert {entry.name for entry in place.iterdir()} == {"files", "cache", "log"}
    assert len(inodes) == 3
