"""One-time links to the owner's page, and the sessions that come of them; both are kept in memory only.

Whoever opens a link acts with the rights of the user who asked for it. Tokens and session ids are 32 random bytes; the
agent keeps their digests. A session is bound to the user whose browser opened it, as far as the kernel tells.
"""

from __future__ import annotations

import hashlib
import pwd
import secrets
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from modelota.clock import Clock
from modelota.errors import AskPerson
from modelota.runtime.messages import PeerCredentials

LINK_S: Final = 120
LINKS_PER_USER: Final = 16
SESSION_UNUSED_S: Final = 12 * 3600.0
SESSIONS_PER_USER: Final = 8
_RANDOM_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link that was not opened yet: for whom, until when, and where it leads."""

    owner: PeerCredentials
    expires: float
    path: str
    language: Literal["zh-CN", "en"] | None


class PageSession(msgspec.Struct, kw_only=True):
    """Somebody who came in through a link.

    Attributes:
        owner: who asked for the link: whose rights count.
        opened_by: the user whose browser opened it; None where the kernel does not tell.
        used: when it was last used, in the clock's monotonic seconds.
        path: where its link led.
        language: that its link asked for.
    """

    owner: PeerCredentials
    opened_by: int | None
    used: float
    path: str
    language: Literal["zh-CN", "en"] | None


class PageSessions:
    """All links and sessions of one agent.

    Args:
        clock: their time, of which only the monotonic one counts: nobody's session ends because a clock was set.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._links: dict[bytes, Link] = {}
        self._sessions: dict[bytes, PageSession] = {}

    @property
    def alive(self) -> bool:
        """Whether there is a link or a session that somebody could still use."""
        self._forget()
        return bool(self._links or self._sessions)

    def invite(self, owner: PeerCredentials, path: str, language: Literal["zh-CN", "en"] | None) -> str:
        """The token of a new link for `owner`; of more than `LINKS_PER_USER` unopened ones the oldest goes."""
        self._forget()
        _drop_oldest(self._links, owner.uid, LINKS_PER_USER)
        token = secrets.token_urlsafe(_RANDOM_BYTES)
        expires = self._clock.monotonic() + LINK_S
        self._links[_digest(token)] = Link(owner=owner, expires=expires, path=path, language=language)
        return token

    def redeem(self, token: str, opened_by: int | None) -> tuple[str, PageSession]:
        """Turn a link into a session; a second time it is unknown.

        A link of root may be opened by any user: a browser seldom runs as root, and its user got the link from root.
        Any other one only by its own user, or root; another user's try leaves it as it is.

        Args:
            token: of the link.
            opened_by: whose process opened it.

        Returns:
            the session's id and the session.

        Raises:
            AskPerson: `page-link-used`: used, expired, unknown, or of another user.
        """
        self._forget()
        link = self._links.get(_digest(token))
        if link is None or (opened_by not in {None, 0, link.owner.uid} and link.owner.uid != 0):
            raise AskPerson("page-link-used")
        del self._links[_digest(token)]
        _drop_oldest(self._sessions, link.owner.uid, SESSIONS_PER_USER)
        session = secrets.token_hex(_RANDOM_BYTES)
        made = PageSession(
            owner=link.owner,
            opened_by=opened_by,
            used=self._clock.monotonic(),
            path=link.path,
            language=link.language,
        )
        self._sessions[_digest(session)] = made
        return session, made

    def find(self, session: str, opened_by: int | None, *, use: bool = True) -> PageSession:
        """The session with this id.

        Args:
            session: its id.
            opened_by: whose process uses it; None where the kernel does not tell.
            use: it counts as a use, from which the session's time begins anew.

        Raises:
            AskPerson: `page-session-ended`: ended, unknown, or of another user's browser.
        """
        self._forget()
        key = _digest(session)
        found = self._sessions.get(key)
        if found is None or (opened_by is not None and found.opened_by not in {None, opened_by}):
            raise AskPerson("page-session-ended")
        if use:
            found.used = self._clock.monotonic()
            self._sessions[key] = self._sessions.pop(key)  # the last used one is the last to be dropped
        return found

    def person(self, session: str, *, use: bool = True) -> PeerCredentials:
        """Who acts in a session: its owner as the user database knows them now, so that lost groups count at once.

        Raises:
            AskPerson: `page-session-ended`.
        """
        owner = self.find(session, None, use=use).owner
        try:
            user = pwd.getpwuid(owner.uid)
        except KeyError:  # of a user that no database knows, what the kernel said when they asked is all there is
            return owner
        return PeerCredentials(pid=0, uid=owner.uid, gid=user.pw_gid)

    def end(self, session: str) -> None:
        """End a session; one that is not there has ended already."""
        self._sessions.pop(_digest(session), None)

    def _forget(self) -> None:
        now = self._clock.monotonic()
        for token in [token for token, link in self._links.items() if link.expires <= now]:
            del self._links[token]
        for key in [key for key, each in self._sessions.items() if each.used + SESSION_UNUSED_S <= now]:
            del self._sessions[key]


def _drop_oldest(kept: dict[bytes, Link] | dict[bytes, PageSession], uid: int, most: int) -> None:
    """Make room for one more of `uid`."""
    rows: Mapping[bytes, Link | PageSession] = kept
    own = [key for key, each in rows.items() if each.owner.uid == uid]
    for key in own[: max(0, len(own) - most + 1)]:
        del kept[key]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
