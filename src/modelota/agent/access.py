"""Who may do what on the agent's socket, by the peer's credentials (design: processes on the device).

*See* is for whoever can open the socket: root, the agent's own user, members of the configured group. *Decide* and
*remove* are for root, the agent's user, and, when the settings say so, members of the group.
"""

from __future__ import annotations

import grp
import os
import pwd
from typing import Literal

from modelota.agent.config import Access
from modelota.errors import AskPerson
from modelota.runtime.messages import PeerCredentials


def group_id(access: Access) -> int | None:
    """Number of the configured group; None when this system has none of that name."""
    try:
        return grp.getgrnam(access.group).gr_gid
    except KeyError:
        return None


def authority_of(peer: PeerCredentials | None) -> str:
    """How the journal names who asked."""
    return f"uid:{peer.uid}" if peer is not None else "unknown"


def require_right(
    peer: PeerCredentials | None, access: Access, right: Literal["decide", "remove"], action: str
) -> None:
    """Check that the peer may decide, or remove.

    Raises:
        AskPerson: `not-authorised`.
    """
    if peer is None:
        raise AskPerson("not-authorised", action=action, uid=None)
    if peer.uid in {0, os.getuid()}:
        return
    group = group_id(access)
    granted = access.group_may_decide if right == "decide" else access.group_may_remove
    if granted and group is not None and group in _groups(peer):
        return
    raise AskPerson("not-authorised", action=action, uid=peer.uid)


def _groups(peer: PeerCredentials) -> set[int]:
    try:
        user = pwd.getpwuid(peer.uid)
    except KeyError:
        return {peer.gid}
    return {peer.gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
