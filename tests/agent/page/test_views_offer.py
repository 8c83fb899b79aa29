"""The offer: everything it says, and what each button of it sends."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from tests.agent.page.markup import Markup, view_of
from tests.agent.page.situations import SITUATIONS, under_way
from tests.agent.page.stage import (
    CSRF,
    FakeClient,
    a_decision,
    a_model,
    a_view,
    an_offer,
    answers_of,
    stage,
)

from modelota.agent.page.views.offer import tonight
from modelota.errors import AskPerson
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.offer import render_offer
from modelota.spec import api


def _is_offer(path: str) -> bool:
    return path.startswith("/v1/offers/") and not path.endswith("/about")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_offer_has_a_view_of_its_own(situation: str, language: Language) -> None:
    """With everything that the offer says, whichever direction it has."""
    digests = [path.rpartition("/")[2] for _, path in SITUATIONS[situation] if _is_offer(path)]
    for digest in digests:
        view = view_of(SITUATIONS[situation], f"/offers/{digest}", language)
        assert view.faults() == []
        offered = SITUATIONS[situation]["GET", f"/v1/offers/{digest}"]
        assert isinstance(offered, api.OfferView)
        shown = re.sub(r"\s+", "", view.text)
        for line in render_offer(offered, language).splitlines()[2:]:
            value = re.split(r"\s{2,}", line.strip())[-1]
            assert re.sub(r"\s+", "", value) in shown, value


def test_the_card_says_everything_at_a_glance() -> None:
    """What, why, how much, how long, which permissions, as one reads it on a phone."""
    text = view_of(SITUATIONS["offered"], "/", "zh-CN").text
    for part in (
        "小助手 1.1.2 可更新",
        "修正单位换算",
        "下载 38 MB（完整包 4.0 GB）",
        "约 6 分钟",
        "期间可继续使用",
        "无新增权限",
    ):
        assert part in text
    for button in ("现在更新", "今晚充电时", "以后", "跳过此版本"):
        assert button in text


def test_an_urgent_offer_states_its_reason_first() -> None:
    """The reason stands before the headline, and before the button."""
    text = view_of(SITUATIONS["urgent"], "/").text
    assert text.index("closes a hole") < text.index("1.1.2 is available") < text.index("Update now")


def test_what_was_shown_is_put_on_record_once() -> None:
    """The very text, in the person's language, by way of the page; a view that is fetched anew adds nothing."""
    view = a_view(an_offer(notes={"en": "shown once", "zh-CN": "只展示一次"}), shown_at="2026-11-24T06:00:00Z")
    client = FakeClient(answers_of(a_model(phase="offered", offer=view)))
    for language in LANGUAGES:
        with stage(client, language=language) as browser:
            browser.get("/")
            browser.get("/")
            browser.get(f"/offers/{view.digest}")
        sent = client.sent("POST", "/v1/shown")
        assert sent.channel == "page"
        assert sent.language == language
        assert sent.offer_digest == view.digest
        assert sent.text == render_offer(view, language, title=view.title[language])
    assert len([path for _, path, _ in client.asked if path == "/v1/shown"]) == 2


def test_an_offer_that_does_not_stand_is_not_recorded_as_shown() -> None:
    """Looking at an old one shows that it is old, and has no buttons."""
    old, new = a_view(an_offer(to_version="1.1.2")), a_view(an_offer(to_version="1.1.3"))
    answers = answers_of(a_model(phase="offered", offer=new)) | {("GET", f"/v1/offers/{old.digest}"): old}
    client = FakeClient(answers)
    with stage(client) as browser:
        view = Markup(browser.get(f"/offers/{old.digest}").text)
    assert f"/offers/{new.digest}" in view.links()
    assert not any(action.endswith("/answer") for action, _ in view.forms)
    assert not any(path == "/v1/shown" for _, path, _ in client.asked)


