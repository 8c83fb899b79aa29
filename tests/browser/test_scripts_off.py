"""Without scripts, everything works: forms post, views lead on, and what is under way is looked at again by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.home import Home
from tests.browser.visitor import LANGUAGES, UPDATE_MS, VIEWS, Language, Visitor

Visit = Callable[..., Visitor]


@pytest.mark.parametrize("language", LANGUAGES)
def test_offer_later_accepted_done(home: Home, visit: Visit, language: Language) -> None:
    """An update from its offer to its end; the browser looks again by itself until it is over."""
    version, digest = home.offered()
    visitor = visit(home.device, language=language, scripts=False)
    page = visitor.open()
    visitor.press(f"/offers/{digest}/answer", "answer", "later")
    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(page.locator("main")).to_contain_text(version)
    assert home.device.settle()["active_version"] == version


def test_pause_resume_cancel(home: Home, visit: Visit) -> None:
    """Each button is a form of its own."""
    _, digest = home.offered()
    home.device.show(digest)
    visitor = visit(home.device, scripts=False)
    with home.held("fetch"):
        home.device.decide(digest)
        page = visitor.open("/update")
        visitor.press("/update/pause")
        expect(visitor.button("/update/resume")).to_be_visible()
        visitor.press("/update/resume")
        expect(visitor.button("/update/pause")).to_be_visible()
        visitor.press("/update/cancel")
        page.wait_for_url(lambda url: "/result" in url)
    assert home.device.settle()["last_outcome"]["result"] == "cancelled"


def test_what_fails_is_told(home: Home, visit: Visit) -> None:
    """Three sentences and a code."""
    _, digest = home.offered(good=False)
    visitor = visit(home.device, scripts=False)
    page = visitor.open(f"/offers/{digest}")
    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(page.locator("main")).to_contain_text("self-test-failed")


def test_skip_and_take_back(home: Home, visit: Visit) -> None:
    """The answer is taken back in the list of answers."""
    _, digest = home.offered()
    visitor = visit(home.device, scripts=False)
    visitor.open(f"/offers/{digest}")
    visitor.press(f"/offers/{digest}/answer", "answer", "skip")
    visitor.go("/answers")
    visitor.press("/answers/")
    visitor.go("/")
    expect(visitor.button(f"/offers/{digest}/answer", "answer", "accept")).to_be_visible()


def test_back_uninstall_and_clean(home: Home, visit: Visit) -> None:
    """Going back, then uninstalling with its proof, then a look for leftovers, whose end shows by itself."""
    _, previous = home.two_versions()
    visitor = visit(home.device, scripts=False)
    page = visitor.open("/versions")
    main = page.locator("main")
    page.locator(f'main a[href*="version={previous}"]').click()
    visitor.press("/rollback")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(main).to_contain_text(previous)

    visitor.go("/remove")
    main.locator('form[action="/remove/plan"] button').click()
    page.locator('input[name="sure"]').check()
    main.locator('form[action="/remove"] button').click()
    expect(main.locator('a[href$="/proof.json"]')).to_be_visible(timeout=UPDATE_MS)
    assert home.device.status()["active_version"] is None

    visitor.go("/cleaning")
    main.locator('form[action="/cleaning/scan"] button').first.click()
    expect(main.locator('form[action="/cleaning/stop"], .banner.success').first).to_be_visible(timeout=UPDATE_MS)


def test_every_view_opens(home: Home, visit: Visit) -> None:
    """With something to read, and in the reader's language."""
    home.installed()
    visitor = visit(home.device, language="zh-CN", scripts=False)
    visitor.open()
    for path in VIEWS:
        visitor.go(path)
        visitor.look()
        expect(visitor.page.locator("h1")).to_have_count(1)


def test_the_other_places_can_be_reached(home: Home, visit: Visit) -> None:
    """The menu is a part of the document that opens by itself."""
    visitor = visit(home.device, scripts=False)
    page = visitor.open()
    page.locator("#more-places summary").click()
    page.locator('#more-places a[href="/about"]').click()
    expect(page.locator('nav a[href="/about"]')).to_have_attribute("aria-current", "page")
