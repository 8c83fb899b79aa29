"""An update through the page, in both languages: told, asked, later, reminded, accepted, done; or gone wrong."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import expect

from modelota.clock import iso
from tests.browser.home import Home
from tests.browser.visitor import LANGUAGES, UPDATE_MS, Language, Visitor
from tests.scenarios.conftest import heavy_model

Visit = Callable[..., Visitor]

both = pytest.mark.parametrize("language", LANGUAGES)
DONE = {"en": "is in use", "zh-CN": "正在使用"}
NOTHING_TO_DO = {"en": "nothing", "zh-CN": "无需"}


@both
def test_later_reminded_accepted_done(home: Home, visit: Visit, language: Language) -> None:
    """The whole way of an update; the page follows it by itself, without being loaded anew by its reader."""
    version, digest = home.offered()
    visitor = visit(home.device, language=language)
    page = visitor.open()
    expect(page.locator("main")).to_contain_text(version)
    visitor.look("home with an offer")
    assert offer_was_shown(home, digest)

    visitor.go(f"/offers/{digest}")
    visitor.look("offer")
    visitor.press(f"/offers/{digest}/answer", "answer", "later")
    expect(page.locator("main")).to_contain_text(version)
    visitor.look("home after later")
    visitor.go("/answers")
    expect(page.locator('form[action$="/revoke"]')).to_have_count(1)
    visitor.look("answers")

    # They said it again on another screen, and when they want to hear of it: in a moment.
    visitor.go("/")
    soon = iso(datetime.now(tz=UTC) + timedelta(seconds=2))
    wish = {"offer_digest": digest, "answer": "later", "remind_at": soon, "channel": "host"}
    home.device.ask("POST", "/v1/decisions", wish)
    wait_for_notice(home, "reminder")
    visitor.go("/")
    visitor.look("home with a reminder")

    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    page.wait_for_url(lambda url: "/result" in url or "/update" in url)
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(page.locator("main")).to_contain_text(version)
    expect(page.locator("main")).to_contain_text(DONE[language])
    visitor.look("result")
    page.locator('main a[href^="/report"]').first.click()
    visitor.look("deployment report")
    assert home.device.status()["active_version"] == version


@both
def test_what_fails_is_told_in_three_sentences(home: Home, visit: Visit, language: Language) -> None:
    """A release whose self-tests fail: what happened, how the device is now, what to do; and the code."""
    before = home.installed()
    _, digest = home.offered(good=False)
    visitor = visit(home.device, language=language)
    page = visitor.open(f"/offers/{digest}")
    visitor.press(f"/offers/{digest}/answer", "answer", "accept")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    main = page.locator("main")
    expect(main).to_contain_text("self-test-failed")
    expect(main).to_contain_text(before)
    expect(main).to_contain_text(NOTHING_TO_DO[language], ignore_case=True)
    visitor.look("failure")
    assert home.device.status()["active_version"] == before


def test_pause_resume_cancel(home: Home, visit: Visit) -> None:
    """Each has its button while it makes sense, and the page says how it stands."""
    _, digest = home.offered(model=heavy_model(24, seed=home.next_seed()))
    home.device.show(digest)
    with home.held("fetch"):
        home.device.decide(digest)
        visitor = visit(home.device)
        page = visitor.open("/update")
        visitor.look("waiting")
        visitor.press("/update/pause")
        expect(visitor.button("/update/resume")).to_be_visible()
        visitor.look("paused")
        visitor.press("/update/resume")
        expect(visitor.button("/update/pause")).to_be_visible()
        visitor.press("/update/cancel")
        page.wait_for_url(lambda url: "/result" in url)
        visitor.look("cancelled")
    assert home.device.settle()["last_outcome"]["result"] == "cancelled"


def test_progress_is_live(home: Home, visit: Visit) -> None:
    """What an update waits for, and that it goes on, shows without the page being loaded again."""
    version, digest = home.offered()
    home.device.show(digest)
    visitor = visit(home.device)
    with home.held("activate"):
        home.device.decide(digest)
        page = visitor.open("/update")
        page.evaluate("window.stillTheSame = true")
        expect(page.locator("main")).to_contain_text("the test", timeout=UPDATE_MS)  # the inhibitor's holder
        assert page.evaluate("window.stillTheSame")
    page.wait_for_url(lambda url: "/result" in url, timeout=UPDATE_MS)
    expect(page.locator("main")).to_contain_text(version)


def test_an_offer_that_changed_leaves_an_open_page(home: Home, visit: Visit) -> None:
    """A tab that shows an offer learns that another one took its place, and its buttons answer nothing any more."""
    _, old = home.offered()
    visitor = visit(home.device)
    page = visitor.open(f"/offers/{old}")
    expect(visitor.button(f"/offers/{old}/answer", "answer", "accept")).to_be_enabled()
    overview = visitor.tab("/")
    _, new = home.offered()
    expect(page.locator(f'main a[href="/offers/{new}"]')).to_be_visible()
    expect(visitor.button(f"/offers/{old}/answer", "answer", "accept")).to_have_count(0)
    expect(overview.locator(f'form[action^="/offers/{old}"] button[value="accept"]')).to_be_disabled()
    visitor.look("the offer has changed")


def test_an_old_page_accepts_nothing_new(home: Home, visit: Visit) -> None:
    """Without scripts the old buttons are still there: pressing one is refused, and shows what is on offer now."""
    _, old = home.offered()
    visitor = visit(home.device, scripts=False)
    page = visitor.open(f"/offers/{old}")
    new_version, new = home.offered()
    before = len(home.device.ask("GET", "/v1/decisions")["decisions"])
    with visitor.forgiving():
        visitor.press(f"/offers/{old}/answer", "answer", "accept")
        expect(page.locator("main")).to_contain_text("offer-changed")
        expect(page.locator("main")).to_contain_text(new_version)
        expect(visitor.button(f"/offers/{new}/answer", "answer", "accept")).to_be_visible()
    assert home.device.status()["phase"] == "offered"
    assert len(home.device.ask("GET", "/v1/decisions")["decisions"]) == before


def test_skip_this_version(home: Home, visit: Visit) -> None:
    """It is not offered again, the answer is among the answers, and taking it back brings the offer back."""
    version, digest = home.offered()
    visitor = visit(home.device)
    page = visitor.open(f"/offers/{digest}")
    visitor.press(f"/offers/{digest}/answer", "answer", "skip")
    visitor.go("/answers")
    expect(page.locator("main")).to_contain_text(version)
    assert home.device.status()["offer"] is None
    visitor.press("/answers/")
    page.wait_for_load_state()
    visitor.go("/")
    expect(visitor.button(f"/offers/{digest}/answer", "answer", "accept")).to_be_visible()


def test_an_accepted_update_is_taken_back(home: Home, visit: Visit) -> None:
    """Until it is activated: the update ends, and its offer stands again."""
    _, digest = home.offered()
    visitor = visit(home.device)
    page = visitor.open(f"/offers/{digest}")
    with home.held("fetch"):
        visitor.press(f"/offers/{digest}/answer", "answer", "accept")
        page.wait_for_load_state()
        visitor.go("/answers")
        visitor.press("/answers/")
        page.wait_for_load_state()
        home.device.wait("offered")
    visitor.go("/")
    expect(visitor.button(f"/offers/{digest}/answer", "answer", "accept")).to_be_visible()


def test_this_evening_when_it_charges(home: Home, visit: Visit) -> None:
    """The answer waits for its time and for the charger, and says so."""
    _, digest = home.offered()
    visitor = visit(home.device)
    page = visitor.open(f"/offers/{digest}")
    visitor.press(f"/offers/{digest}/answer", "answer", "tonight")
    page.wait_for_url("**/update*")
    visitor.look("waiting for the evening")
    (answer,) = home.device.ask("GET", "/v1/decisions?limit=1")["decisions"]
    assert answer["conditions"] == ["charging"]
    assert answer["channel"] == "page"


def offer_was_shown(home: Home, digest: str) -> bool:
    """Whether the journal says that the page showed this very offer."""
    return any(
        entry["event"] == "offer-shown" and entry["facts"].get("channel") == "page" and digest in str(entry["facts"])
        for entry in home.device.log()
    )


def wait_for_notice(home: Home, kind: str) -> None:
    """Wait until a notice of this kind is due."""
    home.until(lambda: any(one["kind"] == kind for one in home.device.ask("GET", "/v1/notices")["notices"]))
