"""A publisher that ends the service of a model: signed as any catalog is; there is no command for it yet."""

from __future__ import annotations

from pathlib import Path

import msgspec

from modelota.clock import SystemClock
from modelota.delivery import paths
from modelota.repository.commit import Change, Signing, commit
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import load_published
from modelota.repository.workspace import Workspace
from modelota.spec.document import canonical


def end_service(place: Path, model: str, at: str) -> None:
    """Publish the catalog of `model` once more, with the time at which its service ends.

    Args:
        place: of a workspace whose keys are not encrypted (`repo init --dev`).
        model: which.
        at: when, RFC 3339.

    Raises:
        AskPerson, RefuseContent, TryLater: as `repository.control.control`.
    """
    workspace = Workspace.open(place)
    ring = KeyRing(workspace.key_directories, Passphrases(environ={}))
    signing = Signing(ring, workspace.config.expiry_days, SystemClock())
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    role, target = paths.releases_role(model), paths.catalog_target(model)
    ended = msgspec.structs.replace(published.catalog(model), end_of_service=at)
    change = Change()
    change.add_document(role, published.role(role), target, canonical(ended))
    workspace.note_seen(commit(published, change, signing))
