"""Changing the keys of a role: a new one in, an old one out.

A top-level role is named by the root. Devices that know the old root and devices that know the new one read the same
timestamp; so snapshot and timestamp are first signed by the old *and* the new keys, and only then the new root appears.
If too few old keys of the role are left to sign, the new root has to come first; until the timestamp follows, in the
same call, devices see a signature that does not fit, and try again later.

A delegated role is named by the targets role; both change in one commit.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from modelota.clock import Clock
from modelota.delivery import paths
from modelota.errors import AskPerson
from modelota.repository import roles
from modelota.repository.commit import Change, Signing, commit, unlock_for, upload
from modelota.repository.enrolment import reissue_enrolments
from modelota.repository.founding import make_role_key
from modelota.repository.keys import KeyRing
from modelota.repository.passphrases import Passphrases
from modelota.repository.published import Published, load_published
from modelota.repository.roles import Metadata, Root
from modelota.repository.workspace import Workspace


@dataclass(frozen=True)
class RotationReport:
    """What a rotation changed.

    Attributes:
        role: whose key.
        added: name of the new key.
        removed: name of the old key, or its key id if its file is not here. The file stays; destroy it when it is
            certain that no repository needs it any more.
        root_version: of the newest root.
        snapshot: version of the newest snapshot.
    """

    role: str
    added: str
    removed: str
    root_version: int
    snapshot: int


def rotate_key(
    workspace: Workspace, role: str, *, clock: Clock, passphrases: Passphrases, remove: str | None = None
) -> RotationReport:
    """Give `role` a new key and take one away; the threshold stays.

    Args:
        workspace: the publisher's.
        role: `root`, `targets`, `snapshot`, `timestamp`, `<model>-releases` or `<model>-control`.
        clock: for expiry.
        passphrases: open the old keys and seal the new one.
        remove: name or key id of the key that goes; None is the role's oldest.

    Raises:
        AskPerson: `argument-invalid` (no such role or key), `key-missing`, `passphrase-missing`, `key-unlock-failed`.
        RefuseContent: the repository is damaged or not one.
        TryLater: `publish-conflict`; the store's errors.
    """
    ring = KeyRing(workspace.key_directories, passphrases)
    signing = Signing(ring, workspace.config.expiry_days, clock)
    published = load_published(workspace.store(), workspace.trusted_root(), floor=workspace.seen().snapshot)
    top_level = role in roles.TOP_LEVEL
    if not top_level and role not in published.delegated:
        known = ", ".join((*roles.TOP_LEVEL, *published.delegated))
        raise AskPerson("argument-invalid", argument="role", detail=f"{role[:160]!r}; known: {known}")
    delegator = published.root.signed if top_level else published.targets.signed
    old = _find_key(ring, roles.keys_of(delegator, role)[0], remove)
    lost = _is_lost(published, role, signing)
    if lost and top_level:
        signing.signers(published.root.signed, published.targets.signed, "root")
    else:
        unlock_for(published, ["root"] if top_level else ["targets"], signing)
    fresh = make_role_key(workspace, ring, role, None if workspace.config.dev else passphrases)
    root_version = published.root.signed.version
    if top_level:
        root = successor(published.root.signed)
        root.revoke_key(old, role)
        root.add_key(fresh, role)
        snapshot = published.snapshot.signed.version
        if role != "root" and not lost:
            snapshot = _sign_again(published, root, role, signing)
        data = publish_root(published, root, signing)
        if lost:
            published.root = Metadata(root)
            snapshot = _sign_again(published, root, role, signing)
        workspace.trust_root(data)  # last: until then whoever takes over also accepts what the old keys signed
        reissue_enrolments(workspace)
        root_version = root.version
    else:
        targets = published.targets.signed
        targets.revoke_key(old, role)
        targets.add_key(fresh, role)
        change = Change(roles={"targets": targets, role: published.role(role)})
        snapshot = commit(published, change, signing)
    workspace.note_seen(snapshot)
    removed = ring.files[old].name if old in ring.files else old
    return RotationReport(role, ring.files[fresh.keyid].name, removed, root_version, snapshot)


def successor(root: Root) -> Root:
    """A copy of `root` with the next version number."""
    following = copy.deepcopy(root)
    following.version += 1
    return following


def publish_root(published: Published, root: Root, signing: Signing) -> bytes:
    """Sign `root` with the keys of its predecessor and its own, create it in the repository, and return its bytes.

    Raises:
        AskPerson: `key-missing`, `passphrase-missing`, `key-unlock-failed`.
        TryLater: `publish-conflict`; the store's errors.
    """
    targets = published.targets.signed
    signers = signing.signers(published.root.signed, targets, "root") + signing.signers(root, targets, "root")
    data = signing.sign(root, "root", signers)
    upload(published.store, paths.metadata_path("root", root.version), data, create_only=True)
    return data


def _is_lost(published: Published, role: str, signing: Signing) -> bool:
    """Whether `targets`, `snapshot` or `timestamp` cannot sign any more, so that only a new root helps."""
    if role not in {"targets", "snapshot", "timestamp"}:
        return False
    keyids, need = roles.keys_of(published.root.signed, role)
    return signing.ring.have(keyids) < need


def _sign_again(published: Published, root: Root, role: str, signing: Signing) -> int:
    """Commit the current state signed by the keys of `role` in the root that is published, and those in `root`."""
    targets = published.targets.signed
    change = Change(extra_signers={role: signing.signers(root, targets, role)})
    if role == "targets":
        change.roles["targets"] = targets
    return commit(published, change, signing)


def _find_key(ring: KeyRing, keyids: list[str], wanted: str | None) -> str:
    if wanted is None:
        return keyids[0]
    for keyid in keyids:
        if wanted == keyid or (keyid in ring.files and ring.files[keyid].name == wanted):
            return keyid
    raise AskPerson("argument-invalid", argument="key", detail=f"{wanted[:160]!r} is no key of the role")
