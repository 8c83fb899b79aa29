"""Keeping a repository fresh: new timestamp and snapshot, and other roles before they expire."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from modelota.clock import Clock
from modelota.errors import AskPerson, ModelotaError
from modelota.repository.commit import Change, Signing, commit, unlock_for
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import load_published
from modelota.repository.rotate import publish_root, successor
from modelota.repository.workspace import Workspace

DEFAULT_WITHIN: Final = timedelta(days=30)
_ABSENT_KEY: Final = frozenset({"key-missing", "passphrase-missing"})


@dataclass(frozen=True)
class RefreshReport:
    """What was signed anew.

    Attributes:
        signed: roles.
        left: roles that expire soon and whose keys are not at hand, each with the reason.
        snapshot: version of the new snapshot.
    """

    signed: tuple[str, ...]
    left: tuple[tuple[str, ModelotaError], ...]
    snapshot: int


def refresh(
    workspace: Workspace, *, clock: Clock, passphrases: Passphrases, within: timedelta = DEFAULT_WITHIN
) -> RefreshReport:
    """Sign timestamp and snapshot anew, and every other role that expires `within` and whose keys are at hand.

    Raises:
        AskPerson: `key-missing`, `passphrase-missing` (for snapshot or timestamp), `key-unlock-failed`.
        RefuseContent: the repository is damaged or not one.
        TryLater: `publish-conflict`; the store's errors.
    """
    signing = Signing(KeyRing(workspace.key_directories, passphrases), workspace.config.expiry_days, clock)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    unlock_for(published, [], signing)
    change, left = Change(), []
    due = clock.now() + within
    for role in ("targets", *published.delegated):
        if published.role(role).expires > due:
            continue
        try:
            signing.signers(published.root.signed, published.targets.signed, role)
        except AskPerson as error:
            if error.code not in _ABSENT_KEY:
                raise
            left.append((role, error))
        else:
            change.roles[role] = published.role(role)
    signed = [*change.roles, "snapshot", "timestamp"]
    if published.root.signed.expires <= due:
        try:
            root = successor(published.root.signed)
            workspace.trust_root(publish_root(published, root, signing))
            signed.append("root")
        except AskPerson as error:
            if error.code not in _ABSENT_KEY:
                raise
            left.append(("root", error))
    snapshot = commit(published, change, signing)
    workspace.note_seen(snapshot)
    return RefreshReport(tuple(signed), tuple(left), snapshot)