@pytest.mark.parametrize(
    ("button", "answer", "conditions", "leads_to"),
    [
        ("accept", "accept", (), "/update?model=acme%2Fassistant"),
        ("tonight", "accept", ("charging",), "/update?model=acme%2Fassistant"),
        ("later", "later", (), "/?said=later"),
        ("skip", "skip", (), "/?said=skip"),
        ("decline", "decline", (), "/?said=decline"),
    ],
)
def test_each_button_answers_the_offer_that_it_stands_under(
    button: str, answer: str, conditions: tuple[str, ...], leads_to: str
) -> None:
    """The form names the digest; the answer goes to exactly that offer, by way of the page."""
    view = a_view()
    client = FakeClient(answers_of(a_model(phase="offered", offer=view)))
    with stage(client) as browser:
        fields = Markup(browser.get(f"/offers/{view.digest}").text).form(f"/offers/{view.digest}/answer")
        assert button in fields["answer"]
        answered = browser.post(
            f"/offers/{view.digest}/answer", data={"csrf": CSRF, "answer": button}, follow_redirects=False
        )
    assert answered.status_code == 303
    assert answered.headers["location"] == leads_to
    sent = client.sent("POST", "/v1/decisions")
    assert (sent.offer_digest, sent.answer, sent.conditions, sent.channel) == (view.digest, answer, conditions, "page")
    assert sent.although_long is False
    if button != "tonight":
        assert sent.not_before is None


def test_a_page_that_was_open_before_the_offer_changed_cannot_accept_the_new_one() -> None:
    """The old digest is what the form sends; the agent refuses it, and the new offer is shown to be answered."""
    old, new = a_view(an_offer(to_version="1.1.2")), a_view(an_offer(to_version="1.1.3"))
    answers = answers_of(a_model(phase="offered", offer=new))
    answers["POST", "/v1/decisions"] = AskPerson("offer-changed", digest=old.digest, now=new.digest)
    client = FakeClient(answers)
    with stage(client) as browser:
        answered = browser.post(f"/offers/{old.digest}/answer", data={"csrf": CSRF, "answer": "accept"})
    assert client.sent("POST", "/v1/decisions").offer_digest == old.digest
    assert len([path for _, path, _ in client.asked if path == "/v1/decisions"]) >= 1
    assert answered.status_code == 409
    view = Markup(answered.text)
    assert view.faults() == []
    assert "accept" in view.form(f"/offers/{new.digest}/answer")["answer"]
    assert "offer-changed" in view.text


def test_a_long_way_back_takes_an_explicit_choice() -> None:
    """A box to tick before the button; without it the page says what is missing, and nothing was decided."""
    answers = dict(SITUATIONS["long way back"])
    digest = next(path.rpartition("/")[2] for _, path in answers if _is_offer(path))
    view = view_of(answers, "/")
    box = next(attributes for tag, attributes in view.elements if attributes.get("name") == "although_long")
    assert "required" in box
    later = next(attributes for _, attributes in view.elements if attributes.get("value") == "later")
    assert "formnovalidate" in later
    client = FakeClient(answers)
    with stage(client) as browser:
        browser.post(
            f"/offers/{digest}/answer",
            data={"csrf": CSRF, "answer": "accept", "although_long": "yes"},
            follow_redirects=False,
        )
    assert client.sent("POST", "/v1/decisions").although_long is True
    answers["POST", "/v1/decisions"] = AskPerson("return-takes-long", duration_s=2400.0)
    with stage(FakeClient(answers)) as browser:
        refused = browser.post(f"/offers/{digest}/answer", data={"csrf": CSRF, "answer": "accept"})
    assert refused.status_code == 409
    assert "return-takes-long" in refused.text


