"""Tests of modelota.repository.stats."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import msgspec
import pytest

from modelota.delivery import paths
from modelota.errors import AskPerson
from modelota.repository.published import Published, load_published
from modelota.repository.stats import DownloadStatistics, count_downloads
from modelota.repository.workspace import Workspace
from modelota.spec.manifest import Manifest

MODEL = "acme/assistant"
SECRETS = ("203.0.113.77", "2001:db8:77::1", "user-planted", "referrer-planted", "agent-planted")


def line(path: str, *, status: int = 206, size: int | str = 100, day: str = "24/Nov/2026", method: str = "GET") -> str:
    return (
        f'{SECRETS[0]} - {SECRETS[2]} [{day}:13:55:36 +0000] "{method} {path} HTTP/1.1" {status} {size} '
        f'"https://{SECRETS[3]}/" "{SECRETS[4]}"'
    )


def load(shop: Workspace) -> tuple[Published, dict[str, Manifest]]:
    published = load_published(shop.store(), shop.trusted_root())
    releases = published.catalog(MODEL).releases
    return published, {release.version: published.manifest(MODEL, release) for release in releases}


def manifest_path(published: Published, version: str) -> str:
    target = paths.manifest_target(MODEL, version)
    entry = published.role(paths.releases_role(MODEL)).targets[target]
    return paths.target_path(target, entry.hashes["sha256"])


def count(shop: Workspace, press: Any, *lines: str) -> DownloadStatistics:
    log = press.directory / "access.log"
    log.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return count_downloads(shop, [log])


@pytest.fixture
def sold(press: Any, shop: Workspace, family: Path) -> Workspace:
    """Two releases of two variants, the second with packages against the first."""
    for version in ("1.1.1", "1.1.2"):
        variants = [
            {
                "name": name,
                "files": [{"source": str(family / version / f"assistant-{name}.gguf"), "path": "model.gguf"}],
                "runtime": {"name": "llama.cpp", "entry": "model.gguf"},
            }
            for name in ("q4", "q8")
        ]
        press.publish(shop, press.describe(version, variants=variants))
    return shop


def test_packs_count_for_what_they_are_part_of(sold: Workspace, press: Any) -> None:
    """Every pack of every manifest is in one group: its version, variants and modes are those of its routes."""
    _, manifests = load(sold)
    seen: set[str] = set()
    for version, manifest in manifests.items():
        for index, pack in enumerate(manifest.packs):
            if pack.digest in seen:
                continue
            seen.add(pack.digest)
            uses = {
                (variant.name, package.mode)
                for variant in manifest.variants
                for package in variant.packages
                if any(route.pack == index for route in package.routes)
            }
            found = count(sold, press, line(f"/some/where/packs/{pack.digest[:2]}/{pack.digest}", size=77))
            (group,) = [group for group in found.groups if group.sent.requests]
            assert (group.version, group.sent.size_bytes) == (version, 77)
            assert set(group.variants) == {name for name, _ in uses}
            assert set(group.modes) == {mode for _, mode in uses}
    groups = count(sold, press).groups
    assert sum(group.packs for group in groups) == len(seen)
    assert {mode for group in groups for mode in group.modes} >= {"full", "differential"}
    sizes = {pack.digest: pack.size_bytes for manifest in manifests.values() for pack in manifest.packs}
    assert sum(group.packs_bytes for group in groups) == sum(sizes.values())


def test_manifests_days_and_what_does_not_count(sold: Workspace, press: Any) -> None:
    """Manifests by version, both by day; errors, other requests and unreadable lines are counted apart."""
    published, manifests = load(sold)
    digest = manifests["1.1.1"].packs[0].digest
    pack = f"/packs/{digest[:2]}/{digest}"
    found = count(
        sold,
        press,
        line(f"/{manifest_path(published, '1.1.2')}", status=200, size=5000),
        line(f"/repo/{manifest_path(published, '1.1.2')}?cache=1", status=200, size=5000, day="23/Nov/2026"),
        line(pack, size=1),
        line(pack, status=404),
        line(pack, status=304, size="-"),
        line(pack, method="HEAD"),
        line("/metadata/timestamp.json", status=200),
        line(f"/packs/00/{'0' * 64}"),
        line(f"/targets/acme/other/1.1.1/{'0' * 64}.manifest.json.zst"),
        line(f"/targets/{MODEL}/9.9.9/{'0' * 64}.manifest.json.zst"),
        "hostile",
        line(pack, size=10**20),
    )
    assert found.manifests["1.1.2"].requests == 2
    assert found.manifests["1.1.1"].requests == 0
    assert sum(group.sent.size_bytes for group in found.groups) == 1
    assert {day: (sent.requests, sent.size_bytes) for day, sent in found.days.items()} == {
        "2026-11-23": (1, 5000),
        "2026-11-24": (2, 5001),
    }
    assert list(found.days) == sorted(found.days)
    assert (found.lines, found.unreadable, found.failed, found.others) == (12, 2, 1, 6)


def test_several_logs_and_compressed_ones(sold: Workspace, press: Any) -> None:
    """The figures of all logs are added up, whatever their form."""
    _, manifests = load(sold)
    digest = manifests["1.1.1"].packs[0].digest
    text = (line(f"/packs/{digest[:2]}/{digest}", size=10) + "\r\n") * 3
    plain, packed = press.directory / "a.log", press.directory / "a.log.1.gz"
    plain.write_text(text, encoding="utf-8")
    packed.write_bytes(gzip.compress(text.encode()))
    found = count_downloads(sold, [packed, plain])
    assert sum(group.sent.size_bytes for group in found.groups) == 60
    with pytest.raises(AskPerson) as caught:
        count_downloads(sold, [press.directory / "none.log"])
    assert caught.value.code == "log-unreadable"


def test_nobody_is_in_the_figures(sold: Workspace, press: Any) -> None:
    """No address, user, referrer or agent of any line, readable or not, is in what is told."""
    _, manifests = load(sold)
    digest = manifests["1.1.1"].packs[0].digest
    readable = line(f"/packs/{digest[:2]}/{digest}?who={SECRETS[2]}")
    found = count(sold, press, readable, readable.replace(SECRETS[0], SECRETS[1]), f"{SECRETS[0]} nonsense", readable)
    told = msgspec.json.encode(found).decode()
    assert found.unreadable == 1
    assert not [secret for secret in SECRETS if secret in told]
