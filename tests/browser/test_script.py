"""What the page's script adds, and that nothing is lost by it: focus, open details, a quiet hidden tab, one answer."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from playwright.sync_api import Page, Route, expect

from modelota.i18n.flow import progress_parts
from modelota.spec import api
from tests.browser.home import MODEL, Home
from tests.browser.visitor import LANGUAGES, UPDATE_MS, Language, Visitor
from tests.scenarios.conftest import heavy_model

Visit = Callable[..., Visitor]

# The visibility of a tab is the browser's; here the page is told of it.
HIDE = """is => {
  Object.defineProperty(document, 'hidden', {configurable: true, get: () => is});
  document.dispatchEvent(new Event('visibilitychange'));
}"""


def hide(page: Page, *, hidden: bool) -> None:
    """Tell the page that nobody sees it, or that somebody does."""
    page.evaluate(HIDE, hidden)


def nothing_offered(home: Home) -> None:
    """Whatever another test left on offer is declined."""
    offer = home.rest()["offer"]
    if offer is not None:
        home.device.show(offer["digest"])
        home.device.decide(offer["digest"], "decline")


def streams_of(page: Page) -> list[str]:
    """The event streams that a page opens from now on."""
    opened: list[str] = []
    page.on("request", lambda request: opened.append(request.url) if "/events" in request.url else None)
    return opened


def test_focus_and_open_details_outlast_a_new_phase(home: Home, visit: Visit) -> None:
    """Whoever is at a button when the update moves on is still there, and what they opened is open."""
    _, digest = home.offered(model=heavy_model(2, home.next_seed()))
    visitor = visit(home.device)
    with home.held("fetch"):
        page = visitor.open(f"/offers/{digest}")
        visitor.press(f"/offers/{digest}/answer", "answer", "accept")
        page.wait_for_url("**/update**")
        expect(page.locator(".badge, h2").first).to_be_visible()
        page.locator("#stop > summary").click()
        page.locator("#pause").focus()
        home.device.ask("POST", "/v1/pause", {})
        expect(page.locator("#resume")).to_be_visible()
        expect(page.locator("#stop")).to_have_attribute("open", "")
        page.locator("#resume").focus()
        home.device.ask("POST", "/v1/resume", {})
        expect(page.locator("#pause")).to_be_visible()
        assert page.evaluate("document.activeElement.id") == "main", "its button is gone: the content has the focus"
        page.locator("#stop > summary").focus()
        home.device.ask("POST", "/v1/pause", {})
        expect(page.locator("#resume")).to_be_visible()
        assert page.evaluate("document.activeElement.parentElement.id") == "stop"
        visitor.press("/update/cancel")
        page.wait_for_url("**/result**")


def test_a_hidden_tab_gives_its_connection_back(home: Home, visit: Visit) -> None:
    """After a minute; seen again, it goes on after the last event, and shows what happened meanwhile."""
    home.offered(model=heavy_model(1, home.next_seed()))
    visitor = visit(home.device)
    page = visitor.page
    page.clock.install()
    opened = streams_of(page)
    with page.expect_response("**/events"):
        visitor.open("/")
    nothing_offered(home)
    expect(page.locator("[data-digest]")).to_have_count(0)
    closed: list[str] = []
    page.on("requestfailed", lambda request: closed.append(request.url) if "/events" in request.url else None)
    hide(page, hidden=True)
    page.clock.fast_forward(30_000)
    assert closed == []
    page.clock.fast_forward(31_000)
    home.until(lambda: page.evaluate("1") == 1 and len(closed) == 1)
    version, _ = home.offered(model=heavy_model(1, home.next_seed()))
    expect(page.locator("[data-digest]")).to_have_count(0)
    hide(page, hidden=False)
    expect(page.locator("[data-digest] h2")).to_contain_text(version)
    assert len(opened) == 2
    assert "?after=" in opened[1]


def test_a_tab_that_is_hidden_for_a_moment_keeps_its_connection(home: Home, visit: Visit) -> None:
    """Switching between two apps costs nothing."""
    home.installed()
    visitor = visit(home.device)
    page = visitor.page
    page.clock.install()
    opened = streams_of(page)
    with page.expect_response("**/events"):
        visitor.open("/")
    hide(page, hidden=True)
    page.clock.fast_forward(50_000)
    hide(page, hidden=False)
    page.clock.fast_forward(120_000)
    assert page.evaluate("1") == 1
    assert len(opened) == 1


def test_a_button_that_is_pressed_twice_answers_once(home: Home, visit: Visit) -> None:
    """A double tap sends one answer."""
    _, digest = home.offered(model=heavy_model(1, home.next_seed()))
    visitor = visit(home.device)
    page = visitor.open("/")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "POST" else None)
    visitor.button(f"/offers/{digest}/answer", "answer", "later").dblclick()
    page.wait_for_url("**/?said=later")
    assert len(sent) == 1


def test_news_does_not_come_between_an_answer_and_what_it_leads_to(home: Home, visit: Visit) -> None:
    """The answer itself is news on the event stream; the view that it comes from is not loaded anew meanwhile."""
    _, digest = home.offered(model=heavy_model(1, home.next_seed()))
    visitor = visit(home.device)
    page = visitor.open(f"/offers/{digest}")

    def answer_slowly(route: Route) -> None:
        answer = route.fetch(max_redirects=0)
        home.until(lambda: home.device.status()["operation"] is not None)
        page.wait_for_timeout(1000)  # that nothing happens meanwhile can only be waited out
        route.fulfill(response=answer)

    page.route("**/answer", answer_slowly)
    loads: list[str] = []
    page.on("request", lambda request: loads.append(request.url) if request.is_navigation_request() else None)
    with home.held("fetch"):
        visitor.press(f"/offers/{digest}/answer", "answer", "accept")
        page.wait_for_url("**/update**")
        assert [each.rpartition("/")[2].partition("?")[0] for each in loads] == ["answer", "update"]
        home.device.ask("POST", "/v1/cancel", {})


def test_the_way_through_an_update_without_scripts(home: Home, visit: Visit) -> None:
    """Every form works, and the progress fetches itself anew until it leads on to the result."""
    version, digest = home.offered(model=None)
    visitor = visit(home.device, scripts=False)
    page = visitor.open("/")
    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    page.wait_for_url("**/result**", timeout=UPDATE_MS)
    expect(page.locator("h1")).to_contain_text(version)


def test_the_menu_closes_on_escape(home: Home, visit: Visit) -> None:
    """And its button has the focus again."""
    home.installed()
    page = visit(home.device).open("/")
    page.locator("#more-places > summary").click()
    expect(page.locator("#more-places")).to_have_attribute("open", "")
    page.keyboard.press("Escape")
    expect(page.locator("#more-places")).not_to_have_attribute("open", "")
    assert page.evaluate("document.activeElement.tagName") == "SUMMARY"


def test_a_connection_that_is_lost_is_said_and_found_again(home: Home, visit: Visit) -> None:
    """The view stays readable, says that it is not up to date, and goes on by itself."""
    home.installed()
    visitor = visit(home.device)
    page = visitor.open("/")
    expect(page.locator("#offline")).to_be_hidden()
    with visitor.forgiving():
        page.route("**/events*", lambda route: route.abort())
        page.reload()
        expect(page.locator("#offline")).to_be_visible()
        page.unroute_all(behavior="wait")
        expect(page.locator("#offline")).to_be_hidden()


FIGURES = [
    (0, None, None, None),
    (999, 1000, 999.0, 0.4),
    (1_000, 9_949, 9_949.0, 12.0),
    (995_000, 9_960_000, 994_999.0, 44.0),
    (12_400_000, 38_000_000, 3_200_000.0, 46.0),
    (999_600, 999_600_000, 99.6, 90.0),
    (4_000_000_000, 4_000_000_001, 1.0, 3_599.0),
    (1, 3, 0.0, 7_500.0),
    (2, 3, None, 172_800.0),
    (3, 3, 1e12, 400_000.0),
]


@pytest.mark.parametrize("language", LANGUAGES)
def test_figures_read_the_same_from_the_script_as_from_the_view(home: Home, visit: Visit, language: Language) -> None:
    """Sizes, rates and times of progress events, in both languages, beside what Python makes of them."""
    _, digest = home.offered(model=heavy_model(1, home.next_seed()))
    visitor = visit(home.device, language=language)
    page, told = visitor.page, api.Progress(step="fetching", done=0)

    def tell(route: Route) -> None:
        event = {"id": 1, "at": "", "kind": "progress", "model": MODEL, "data": msgspec.to_builtins(told)}
        body = f"event: progress\ndata: {msgspec.json.encode(event).decode()}\n\n"
        route.fulfill(status=200, headers={"content-type": "text/event-stream"}, body=f"retry: 60000\n{body}")

    with home.held("fetch"):
        visitor.open(f"/offers/{digest}")
        visitor.press(f"/offers/{digest}/answer", "answer", "accept")
        page.wait_for_url("**/update**")
        home.device.wait("waiting")
        expect(page.locator("[data-progress]")).to_have_attribute("data-step", "waiting")
        page.route("**/events*", tell)
        for done, total, rate, left in FIGURES:
            told = api.Progress(step="waiting", done=done, total=total, rate_per_s=rate, left_s=left)
            page.reload()
            for part, text in progress_parts(told, language)._asdict().items():
                expect(page.locator(f"[data-part={part}]")).to_have_text(text)
        page.unroute_all(behavior="wait")
        home.device.ask("POST", "/v1/cancel", {})
