"""Links and sessions as the supervisor keeps them: how many, how long, whose."""

from __future__ import annotations

import pytest

from modelota.agent.page_sessions import (
    LINK_S,
    LINKS_PER_USER,
    SESSION_UNUSED_S,
    SESSIONS_PER_USER,
    PageSessions,
)
from modelota.errors import AskPerson
from modelota.runtime.messages import PeerCredentials
from modelota.testing.clock import ManualClock

ANNA = PeerCredentials(pid=1, uid=4_000_001, gid=4_000_001)  # no user database has these
BERT = PeerCredentials(pid=2, uid=4_000_002, gid=4_000_002, groups=(7,))


def come_in(sessions: PageSessions, owner: PeerCredentials) -> str:
    return sessions.redeem(sessions.invite(owner, "/", None), owner.uid)[0]


def is_in(sessions: PageSessions, session: str, uid: int | None) -> bool:
    try:
        sessions.find(session, uid, use=False)
    except AskPerson as error:
        assert error.code == "page-session-ended"
        return False
    return True


def test_a_user_has_only_so_many_sessions(clock: ManualClock) -> None:
    """A further one ends the one that was not used for longest, and no other user's."""
    sessions = PageSessions(clock)
    others = come_in(sessions, BERT)
    own = [come_in(sessions, ANNA) for _ in range(SESSIONS_PER_USER)]
    sessions.find(own[0], ANNA.uid)
    own.append(come_in(sessions, ANNA))
    assert [is_in(sessions, each, ANNA.uid) for each in own] == [True, False, *[True] * (SESSIONS_PER_USER - 1)]
    assert is_in(sessions, others, BERT.uid)


def test_a_user_has_only_so_many_links(clock: ManualClock) -> None:
    """So that nobody fills the agent's memory with them; the oldest goes, of nobody else."""
    sessions = PageSessions(clock)
    others = sessions.invite(BERT, "/", None)
    links = [sessions.invite(ANNA, "/", None) for _ in range(LINKS_PER_USER + 1)]
    with pytest.raises(AskPerson):
        sessions.redeem(links[0], ANNA.uid)
    for link in (links[1], links[-1]):
        sessions.redeem(link, ANNA.uid)
    sessions.redeem(others, BERT.uid)


def test_what_is_over_is_forgotten(clock: ManualClock) -> None:
    """Nothing is kept of links and sessions whose time is over; then nothing needs to listen."""
    sessions = PageSessions(clock)
    assert not sessions.alive
    sessions.invite(ANNA, "/", None)
    session = come_in(sessions, ANNA)
    clock.advance(seconds=LINK_S)
    assert sessions.alive
    clock.advance(seconds=SESSION_UNUSED_S - LINK_S - 1)
    assert is_in(sessions, session, ANNA.uid)
    clock.advance(seconds=1)
    assert not sessions.alive
    assert not sessions._links
    assert not sessions._sessions


def test_setting_the_clock_changes_nothing(clock: ManualClock) -> None:
    """A link and a session live as long when somebody sets the clock, forwards or back."""
    sessions = PageSessions(clock)
    link, session = sessions.invite(ANNA, "/", None), come_in(sessions, ANNA)
    clock.set(clock.now().replace(year=2040))
    assert is_in(sessions, session, ANNA.uid)
    clock.set(clock.now().replace(year=2000))
    sessions.redeem(link, ANNA.uid)
    clock.advance(seconds=SESSION_UNUSED_S)
    assert not is_in(sessions, session, ANNA.uid)


def test_neither_token_nor_session_is_kept(clock: ManualClock) -> None:
    """Only digests: what lies in the agent's memory opens nothing."""
    sessions = PageSessions(clock)
    link, session = sessions.invite(ANNA, "/", None), come_in(sessions, ANNA)
    kept = repr((sessions._links, sessions._sessions))
    assert link not in kept
    assert session not in kept
    assert len({sessions.invite(ANNA, "/", None) for _ in range(8)}) == 8


def test_a_session_is_of_who_opened_it(clock: ManualClock) -> None:
    """Not even root's process goes on with a user's session: it can ask for a link of its own."""
    sessions = PageSessions(clock)
    session = come_in(sessions, ANNA)
    assert is_in(sessions, session, ANNA.uid)
    assert is_in(sessions, session, None)
    assert not is_in(sessions, session, BERT.uid)
    assert not is_in(sessions, session, 0)


def test_a_user_whom_no_database_knows_keeps_what_the_kernel_said(clock: ManualClock) -> None:
    """In a container there may be no other source of their groups."""
    sessions = PageSessions(clock)
    assert sessions.person(come_in(sessions, BERT)) == BERT


def test_a_known_users_groups_are_looked_up_anew(clock: ManualClock) -> None:
    """The groups that their process had when it asked for the link do not count."""
    sessions = PageSessions(clock)
    root = PeerCredentials(pid=1, uid=0, gid=4_000_000, groups=(4_000_000,))
    person = sessions.person(come_in(sessions, root))
    assert (person.uid, person.groups) == (0, ())
    assert person.gid != 4_000_000
