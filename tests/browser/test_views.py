"""Every view, in both languages, on a phone and on a desk, by day and by night, and with the keyboard alone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from tests.browser.home import Home
from tests.browser.visitor import DESK, PHONE, VIEWS, Language, Visitor

Visit = Callable[..., Visitor]


# Each language in each size and by day and by night; `make pictures` has all eight for people to look at.
DRESSES = [("zh-CN", PHONE, False), ("en", PHONE, True), ("zh-CN", DESK, True), ("en", DESK, False)]


@pytest.mark.parametrize(("language", "size", "dark"), DRESSES)
def test_every_view(home: Home, visit: Visit, language: Language, size: tuple[int, int], *, dark: bool) -> None:
    """Nothing grave for axe, nothing wider than the window, no small target, nothing left untranslated."""
    home.two_versions()
    _, digest = home.offered()
    visitor = visit(home.device, language=language, size=size, dark=dark)
    visitor.open()
    for path in (*VIEWS, f"/offers/{digest}", "/result", "/report"):
        visitor.go(path)
        visitor.look()


def test_every_view_with_the_keyboard(home: Home, visit: Visit) -> None:
    """Tab reaches everything that can be pressed, in the order of reading, and one sees where one is."""
    home.two_versions()
    _, digest = home.offered()
    visitor = visit(home.device)
    visitor.open()
    for path in (*VIEWS, f"/offers/{digest}", "/result"):
        visitor.go(path)
        assert visitor.walk(), path


def test_keys_press_what_has_the_focus(home: Home, visit: Visit) -> None:
    """Details open with the space bar, and an offer is answered with Enter."""
    _, digest = home.offered()
    visitor = visit(home.device)
    page = visitor.open()
    details = page.locator("main section[data-digest] details")
    details.locator("summary").focus()
    was_open = details.evaluate("(element) => element.open")
    page.keyboard.press("Space")
    assert details.evaluate("(element) => element.open") != was_open
    visitor.button(f"/offers/{digest}/answer", "answer", "later").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/?said=later")
    (answer,) = home.device.ask("GET", "/v1/decisions?limit=1")["decisions"]
    assert (answer["answer"], answer["channel"]) == ("later", "page")


def test_the_first_tab_skips_to_the_content(home: Home, visit: Visit) -> None:
    """Who reads with the keyboard need not pass the navigation on every view."""
    visitor = visit(home.device)
    page = visitor.open()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()


def test_no_link_is_dead(home: Home, visit: Visit) -> None:
    """Every link of every view leads to a view."""
    home.two_versions()
    _, digest = home.offered()
    visitor = visit(home.device)
    visitor.open()
    waiting, seen = ["/", *VIEWS, f"/offers/{digest}", "/result"], set[str]()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        answer = visitor.page.request.get(visitor.origin + path)
        assert answer.ok, f"{path}: {answer.status}"
        visitor.go(path)
        links = visitor.page.eval_on_selector_all(
            "a[href]", "(all) => all.map((a) => a.getAttribute('href')).filter((href) => !href.startsWith('#'))"
        )
        assert all(link.startswith("/") for link in links), links
        waiting += [link.partition("#")[0] for link in links if len(seen) < 80]


def test_the_language_can_be_chosen(home: Home, visit: Visit) -> None:
    """Whatever the browser asks for; and the reader stays where they are."""
    visitor = visit(home.device, language="en")
    page = visitor.open("/versions")
    page.locator('form[action="/language"] button[value="zh-CN"]').click()
    expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    assert page.url.startswith(f"{visitor.origin}/versions")
    visitor.language = "zh-CN"
    visitor.look()
