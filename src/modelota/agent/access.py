"""Who may do what on the agent's socket, by the peer's credentials (design: processes on the device).

*See* is for root, the agent's own user, and members of the configured group: those who can open the socket. *Decide*
and *remove* are for root, the agent's user, and, when the settings say so, members of the group.
"""

from __future__ import annotations

import grp
import os
import pwd

from modelota.agent.config import Access
from modelota.errors import AskPerson
from modelota.runtime.messages import PeerCredentials
from modelota.spec.api_owner import Right


def group_id(access: Access) -> int | None:
    """Number of the configured group; None when this system has none of that name."""
    try:
        return grp.getgrnam(access.group).gr_gid
    except KeyError:
        return None


def authority_of(peer: PeerCredentials | None) -> str:
    """How the journal names who asked."""
    return f"uid:{peer.uid}" if peer is not None else "unknown"


def require_right(peer: PeerCredentials | None, access: Access, right: Right, action: str) -> None:
    """Check that the peer may see, decide, or remove.

    Raises:
        AskPerson: `not-authorised`.
    """
    if peer is None or right not in rights_of(peer, access):
        raise AskPerson("not-authorised", action=action, uid=None if peer is None else peer.uid)


def rights_of(peer: PeerCredentials, access: Access) -> frozenset[Right]:
    """What the peer may do now."""
    if peer.uid in {0, os.getuid()}:
        return frozenset({"see", "decide", "remove"})
    group = group_id(access)
    if group is None or group not in _groups(peer):
        return frozenset()
    granted: dict[Right, bool] = {
        "see": True,
        "decide": access.group_may_decide,
        "remove": access.group_may_remove,
    }
    return frozenset(right for right, may in granted.items() if may)


def _groups(peer: PeerCredentials) -> set[int]:
    own = {peer.gid, *peer.groups}
    try:
        user = pwd.getpwuid(peer.uid)
    except KeyError:
        return own
    return {*own, *os.getgrouplist(user.pw_name, user.pw_gid)}
