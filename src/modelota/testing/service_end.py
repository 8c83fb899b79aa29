"""A publisher whose model's service ends when a test says so, in the past too."""

from __future__ import annotations

from pathlib import Path

from modelota.clock import SystemClock
from modelota.repository.commit import Signing
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import load_published
from modelota.repository.service_end import publish_end
from modelota.repository.workspace import Workspace


def end_service(place: Path, model: str, at: str) -> None:
    """Publish the catalog of `model` once more, with the time at which its service ends.

    Args:
        place: of a workspace whose keys are not encrypted (`repo init --dev`).
        model: which.
        at: when, RFC 3339; `repo end-of-service` refuses one in the past.

    Raises:
        AskPerson, RefuseContent, TryLater: as `repository.service_end.end_of_service`.
    """
    workspace = Workspace.open(place)
    ring = KeyRing(workspace.key_directories, Passphrases(environ={}))
    signing = Signing(ring, workspace.config.expiry_days, SystemClock())
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    workspace.note_seen(publish_end(published, model, at, signing)[1])
