"""What was downloaded, counted from a web server's logs: by release, variant and mode, and by day.

A pack is known by its name, and the manifests say which packages it is part of. Where those are several (chunks that a
later release or another variant shares; an incremental package, which is made of a full one's frames), a log cannot
tell which one a device wanted: the pack counts for the release that published it first, for all its variants and modes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from modelota.repository.manifest_cache import DIRECTORY, ManifestCache
from modelota.repository.published import Published, load_published
from modelota.repository.server_log import Entry, read_log
from modelota.repository.workspace import Workspace
from modelota.spec.manifest import Manifest

# The repository may lie anywhere on the server, so only the end of a path counts.
_PACK: Final = re.compile(r".*/packs/[0-9a-f]{2}/([0-9a-f]{64})", re.ASCII)
_MANIFEST: Final = re.compile(
    r".*/targets/([a-z0-9._-]+/[a-z0-9._-]+)/([0-9.]{5,32})/[0-9a-f]{64}\.manifest\.json\.zst", re.ASCII
)
_SENT: Final = (200, 206)


class Tally(msgspec.Struct):
    """Requests that were answered with content, and how many bytes were sent."""

    requests: int = 0
    size_bytes: int = 0

    def add(self, entry: Entry) -> None:
        """Count one more."""
        self.requests += 1
        self.size_bytes += entry.size_bytes


class PackGroup(msgspec.Struct, kw_only=True):
    """Packs that are part of the same packages.

    Attributes:
        version: of the release that published them first.
        variants: of that release that use them.
        modes: of packages that use them: full, incremental, differential.
        packs: how many there are.
        packs_bytes: size of all of them; `sent.size_bytes` by this is about how many whole copies were sent.
        sent: what was downloaded.
    """

    version: str
    variants: tuple[str, ...]
    modes: tuple[str, ...]
    packs: int = 0
    packs_bytes: int = 0
    sent: Tally = msgspec.field(default_factory=Tally)


class DownloadStatistics(msgspec.Struct, kw_only=True):
    """What the logs say about one model.

    Attributes:
        groups: in the order of the releases.
        manifests: by version: how often a device read the release's manifest.
        days: of all of these downloads, by day of the server.
        lines: in the logs.
        unreadable: lines that are not of the format.
        failed: requests for packs and manifests of this model that were answered with an error.
        others: all other requests: metadata, other models, packs that no admitted release uses, other pages.
    """

    model: str
    groups: tuple[PackGroup, ...]
    manifests: dict[str, Tally]
    days: dict[str, Tally]
    lines: int = 0
    unreadable: int = 0
    failed: int = 0
    others: int = 0


def count_downloads(workspace: Workspace, logs: Iterable[Path], model: str | None = None) -> DownloadStatistics:
    """Count the downloads of a model in the access logs of the servers that carry the repository.

    Args:
        workspace: whose repository it is.
        logs: common or combined format, plain or gzip, in any order.
        model: which; may be left out if the workspace has only one.

    Raises:
        AskPerson: `log-unreadable`, `argument-invalid`.
        RefuseContent, TryLater: as `load_published`.
    """
    model = workspace.require_model(model)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    published.cache = ManifestCache(workspace.path / DIRECTORY)
    by_pack, found = _known(published, model)
    for log in logs:
        for entry in read_log(log):
            found.lines += 1
            if entry is None:
                found.unreadable += 1
            else:
                _count(found, by_pack, entry)
    found.days = dict(sorted(found.days.items()))
    return found


def _known(published: Published, model: str) -> tuple[dict[str, PackGroup], DownloadStatistics]:
    """The groups of all packs by their digests; one manifest in memory at a time."""
    by_pack: dict[str, PackGroup] = {}
    groups: dict[tuple[str, tuple[str, ...], tuple[str, ...]], PackGroup] = {}
    releases = published.catalog(model).releases
    for release in releases:
        manifest = published.manifest(model, release)
        for index, (variants, modes) in enumerate(_uses(manifest)):
            pack = manifest.packs[index]
            if pack.digest in by_pack:
                continue
            key = (manifest.version, tuple(sorted(variants)), tuple(sorted(modes)))
            fresh = PackGroup(version=key[0], variants=key[1], modes=key[2])
            group = by_pack[pack.digest] = groups.setdefault(key, fresh)
            group.packs += 1
            group.packs_bytes += pack.size_bytes
    manifests = {release.version: Tally() for release in releases}
    return by_pack, DownloadStatistics(model=model, groups=tuple(groups.values()), manifests=manifests, days={})


def _uses(manifest: Manifest) -> list[tuple[set[str], set[str]]]:
    """For each pack of the table: the variants and the modes that use it."""
    uses: list[tuple[set[str], set[str]]] = [(set(), set()) for _ in manifest.packs]
    for variant in manifest.variants:
        for package in variant.packages:
            for index in {route.pack for route in package.routes}:
                uses[index][0].add(variant.name)
                uses[index][1].add(package.mode)
    return uses


def _count(found: DownloadStatistics, by_pack: dict[str, PackGroup], entry: Entry) -> None:
    tally = _tally(found, by_pack, entry.path or "")
    if tally is None:
        found.others += 1
    elif entry.status >= 400:
        found.failed += 1
    elif entry.status in _SENT:
        tally.add(entry)
        found.days.setdefault(entry.day, Tally()).add(entry)
    else:
        found.others += 1


def _tally(found: DownloadStatistics, by_pack: dict[str, PackGroup], path: str) -> Tally | None:
    pack = _PACK.fullmatch(path)
    if pack is not None:
        group = by_pack.get(pack[1])
        return None if group is None else group.sent
    manifest = _MANIFEST.fullmatch(path)
    if manifest is None or manifest[1] != found.model:
        return None
    return found.manifests.get(manifest[2])
