"""The on-call brake: pause, withdraw, slow down. It can only take away; nothing is admitted here."""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from modelota.clock import Clock
from modelota.delivery import paths
from modelota.errors import AskPerson, RefuseContent
from modelota.repository.commit import Change, Signing, commit, unlock_for
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import load_published
from modelota.repository.workspace import Workspace
from modelota.spec.catalog import Control, Withdrawal
from modelota.spec.document import canonical
from modelota.spec.version import Version

_REASON = re.compile(r"[a-z][a-z0-9-]{0,63}", re.ASCII)


def control(
    workspace: Workspace,
    model: str | None = None,
    *,
    clock: Clock,
    passphrases: Passphrases,
    paused: bool | None = None,
    withdraw: Mapping[str, str] | None = None,
    revoke: Mapping[str, str] | None = None,
    reinstate: tuple[str, ...] = (),
    slow_percent: int | None = None,
) -> Control:
    """Change the control of `model`, and return it as it is now.

    Args:
        workspace: the publisher's.
        model: which; None is the workspace's only one.
        clock: for expiry.
        passphrases: open the control key, and the keys of snapshot and timestamp.
        paused: True stops all offers, False allows them again, None leaves that as it is.
        withdraw: versions that must not be offered any more, each with a reason code (lower-case words with hyphens).
        revoke: the same of versions with a flaw: their users are told its reason code, and nobody goes back to one
            without naming it.
        reinstate: versions whose withdrawal is taken back.
        slow_percent: share of devices that are offered a release, 0 … 100; None leaves it as it is.

    Raises:
        AskPerson: `argument-invalid` (a malformed reason, a share out of range, an unknown model), `version-invalid`,
            `key-missing`, `passphrase-missing`, `key-unlock-failed`.
        RefuseContent: `release-not-admitted`; the repository is damaged or not one.
        TryLater: `publish-conflict`; the store's errors.
    """
    model = workspace.require_model(model)
    new = [Withdrawal(version=version, reason=reason) for version, reason in (withdraw or {}).items()]
    new += [Withdrawal(version=version, reason=reason, revoked=True) for version, reason in (revoke or {}).items()]
    for entry in new:
        if not _REASON.fullmatch(entry.reason):
            raise AskPerson("argument-invalid", argument="reason", detail=entry.reason[:80])
    if slow_percent is not None and not 0 <= slow_percent <= 100:
        raise AskPerson("argument-invalid", argument="slow_percent", detail=str(slow_percent))
    signing = Signing(KeyRing(workspace.key_directories, passphrases), workspace.config.expiry_days, clock)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    catalog, before = published.catalog(model), published.control(model)
    for version in (*(entry.version for entry in new), *reinstate):
        Version.parse(version)
        if catalog.release(version) is None:
            raise RefuseContent("release-not-admitted", model=model, version=version)
    role = paths.control_role(model)
    unlock_for(published, [role], signing)
    known = {entry.version: entry for entry in (*before.withdrawn, *new)}
    entries = [entry for entry in known.values() if entry.version not in reinstate]
    after = msgspec.structs.replace(
        before,
        paused=before.paused if paused is None else paused,
        withdrawn=tuple(sorted(entries, key=lambda entry: Version.parse(entry.version))),
        slow_percent=before.slow_percent if slow_percent is None else slow_percent,
    )
    change = Change()
    change.add_document(role, published.role(role), paths.control_target(model), canonical(after))
    workspace.note_seen(commit(published, change, signing))
    return after