def test_who_accepts_what_was_accepted_elsewhere_sees_its_progress() -> None:
    """Two pages at once: the second is told, and led on."""
    view = a_view()
    answers = answers_of(under_way("fetching")) | {("GET", f"/v1/offers/{view.digest}"): view}
    answers["POST", "/v1/decisions"] = AskPerson("update-in-progress", version="1.1.2", phase="fetching")
    with stage(FakeClient(answers)) as browser:
        answered = browser.post(f"/offers/{view.digest}/answer", data={"csrf": CSRF, "answer": "accept"})
        assert answered.status_code == 200
        assert "already agreed to" in answered.text
        skipped = browser.post(f"/offers/{view.digest}/answer", data={"csrf": CSRF, "answer": "skip"})
    assert skipped.status_code == 409
    assert "update-in-progress" in skipped.text


@pytest.mark.parametrize(
    ("hour", "expected"),
    [(0, None), (5, None), (6, 22), (15, 22), (21, 22), (22, None), (23, None)],
)
def test_tonight_begins_at_ten_and_is_now_in_the_night(hour: int, expected: int | None) -> None:
    """By the device's own clock, whatever its zone."""
    zone = timezone(timedelta(hours=8))
    begins = tonight(datetime(2026, 11, 24, hour, 30, tzinfo=zone).astimezone(UTC), zone)
    if expected is None:
        assert begins is None
    else:
        assert begins == "2026-11-24T14:00:00Z"


def test_tonight_in_the_zone_of_the_system() -> None:
    """Ten o'clock of the same local day."""
    begins = tonight(datetime.now().astimezone().replace(hour=12, minute=0).astimezone(UTC))
    assert begins is not None
    local = datetime.fromisoformat(begins).astimezone()
    assert (local.hour, local.minute) == (22, 0)


@pytest.mark.parametrize("digest", ["abc", "A" * 64, "%2e%2e%2fstatus", "é" * 64])
def test_what_is_no_digest_never_becomes_a_route(digest: str) -> None:
    """It is refused before the agent is asked."""
    client = FakeClient(answers_of(a_model()))
    with stage(client) as browser:
        answer = browser.get(f"/offers/{digest}")
    assert answer.status_code in {400, 404, 409}
    assert not any("/v1/offers" in path for _, path, _ in client.asked)


def test_later_says_when_the_offer_is_told_of_again() -> None:
    """And the buttons stay."""
    view = view_of(SITUATIONS["offered, later"], "/", "zh-CN")
    assert "2026 年 11 月 25 日" in view.text
    assert any(action.endswith("/answer") for action, _ in view.forms)


def test_decisions_of_another_offer_are_not_this_one_s() -> None:
    """A *later* to an older offer does not mark the new one."""
    old = a_decision(a_view(an_offer(to_version="1.1.1")), "later", remind_at="2026-11-25T06:10:00Z")
    assert "You chose" not in view_of(answers_of(a_model(phase="offered", offer=a_view()), decisions=(old,)), "/").text


@pytest.mark.parametrize(
    ("language", "needs"),
    [("en", ("memory: 6.0 GB", "linux ≥ 6.1", "hub-3")), ("zh-CN", ("内存：6.0 GB", "linux ≥ 6.1", "hub-3"))],
)
def test_what_stands_behind_an_offer(language: Language, needs: tuple[str, ...]) -> None:
    """Requirements, where it really came from, when it was published, and whose key signed it."""
    view = a_view()
    answers = answers_of(a_model(phase="offered", offer=view))
    text = view_of(answers, f"/offers/{view.digest}", language).text
    for wanted in (*needs, "https://mirror.example.org/", "67a1c48bfedb7ed3", "2026"):
        assert wanted in text


def test_an_offer_whose_manifest_is_gone() -> None:
    """The page shows what it has."""
    view = a_view()
    answers = answers_of(a_model(phase="offered", offer=view))
    answers["GET", f"/v1/offers/{view.digest}/about"] = AskPerson("no-offer", model="gone")
    assert "https://models.example.org/" in view_of(answers, f"/offers/{view.digest}").text
