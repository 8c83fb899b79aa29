"""Released versions are archived whole before they are visible, and kept as long as they must be (clause 6.2-b)."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.clock import from_iso, iso
from modelota.delivery.stores import ObjectStore
from modelota.errors import AskPerson, ModelotaError, TryLater
from modelota.repository.archive import EntryReport, check_archive, kept_until, open_archive
from modelota.repository.archive_prune import apply_prune, plan_prune
from modelota.repository.baseline import read_archive_key
from modelota.repository.published import Published, load_published
from modelota.repository.report import PublishProgress
from modelota.repository.service_end import end_of_service
from modelota.repository.trial import read_report, report_path
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import Catalog
from modelota.spec.document import canonical
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"


def state(shop: Workspace) -> Published:
    return load_published(shop.store(), shop.trusted_root())


def archive_of(shop: Workspace) -> ObjectStore:
    archive = open_archive(shop, writable=True)
    assert archive is not None
    return archive


def checked(press: Any, shop: Workspace, *, key: bool = False) -> list[EntryReport]:
    path = shop.path / "offline" / "archive-1.toml"
    found = next((shop.path / "offline").iterdir()) if not path.exists() else path
    opened = read_archive_key(found, press.passphrases) if key else None
    return check_archive(archive_of(shop), state(shop), MODEL, key=opened, workspace=shop)


def test_each_release_is_archived_whole(press: Any, shop: Workspace) -> None:
    """Manifest, notes, report, development information and all packs; shared packs once."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    reports = checked(press, shop)
    assert [(report.version, report.complete) for report in reports] == [("1.1.1", True), ("1.1.2", True)]
    entry = reports[0].entry
    assert entry is not None
    names = {Path(kept.path).name for kept in entry.documents}
    assert names == {"manifest.json.zst", "notes.json", "test-report.json", "development.json"}
    assert entry.packs
    assert reports[0].kept_until is None


def test_the_archive_key_alone_opens_everything(press: Any, shop: Workspace) -> None:
    """With class keys and the public repository gone, the offline key still opens every file."""
    press.publish(shop, "1.1.1")
    published = state(shop)
    shutil.rmtree(shop.path / "enrolment")
    shutil.rmtree(shop.path / "public" / "packs")
    key = read_archive_key(next((shop.path / "offline").iterdir()), press.passphrases)
    (report,) = check_archive(archive_of(shop), published, MODEL, key=key, workspace=shop)
    assert (report.complete, report.opened_bytes) == (True, 20_000)


@pytest.mark.parametrize("harm", ["entry", "document", "pack", "flip"])
def test_what_is_missing_or_damaged_is_found(press: Any, shop: Workspace, harm: str) -> None:
    """An entry, a document or a pack that is gone or other bytes: not complete, and which."""
    press.publish(shop, "1.1.1")
    place = shop.path / "archive"
    entry, pack = next(place.rglob("entry.json")), next((place / "packs").rglob("*/*"))
    victim = {"entry": entry, "document": entry.with_name("notes.json"), "pack": pack, "flip": pack}[harm]
    if harm == "flip":
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 1
        victim.write_bytes(data)
    else:
        victim.unlink()
    (report,) = checked(press, shop)
    assert not report.complete
    (path, error) = report.findings[0]
    assert path.endswith(victim.name)
    assert error.code == ("file-mismatch" if harm == "flip" else "object-missing")


def test_complete_or_no_release(press: Any, shop: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive that can't be written keeps the release from becoming visible; later it goes on."""
    original = ObjectStore.put

    def put(store: ObjectStore, path: str, data: bytes | Path, *, create_only: bool = False) -> None:
        if path.endswith("entry.json"):
            raise TryLater("disk-error", path=path, detail="I/O error")
        original(store, path, data, create_only=create_only)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put", put)
        with pytest.raises(TryLater):
            press.publish(shop, "1.1.1")
    assert press.device(shop).versions() == []
    press.publish(shop, "1.1.1")
    assert press.device(shop).versions() == ["1.1.1"]
    assert checked(press, shop)[0].complete


def test_without_an_archive_nothing_is_published(press: Any, shop: Workspace) -> None:
    """A workspace with real keys needs one."""
    bare = shop.save(msgspec.structs.replace(shop.config, archive_place=None))
    told: list[PublishProgress] = []
    with pytest.raises(AskPerson) as caught:
        press.publish(bare, "1.1.1", on_progress=told.append)
    assert caught.value.code == "archive-missing"
    assert told == []  # before the long work
    assert press.device(bare).versions() == []
    assert [error.code for error in press.publish(bare, "1.1.1", dry_run=True).refusals] == ["archive-missing"]


def test_manifest_and_archive_tell_of_the_same_tests(press: Any, shop: Workspace) -> None:
    """A report that is exchanged while the release is packed changes neither."""
    place = report_path(shop, MODEL, "1.1.1")

    def exchange(progress: PublishProgress) -> None:
        if progress.step == "packing" and progress.done == 0:
            found = read_report(place)
            assert found is not None
            place.write_bytes(canonical(msgspec.structs.replace(found, made_with="other")))

    press.publish(shop, "1.1.1", on_progress=exchange)
    published = state(shop)
    (release,) = published.catalog(MODEL).releases
    kept = read_report(next((shop.path / "archive").rglob("test-report.json")))
    exchanged = read_report(place)
    assert kept is not None
    assert exchanged is not None
    assert (kept.made_with, exchanged.made_with) == ("0", "other")
    assert published.manifest(MODEL, release).test_report == kept.digest


def refused(work: Any) -> ModelotaError:
    with pytest.raises(AskPerson) as caught:
        work()
    return caught.value


def test_kept_until_two_years_after_the_end_of_service(press: Any, shop: Workspace) -> None:
    """No end: for ever. Before two years after it: refused, with the day. Then: planned, shown, applied."""
    press.publish(shop, "1.1.1")
    press.publish(shop, "1.1.2")
    archive, clock = archive_of(shop), press.clock

    def plan() -> Any:
        return plan_prune(archive, state(shop), MODEL, clock=clock)

    assert (refused(plan).code, refused(plan).params["until"]) == ("kept-by-law", None)
    ends = clock.now() + timedelta(days=10)
    end_of_service(shop, None, iso(ends), clock=clock, passphrases=press.passphrases)
    until = from_iso(refused(plan).params["until"])
    assert until.year == ends.year + 2
    later = ManualClock(until - timedelta(seconds=1))
    assert refused(lambda: plan_prune(archive, state(shop), MODEL, clock=later)).code == "kept-by-law"
    assert [report.complete for report in checked(press, shop)] == [True, True]
    after = ManualClock(until + timedelta(seconds=1))
    found = plan_prune(archive, state(shop), MODEL, clock=after)
    assert found.versions == ("1.1.1", "1.1.2")
    assert refused(lambda: apply_prune(archive, state(shop), MODEL, "0" * 64, clock=after)).code == "plan-changed"
    apply_prune(archive, state(shop), MODEL, found.identity, clock=after)
    assert not [path for path in (shop.path / "archive").rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    ("ends", "until"),
    [
        ("2028-02-29T23:59:59Z", datetime(2030, 3, 1, 23, 59, 59, tzinfo=UTC)),
        ("2027-12-31T00:00:00Z", datetime(2029, 12, 31, tzinfo=UTC)),
        (None, None),
    ],
)
def test_two_years_by_the_calendar(ends: str | None, until: datetime | None) -> None:
    """The same day two years later; where there is none, the day after."""
    assert kept_until(Catalog(model=MODEL, releases=(), end_of_service=ends)) == until
