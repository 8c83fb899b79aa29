"""The end of a model's service: a signed date, shown on devices, from which what was released is kept two more years.

Clauses 6.2-b and 7.3.1. A date that has passed is history: it can't be moved back to let something be deleted sooner.
"""

from __future__ import annotations

import msgspec

from modelota.clock import Clock, from_iso, iso
from modelota.delivery import paths
from modelota.errors import AskPerson
from modelota.repository.commit import Change, Signing, commit, unlock_for
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import Published, load_published
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import Catalog
from modelota.spec.document import canonical


def end_of_service(
    workspace: Workspace, model: str | None, ends_at: str | None, *, clock: Clock, passphrases: Passphrases
) -> Catalog:
    """Announce when the service of `model` ends, or that it goes on; returns the catalog as it is now.

    Args:
        workspace: the publisher's.
        model: which; None is the workspace's only one.
        ends_at: RFC 3339, not in the past; None: the service goes on.
        clock: the time, also for expiry.
        passphrases: open the releases key, and the keys of snapshot and timestamp.

    Raises:
        AskPerson: `argument-invalid`: an unknown model, no time, or one in the past; `key-missing`,
            `passphrase-missing`, `key-unlock-failed`.
        RefuseContent: the repository is damaged or not one.
        TryLater: `publish-conflict`; the store's errors.
    """
    model = workspace.require_model(model)
    if ends_at is not None:
        ends_at = _future(ends_at, clock)
    signing = Signing(KeyRing(workspace.key_directories, passphrases), workspace.config.expiry_days, clock)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    unlock_for(published, [paths.releases_role(model)], signing)
    catalog, snapshot = publish_end(published, model, ends_at, signing)
    workspace.note_seen(snapshot)
    return catalog


def publish_end(published: Published, model: str, ends_at: str | None, signing: Signing) -> tuple[Catalog, int]:
    """Publish the catalog of `model` with this end of service, whatever time it is; catalog and snapshot version.

    Raises:
        As `end_of_service`.
    """
    role = paths.releases_role(model)
    catalog = msgspec.structs.replace(published.catalog(model), end_of_service=ends_at)
    change = Change()
    change.add_document(role, published.role(role), paths.catalog_target(model), canonical(catalog))
    return catalog, commit(published, change, signing)


def _future(text: str, clock: Clock) -> str:
    try:
        moment = from_iso(text)
    except (ValueError, OverflowError) as error:
        raise AskPerson("argument-invalid", argument=text[:40], detail="not-a-time") from error
    if moment < clock.now():
        raise AskPerson("argument-invalid", argument=text[:40], detail="in-the-past")
    return iso(moment)
