"""What another web page, another name, or a found link can do to the owner's page: nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.elsewhere import Elsewhere
from tests.browser.home import Home
from tests.browser.visitor import FOREIGN_NAME, Visitor

Visit = Callable[..., Visitor]
# A page of another site, and one on another port of the very host, to which browsers do send the session's cookie.
NAMES = [FOREIGN_NAME, "127.0.0.1", "localhost"]


@pytest.fixture
def elsewhere() -> Iterator[Elsewhere]:
    """Somebody else's web server."""
    with Elsewhere() as server:
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_no_other_page_can_frame_it(home: Home, visit: Visit, elsewhere: Elsewhere, name: str) -> None:
    """Clickjacking: the frame stays empty, whether the visitor is signed in or not."""
    visitor = visit(home.device)
    visitor.open()
    page = visitor.page
    with visitor.forgiving():
        page.goto(elsewhere.serve(f'<iframe title="x" src="{visitor.origin}/"></iframe>', host=name))
        page.wait_for_load_state("networkidle")
        (frame,) = page.frames[1:]
        assert frame.locator("form").count() == 0
        assert frame.url.startswith("chrome-error:"), frame.url


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("path", ["/offers/{digest}/answer", "/rollback", "/leave"])
def test_no_other_page_can_post(home: Home, visit: Visit, elsewhere: Elsewhere, name: str, path: str) -> None:
    """Cross-site request forgery: the form is refused, and nothing was decided."""
    _, digest = home.offered()
    home.device.show(digest)
    visitor = visit(home.device)
    visitor.open()
    before = home.device.log()
    form = (
        f'<form method="post" action="{visitor.origin}{path.format(digest=digest)}">'
        '<input name="answer" value="accept"><input name="csrf" value="0"></form>'
        "<script>document.forms[0].submit()</script>"
    )
    with visitor.forgiving(), visitor.page.expect_response(lambda answer: answer.request.method == "POST") as caught:
        visitor.page.goto(elsewhere.serve(form, host=name))
    assert caught.value.status == 403
    assert home.device.log() == before
    assert home.device.status()["phase"] == "offered"
    visitor.go("/")
    expect(visitor.page.locator("#leave")).to_have_count(1)  # and still signed in


@pytest.mark.parametrize("name", NAMES)
def test_no_other_page_can_read(home: Home, visit: Visit, elsewhere: Elsewhere, name: str) -> None:
    """Neither with fetch, nor as a script, nor through a window that it opened."""
    visitor = visit(home.device)
    visitor.open()
    with visitor.forgiving():
        visitor.page.goto(elsewhere.serve("", host=name))
        for mode in ("cors", "no-cors"):
            read = visitor.page.evaluate(
                "([url, mode]) => fetch(url, {credentials: 'include', mode}).then((a) => a.text(), () => 'refused')",
                [f"{visitor.origin}/", mode],
            )
            assert read in {"refused", ""}
        with visitor.page.expect_popup() as caught:
            visitor.page.evaluate("(url) => { window.opened = window.open(url) }", f"{visitor.origin}/")
        caught.value.wait_for_load_state()
        told = visitor.page.evaluate(
            "() => { try { return window.opened.document.body.textContent } catch (error) { return 'refused' } }"
        )
        assert told in {"refused", ""}


def test_another_name_for_this_machine_leads_nowhere(home: Home, visit: Visit) -> None:
    """DNS rebinding: the page serves only its own names, also to who is signed in."""
    visitor = visit(home.device)
    visitor.open()
    port = urlsplit(visitor.origin).port
    with visitor.forgiving():
        answer = visitor.page.goto(f"http://{FOREIGN_NAME}:{port}/", wait_until="networkidle")
    assert answer is not None
    assert answer.status in {403, 421}
    assert visitor.page.locator("form").count() == 0


def test_a_link_opens_once(home: Home, visit: Visit) -> None:
    """Who finds the link in a history or a log gets three sentences and a code, and no session."""
    owner, finder = visit(home.device), visit(home.device, language="zh-CN")
    link = owner.link()
    owner.enter(link)
    expect(owner.page.locator("#leave")).to_have_count(1)
    with finder.forgiving():
        answer = finder.page.goto(link)
        assert answer is not None
        assert answer.status in {403, 410}
        finder.look("the second time")
        assert finder.page.locator("#leave").count() == 0
        expect(finder.page.locator("main")).to_contain_text("page-link-used")
        again = finder.page.goto("{0.scheme}://{0.netloc}/".format(urlsplit(link)))
        assert again is not None
        assert again.status in {401, 403}
        finder.look("nobody")


def test_a_session_ends_with_its_person(home: Home, visit: Visit) -> None:
    """After signing out the cookie is worth nothing."""
    visitor = visit(home.device)
    visitor.open()
    kept = visitor.cookies()
    visitor.page.locator("#leave").click()
    visitor.page.wait_for_load_state()
    with visitor.forgiving():
        visitor.set_cookies(kept)
        answer = visitor.page.goto(f"{visitor.origin}/")
        assert answer is not None
        assert answer.status in {401, 403}


def test_a_link_from_another_page_opens(home: Home, visit: Visit, elsewhere: Elsewhere) -> None:
    """A maker's own screen may lead to the page: its user comes in through the link."""
    visitor = visit(home.device)
    link = visitor.link()
    visitor.page.goto(elsewhere.serve(f'<a href="{link}">open</a>', host=FOREIGN_NAME))
    visitor.page.get_by_role("link").click()
    expect(visitor.page.locator("#leave")).to_have_count(1)


def test_the_headers_say_it(home: Home, visit: Visit) -> None:
    """Every answer forbids frames, foreign scripts, sniffing and keeping; the cookie is for this site only."""
    visitor = visit(home.device)
    visitor.open()
    answer = visitor.page.goto(f"{visitor.origin}/")
    assert answer is not None
    headers = answer.headers
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    (cookie,) = [cookie for cookie in visitor.cookies() if cookie["httpOnly"]]
    assert cookie["sameSite"] == "Strict"
