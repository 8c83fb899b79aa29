"""A publisher who tries to prune the archive at a time of a test's choosing."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from modelota.delivery.stores import open_store
from modelota.errors import ModelotaError
from modelota.repository.archive import kept_until
from modelota.repository.archive_prune import apply_prune, plan_prune
from modelota.repository.published import Published, load_published
from modelota.repository.workspace import Workspace
from modelota.testing.clock import ManualClock


def archive_kept_until(place: Path, model: str) -> datetime | None:
    """Until when the archive of `model` has to keep everything, by its signed end of service.

    Raises:
        AskPerson, RefuseContent, TryLater: as `load_published`.
    """
    return kept_until(_published(place).catalog(model))


def prune_at(place: Path, model: str, archive: Path, moment: datetime) -> str | None:
    """Prune the archive directory `archive` as `modelota repo archive prune` would at `moment`.

    Args:
        place: of the workspace.
        model: whose releases.
        archive: a copy of its archive: what is deleted there is gone.
        moment: what the clock says.

    Returns:
        the code it was refused with, or None when it was done.
    """
    store, clock = open_store(archive.as_uri(), writable=True), ManualClock(moment)
    published = _published(place)
    try:
        plan = plan_prune(store, published, model, clock=clock)
        apply_prune(store, published, model, plan.identity, clock=clock)
    except ModelotaError as error:
        return error.code
    return None


def _published(place: Path) -> Published:
    workspace = Workspace.open(place)
    return load_published(workspace.store(), workspace.trusted_root())
