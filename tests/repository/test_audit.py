"""Tests of modelota.repository.audit and modelota.repository.layout."""

import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelota.errors import RefuseContent
from modelota.repository.audit import audit
from modelota.repository.layout import Sort, sort_object
from modelota.repository.rotate import rotate_key
from modelota.repository.serve import RepositoryServer
from modelota.repository.workspace import Workspace
from modelota.testing.clock import ManualClock


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, new_press: Any) -> tuple[Path, bytes]:
    """A small repository with two releases that share a pack, and its first root; never changed."""
    press = new_press(tmp_path_factory.mktemp("printed"), ManualClock())
    shop = press.init(dev=True).workspace
    press.publish(shop, "1.1.1")
    press.file("1.1.2.bin", 300)
    press.publish(shop, "1.1.2")
    return shop.path / "public", shop.trusted_root()


def _addressed(public: Path) -> list[Path]:
    files = sorted(path for path in public.rglob("*") if path.is_file())
    return [path for path in files if sort_object(path.relative_to(public).as_posix())[1]]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_flip_in_content_addressed_files_is_found(printed: tuple[Path, bytes], data: st.DataObject) -> None:
    """One changed bit, one byte more, one byte fewer, in any content-addressed file, referred to or not: a finding."""
    public, root = printed
    path = data.draw(st.sampled_from(_addressed(public)))
    good = path.read_bytes()
    how = data.draw(st.sampled_from(["flip", "flip", "append", "cut"]))
    bad = bytearray(good)
    if how == "flip":
        bad[data.draw(st.integers(0, len(good) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    elif how == "append":
        bad.append(0)
    else:
        bad.pop()
    path.write_bytes(bad)
    try:
        report = audit(public.as_uri(), clock=ManualClock(), root=root)
    finally:
        path.write_bytes(good)
    name = path.relative_to(public).as_posix()
    assert any(finding.path == name for finding in report.findings)


def test_every_missing_object_is_found(printed: tuple[Path, bytes], tmp_path: Path) -> None:
    """Whatever current metadata refers to must be there; superseded catalogs and metadata need not."""
    public, root = printed
    missed = []
    for path in sorted(path for path in public.rglob("*") if path.is_file()):
        aside = path.rename(tmp_path / "aside")
        try:
            if audit(public.as_uri(), clock=ManualClock(), root=root).ok:
                missed.append(path.relative_to(public).as_posix())
        except RefuseContent as error:
            assert error.code == "repository-not-found"
        finally:
            aside.rename(path)
    assert all(name.startswith("metadata/") or "catalog" in name for name in missed)
    assert not any(name.startswith("metadata/3.") for name in missed)
    assert "metadata/timestamp.json" not in missed


def test_a_sound_repository(printed: tuple[Path, bytes]) -> None:
    """Nothing is found, and everything was looked at."""
    public, root = printed
    report = audit(public.as_uri(), clock=ManualClock(), root=root)
    assert (report.ok, report.anchored, report.listed, report.lags) == (True, True, True, False)
    assert (report.models, report.releases) == (1, 2)
    assert report.objects == len(_addressed(public))
    assert report.bytes_read == sum(path.stat().st_size for path in (public / "packs").rglob("*") if path.is_file())


def test_without_an_anchor_it_says_so(printed: tuple[Path, bytes]) -> None:
    """The repository's own first root vouches for itself only."""
    public, _ = printed
    report = audit(public.as_uri(), clock=ManualClock())
    assert (report.ok, report.anchored) == (True, False)


def test_another_repositorys_anchor(press: Any, printed: tuple[Path, bytes]) -> None:
    """Under a root of someone else nothing is trusted."""
    other = press.init("other", dev=True).workspace
    report = audit(printed[0].as_uri(), clock=ManualClock(), root=other.trusted_root())
    assert [finding.error.code for finding in report.findings][-1] == "metadata-signature"


def test_a_shallow_audit_reads_no_pack(printed: tuple[Path, bytes]) -> None:
    """Sizes only: a cut pack is found, a flipped one is not, and the report says it was shallow."""
    public, root = printed
    pack = next(path for path in (public / "packs").rglob("*") if path.is_file())
    good = pack.read_bytes()
    try:
        pack.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        report = audit(public.as_uri(), clock=ManualClock(), root=root, deep=False)
        assert (report.ok, report.deep, report.bytes_read) == (True, False, 0)
        pack.write_bytes(good[:-1])
        assert not audit(public.as_uri(), clock=ManualClock(), root=root, deep=False).ok
    finally:
        pack.write_bytes(good)


def test_what_is_expired_is_found(printed: tuple[Path, bytes]) -> None:
    """A repository that devices would refuse fails, and its files are checked all the same."""
    public, root = printed
    clock = ManualClock()
    clock.advance(days=400)
    report = audit(public.as_uri(), clock=clock, root=root)
    assert [finding.error.code for finding in report.findings] == ["metadata-expired"]
    assert report.objects == len(_addressed(public))


def test_what_does_not_belong_is_mentioned(press: Any, shop: Workspace) -> None:
    """Stray files are unknown, a sound pack that nobody uses is unreferenced; neither is wrong."""
    press.publish(shop, "1.1.1")
    public = shop.path / "public"
    (public / "index.html").write_text("hello")
    (public / "packs" / "README").write_text("hello")
    stray = shop.path.parent / "stray"
    donor = press.init("donor", dev=True).workspace
    press.publish(donor, press.file("model.gguf"), model="acme/assistant")
    pack = next(path for path in (donor.path / "public" / "packs").rglob("*") if path.is_file())
    target = public / pack.relative_to(donor.path / "public")
    target.parent.mkdir(exist_ok=True)
    pack.rename(target)
    assert not stray.exists()
    report = audit(shop, clock=press.clock)
    assert report.ok
    assert report.unknown == ["index.html", "packs/README"]
    assert report.unreferenced == [target.relative_to(public).as_posix()]


def test_over_http_what_is_referred_to_is_checked(press: Any, shop: Workspace) -> None:
    """A web server cannot list; packs are found through the manifests, and a flipped one is a finding."""
    press.publish(shop, "1.1.1")
    for role in ("root", "timestamp"):
        rotate_key(shop, role, clock=press.clock, passphrases=press.passphrases)
    pack = next(path for path in (shop.path / "public" / "packs").rglob("*") if path.is_file())
    with RepositoryServer(shop.path / "public") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            report = audit(server.url, clock=press.clock, root=shop.trusted_root())
            assert (report.ok, report.listed, report.objects) == (True, False, 1)
            pack.write_bytes(pack.read_bytes()[:-1] + b"x")
            report = audit(server.url, clock=press.clock, root=shop.trusted_root())
            assert [finding.error.code for finding in report.findings] == ["pack-invalid"]
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        ("metadata/timestamp.json", Sort.METADATA),
        ("metadata/12.root.json", Sort.METADATA),
        ("metadata/3.acme/assistant-releases.json", Sort.METADATA),
        ("metadata/root.json", Sort.UNKNOWN),
        (f"targets/a/b/{'0' * 64}.catalog.json", Sort.TARGET),
        (f"targets/a/b/1.1.1/{'0' * 64}.manifest.json.zst", Sort.TARGET),
        ("targets/a/b/catalog.json", Sort.UNKNOWN),
        (f"packs/ab/ab{'0' * 62}", Sort.PACK),
        (f"packs/aa/ab{'0' * 62}", Sort.UNKNOWN),
        (f"packs/ab/ab{'0' * 62}x", Sort.UNKNOWN),
        ("", Sort.UNKNOWN),
    ],
)
def test_paths_are_sorted(path: str, sort: Sort) -> None:
    """Only paths of the published layout are known."""
    assert sort_object(path)[0] is sort
