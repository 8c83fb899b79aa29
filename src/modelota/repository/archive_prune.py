"""What of the archive may go, and its removal: plan, show, apply (clause 6.2-b, design decision 11).

A model's released versions are kept until two years after the end of its service. Until then no call of this module,
and nothing else in this room, deletes anything of the archive.
"""

from __future__ import annotations

from typing import ClassVar

from modelota.clock import Clock, iso
from modelota.delivery.objects import ObjectStore
from modelota.errors import AskPerson
from modelota.repository.archive import ENTRY, kept_until, read_entry
from modelota.repository.published import Published
from modelota.spec.archive import ArchiveEntry
from modelota.spec.document import Document, digest_of
from modelota.spec.version import Version


class PrunePlan(Document, kw_only=True, frozen=True):
    """What would be removed from the archive; its digest is what a confirmation names.

    Attributes:
        model: whose releases.
        kept_until: which day passed, RFC 3339.
        versions: that go, oldest first.
        objects: paths that go, in the order of going: an entry's `entry.json` first, so that half of it is none.
        size_bytes: what is freed.
    """

    NAME: ClassVar[str] = "prune-plan"

    model: str
    kept_until: str
    versions: tuple[str, ...]
    objects: tuple[str, ...]
    size_bytes: int

    @property
    def identity(self) -> str:
        """SHA-256 of the canonical plan."""
        return digest_of(self)


def plan_prune(archive: ObjectStore, published: Published, model: str, *, clock: Clock) -> PrunePlan:
    """What of `model` may go now: everything, or nothing.

    Raises:
        AskPerson: `kept-by-law`: its service has no end, or ended less than two years ago.
        RefuseContent, TryLater: the store's errors; `document-invalid`: an entry can't be read, so nobody knows what
            it needs.
    """
    catalog = published.catalog(model)
    until = kept_until(catalog)
    if until is None or until > clock.now():
        newest = catalog.releases[-1].version if catalog.releases else None
        raise AskPerson("kept-by-law", model=model, version=newest, until=None if until is None else iso(until))
    entries = _entries(archive)
    going = {path: entry for path, entry in entries.items() if entry.model == model}
    still_needed = {kept.path for path, entry in entries.items() if path not in going for kept in entry.packs}
    first: list[str] = sorted(going)
    later: dict[str, int] = {}
    for entry in going.values():
        later |= {kept.path: kept.size_bytes for kept in entry.documents}
        later |= {kept.path: kept.size_bytes for kept in entry.packs if kept.path not in still_needed}
    return PrunePlan(
        model=model,
        kept_until=iso(until),
        versions=tuple(sorted({entry.version for entry in going.values()}, key=Version.parse)),
        objects=(*first, *sorted(later)),
        size_bytes=sum(later.values()),
    )


def apply_prune(archive: ObjectStore, published: Published, model: str, digest: str, *, clock: Clock) -> PrunePlan:
    """Remove what the plan with this digest lists; interrupted, it is asked for and confirmed again.

    Raises:
        AskPerson: `plan-changed`: something else would go now; as `plan_prune`.
    """
    plan = plan_prune(archive, published, model, clock=clock)
    if plan.identity != digest:
        raise AskPerson("plan-changed", digest=digest[:64], now=plan.identity)
    for path in plan.objects:
        archive.delete(path)
    return plan


def _entries(archive: ObjectStore) -> dict[str, ArchiveEntry]:
    found = {}
    for info in archive.list(""):
        if info.path.rpartition("/")[2] == ENTRY:
            found[info.path] = read_entry(archive, info.path)
    return found
