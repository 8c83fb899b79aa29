"""Links and sessions: who gets in, as whom, and for how long."""

from __future__ import annotations

import os

import pytest
from tests.agent.page.conftest import DAEMON, PORT, ROOT, Home

from modelota.agent import access
from modelota.agent.page.views.sign_in import own_path
from modelota.agent.page_sessions import LINK_S, SESSION_UNUSED_S

GROUP = 4242
COOKIE = f"modelota-session-{PORT}"


async def test_a_link_signs_in_and_leads_on(home: Home) -> None:
    """The cookie is for this page alone; the way on is a page of ours, so that a strict cookie is sent along it."""
    browser = home.browser()
    answer = await browser.sign_in(home.link(path="/offers/ab?x=1&y=2"))
    assert answer.status == 200
    (cookie,) = answer.cookies
    assert cookie.startswith(f"{COOKIE}=")
    assert {"httponly", "samesite=strict", "path=/"} <= {part.strip().lower() for part in cookie.split(";")}
    assert '<meta http-equiv="refresh" content="0;url=/offers/ab?x=1&amp;y=2">' in answer.body
    assert (await browser.get("/about")).status == 200


async def test_a_link_works_once(home: Home) -> None:
    """Whoever comes second with the same link is told how to get a new one, and gets no session."""
    token = home.link()
    assert (await home.browser().sign_in(token)).status == 200
    thief = home.browser()
    answer = await thief.sign_in(token)
    assert (answer.status, answer.code) == (403, "page-link-used")
    assert "modelota device page" in answer.body
    assert "No model is installed" not in answer.body, "how the device is concerns only those who may see"
    assert not thief.cookies
    assert (await thief.get("/about")).status == 401


async def test_a_link_expires(home: Home) -> None:
    """It works until its time is over, and then not any more."""
    early, late = home.link(), home.link()
    home.clock.advance(seconds=LINK_S - 1)
    assert (await home.browser().sign_in(early)).status == 200
    home.clock.advance(seconds=1)
    assert (await home.browser().sign_in(late)).code == "page-link-used"


@pytest.mark.parametrize("token", ["", "x", "../x", "%2e%2e", "a" * 5000, "ü" * 40, "\x00"])
async def test_what_is_no_link_opens_nothing(home: Home, token: str) -> None:
    """Guessed and hostile tokens are refused like used ones."""
    browser = home.browser()
    assert (await browser.sign_in(token)).status in {403, 404}
    assert not browser.cookies


async def test_another_user_can_not_open_a_users_link(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that was seen on a command line is of no use to others; its own user can still open it."""
    monkeypatch.setattr(access, "group_id", lambda _: DAEMON.gid)
    token = home.link(DAEMON)
    thief = home.browser(uid=65534)
    assert (await thief.sign_in(token)).code == "page-link-used"
    assert not thief.cookies
    assert (await home.browser(uid=DAEMON.uid).sign_in(token)).status == 200


@pytest.mark.parametrize("uid", [0, None])
async def test_root_and_the_unknown_may_open_a_users_link(home: Home, uid: int | None) -> None:
    """Root may do anything anyway; where the kernel does not tell who it is, the link alone has to do."""
    assert (await home.browser(uid).sign_in(home.link(DAEMON))).status == 200


async def test_a_browser_of_another_user_may_open_roots_link(home: Home) -> None:
    """A browser seldom runs as root; its session is bound to its user, and acts for root."""
    browser = await home.signed_in(ROOT, uid=1000)
    answer = await browser.get("/about")
    assert answer.status == 200
    assert "uid:0" in answer.body


async def test_a_stolen_cookie_is_of_no_use_to_another_user(home: Home) -> None:
    """Browsers send cookies to every port of a host, so another user's server may have got hold of one."""
    browser = await home.signed_in(uid=1000)
    thief = home.browser(uid=1001)
    thief.cookies = dict(browser.cookies)
    answer = await thief.get("/about")
    assert (answer.status, answer.code) == (401, "page-session-ended")
    assert (await thief.send("POST", "/leave", form={"csrf": (await browser.get("/about")).csrf})).status == 401
    assert (await browser.get("/about")).status == 200


async def test_who_has_hung_up_is_nobody(home: Home) -> None:
    """A socket that was closed belongs to root in the kernel's table: such a request does nothing."""
    browser = await home.signed_in(uid=1000)
    token = home.link(DAEMON)
    home.hung_up = True
    assert (await browser.get("/about")).code == "page-request-refused"
    assert (await home.browser().sign_in(token)).code == "page-request-refused"
    home.hung_up = False
    assert (await home.browser().sign_in(token)).status == 200


async def test_without_a_session_there_is_nothing(home: Home) -> None:
    """Every view of a local user without a session says the same; none asks the agent anything."""
    browser = home.browser(uid=1000)
    for path in ("/", "/about", "/history", "/model", "/events", "/offers/abc", "/removal"):
        answer = await browser.get(path)
        assert answer.status in {401, 404}, path
        assert "uid:" not in answer.body
        assert str(home.core.layout.root) not in answer.body
    for path in ("/leave", "/language", "/rollback", "/update/cancel", "/offers/abc/answer"):
        assert (await browser.send("POST", path, form={"csrf": ""})).status == 401, path


@pytest.mark.parametrize("session", ["x", "0" * 64, "é", "a/b", "..", "a b", "f" * 4000])
async def test_a_made_up_cookie_is_no_session(home: Home, session: str) -> None:
    """Whatever it looks like."""
    browser = home.browser()
    assert (await browser.get("/about", cookie=f"{COOKIE}={session}")).code == "page-session-ended"


async def test_a_session_ends_after_a_time_without_use(home: Home) -> None:
    """Use begins its time anew."""
    browser = await home.signed_in()
    for _ in range(3):
        home.clock.advance(seconds=SESSION_UNUSED_S - 1)
        assert (await browser.get("/about")).status == 200
    home.clock.advance(seconds=SESSION_UNUSED_S)
    assert (await browser.get("/about")).status == 401


async def test_leaving_ends_the_session(home: Home) -> None:
    """The cookie that somebody kept does nothing any more, and the browser is told to forget it."""
    browser = await home.signed_in()
    kept = dict(browser.cookies)
    token = (await browser.get("/about")).csrf
    answer = await browser.send("POST", "/leave", form={"csrf": token})
    assert answer.status == 200
    assert any(cookie.startswith(f"{COOKIE}=") and "Max-Age=0" in cookie for cookie in answer.cookies)
    browser.cookies = kept
    assert (await browser.get("/about")).status == 401


async def test_rights_follow_the_group(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member of the group may decide; from the moment they are none, their session may not even look."""
    groups = [GROUP]
    monkeypatch.setattr(access, "group_id", lambda _: GROUP)
    monkeypatch.setattr(os, "getgrouplist", lambda _name, _gid: groups)
    browser = await home.signed_in(DAEMON, uid=DAEMON.uid)
    answer = await browser.get("/about")
    assert f"uid:{DAEMON.uid}" in answer.body
    assert "uninstall models" in answer.body
    groups.clear()
    lost = await browser.get("/about")
    assert (lost.status, lost.code) == (403, "not-authorised")
    refused = await browser.send("POST", "/update/cancel", form={"csrf": answer.csrf})
    assert (refused.status, refused.code) == (403, "not-authorised")
    groups.append(GROUP)
    assert (await browser.get("/about")).status == 200


async def test_what_the_session_does_is_its_owners(home: Home) -> None:
    """The journal names who asked for the link, not the user whose process talks to the agent."""
    browser = await home.signed_in(ROOT)
    token = (await browser.get("/about")).csrf
    await browser.send("POST", "/update/cancel", form={"csrf": token})
    view = home.core.page.look(browser.cookies[COOKIE], 0)
    assert view.authority == "uid:0"
    assert view.rights == ("see", "decide", "remove")


async def test_the_language_is_a_choice_that_stays(home: Home) -> None:
    """The browser's first wish, then what its user chose; the way back leads only to this page."""
    browser = await home.signed_in()
    assert '<html lang="zh-CN">' in (await browser.get("/about", accept_language="zh-CN,en;q=0.5")).body
    answer = await browser.get("/about", accept_language="en")
    assert '<html lang="en">' in answer.body
    for back, goes in (
        ("/history?model=a", "/history?model=a"),
        ("//evil.example/", "/"),
        ("https://evil.example", "/"),
    ):
        form = {"csrf": answer.csrf, "language": "zh-CN", "back": back}
        moved = await browser.send("POST", "/language", form=form)
        assert (moved.status, moved.headers["location"]) == (303, goes)
    assert '<html lang="zh-CN">' in (await browser.get("/about", accept_language="en")).body
    wrong = await browser.send("POST", "/language", form={"csrf": answer.csrf, "language": "xx"})
    assert wrong.code == "page-request-refused"


async def test_a_link_may_bring_a_language(home: Home) -> None:
    """Whoever asked for it in Chinese reads Chinese, whatever the browser says."""
    browser = home.browser()
    await browser.sign_in(home.link(language="zh-CN"))
    assert '<html lang="zh-CN">' in (await browser.get("/about", accept_language="en")).body


@pytest.mark.parametrize(
    "path", ["//evil", "/\\evil", "https://evil", "evil", "", "/a\r\nset-cookie: x", "javascript:1"]
)
def test_a_way_on_never_leads_elsewhere(path: str) -> None:
    """Not to another host, scheme or header."""
    assert own_path(path) == "/"
