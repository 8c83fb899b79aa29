"""The overview, and what holds for all main views: every situation, both languages, hostile texts, rights."""

from __future__ import annotations

import re

import msgspec
import pytest
from tests.agent.page.markup import Markup, view_of
from tests.agent.page.situations import SITUATIONS, a_notice, an_error, under_way
from tests.agent.page.stage import (
    CSRF,
    MODEL,
    FakeClient,
    a_decision,
    a_model,
    a_view,
    an_offer,
    an_outcome,
    answers_of,
    stage,
)

from modelota.agent.page.app import view_handlers
from modelota.agent.page.templating import static_files
from modelota.errors import RefuseContent
from modelota.i18n import LANGUAGES, Language
from modelota.spec import api

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}\u202e"
PATHS = ("/", "/update", "/result")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("situation", SITUATIONS)
def test_every_situation_is_shown_in_both_languages(situation: str, language: Language) -> None:
    """Overview, progress and result of every state: sound markup, no English where Chinese is spoken."""
    known = re.compile("|".join(re.sub(r"\{[^}]+\}", "[^/]+", p) + "$" for h in view_handlers() for p in h.paths))
    with stage(FakeClient(SITUATIONS[situation]), language=language) as browser:
        answers = [browser.get(path) for path in PATHS]
    for answer in answers:
        assert answer.status_code == 200, answer.text
        view = Markup(answer.text)
        assert view.faults() == []
        assert [link for link in view.links() if not known.match(link)] == []
        assert f'<html lang="{language}">' in view.html
        if language == "zh-CN":
            said = re.sub("“modelota [^”]*”", "", view.text)  # a command is the same in every language
            english = re.findall(r"[A-Za-z]{3,} [a-z]{2,} [a-z]{2,}", said)
            assert english == [], english


def test_hostile_texts_stay_texts() -> None:
    """Notes, titles, reasons, holders and errors from outside: never markup, never steering characters."""
    offer = an_offer(
        notes={"en": HOSTILE, "zh-CN": HOSTILE},
        kind="security",
        urgency_reason={"en": HOSTILE, "zh-CN": HOSTILE},
        permissions=("network",),
    )
    view = a_view(offer, title={"en": HOSTILE, "zh-CN": HOSTILE})
    error = an_error("engine-crashed", "serving", {"version": HOSTILE}, slot=HOSTILE, status=HOSTILE)
    model = a_model(
        phase="offered",
        title={"en": HOSTILE, "zh-CN": HOSTILE},
        offer=view,
        active_version=HOSTILE,
        suspect=error,
        last_outcome=an_outcome(result="failed", to_version=HOSTILE, error=error),
    )
    busy = under_way("waiting", target_version=HOSTILE, waits_for=(f"inhibitor:{HOSTILE}",), error=error)
    notice = a_notice(version=HOSTILE, error=error)
    answers = answers_of(model, notices=(notice,))
    pages = [(answers, path) for path in ("/", "/result", f"/offers/{view.digest}", f"/?said={HOSTILE}")]
    pages += [(answers_of(busy), path) for path in ("/", "/update", f"/codes/{HOSTILE}", f"/{HOSTILE}")]
    for given, path in pages:
        with stage(FakeClient(given)) as browser:
            html = browser.get(path).text
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "\u202e" not in html
        assert ">49<" not in html
        assert Markup(html).faults() == []


def test_who_may_only_look_gets_no_buttons_to_decide() -> None:
    """They see everything, and are told why there is nothing to press; a form they make themselves is refused."""
    view = a_view()
    answers = answers_of(a_model(phase="offered", offer=view))
    see = frozenset({"see"})
    shown = view_of(answers, "/", rights=see)
    assert "38 MB" in shown.text
    assert not any(action.endswith("/answer") for action, _ in shown.forms)
    assert not [a for a, _ in view_of(SITUATIONS["fetching"], "/update", rights=see).forms if a.startswith("/update")]
    client = FakeClient(answers)
    with stage(client, rights=see) as browser:
        for path, fields in (
            (f"/offers/{view.digest}/answer", {"answer": "accept"}),
            ("/update/cancel", {"model": MODEL}),
            ("/check", {"allow_stale": "yes"}),
        ):
            answered = browser.post(path, data={"csrf": CSRF, **fields})
            assert answered.status_code in {403, 404}, path
    assert not any(method == "POST" and path != "/v1/shown" for method, path, _ in client.asked)


def test_a_form_without_its_token_is_refused() -> None:
    """Whatever it asks for."""
    client = FakeClient(answers_of(a_model()))
    with stage(client) as browser:
        for path in ("/check", "/update/pause", f"/offers/{'a' * 64}/answer", "/notices/3/dismiss"):
            assert browser.post(path, data={"answer": "accept"}).status_code in {400, 403}
    assert client.asked == []


def test_looking_for_updates_says_what_was_found() -> None:
    """An offer leads home; nothing newer is said; what does not suit is said with its reason."""
    view = a_view()
    answers = answers_of(a_model())
    for result, expected in (
        (api.CheckResult(model=MODEL, offer=view), "/"),
        (api.CheckResult(model=MODEL, up_to_date=True), "/?said=up-to-date"),
        (api.CheckResult(model=MODEL), "/?said=nothing-suits"),
    ):
        with stage(FakeClient({**answers, ("POST", "/v1/check"): [result]})) as browser:
            answer = browser.post("/check", data={"csrf": CSRF, "model": MODEL}, follow_redirects=False)
        assert answer.headers["location"] == expected
    lacking = an_error("requirement-not-met", requirement="memory", needed="8 GB", found="4 GB")
    result = api.CheckResult(model=MODEL, refused=(lacking,))
    with stage(FakeClient({**answers, ("POST", "/v1/check"): [result]})) as browser:
        told = Markup(browser.post("/check", data={"csrf": CSRF}).text)
    assert told.faults() == []
    assert "/codes/requirement-not-met" in told.links()


def test_information_that_ran_out_is_used_only_when_its_owner_says_so() -> None:
    """The page explains, and asks; the second form says it to the agent."""
    answers = answers_of(a_model())
    answers["POST", "/v1/check"] = RefuseContent(
        "metadata-expired", role="timestamp", expired_at="2026-11-20T00:00:00Z", device_time="2026-11-24T00:00:00Z"
    )
    client = FakeClient(answers)
    with stage(client) as browser:
        told = Markup(browser.post("/check", data={"csrf": CSRF, "model": MODEL}).text)
        assert client.sent("POST", "/v1/check").allow_stale is False
        assert told.faults() == []
        assert told.form("/check")["allow_stale"] == ["yes"]
        browser.post("/check", data={"csrf": CSRF, "model": MODEL, "allow_stale": "yes"})
    assert client.sent("POST", "/v1/check").allow_stale is True


def test_a_notice_is_told_once_and_can_be_put_away() -> None:
    """Showing it counts as telling; putting it away is the person's."""
    client = FakeClient(SITUATIONS["done"])
    with stage(client) as browser:
        assert Markup(browser.get("/").text).form("/notices/3/dismiss")
        assert client.sent("POST", "/v1/notices/3").dismiss is False
        browser.post("/notices/3/dismiss", data={"csrf": CSRF}, follow_redirects=False)
    assert client.sent("POST", "/v1/notices/3").dismiss is True


def test_standing_answers_can_be_taken_back_from_the_overview() -> None:
    """A skipped version is listed with how long it counts."""
    view = view_of(SITUATIONS["skipped"], "/")
    assert view.form("/answers/7/revoke")["model"] == [MODEL]
    assert "1.1.2" in view.text


def test_what_was_taken_back_leads_home() -> None:
    """Where the offer stands again."""
    answers = dict(SITUATIONS["skipped"])
    answers["DELETE", "/v1/decisions/7"] = a_decision(a_view(), "skip", state="revoked", revocable=False)
    client = FakeClient(answers)
    with stage(client) as browser:
        form = Markup(browser.get("/").text).form("/answers/7/revoke")
        fields = {name: values[0] for name, values in form.items()}
        answer = browser.post("/answers/7/revoke", data=fields, follow_redirects=False)
        assert answer.headers["location"] == "/?said=taken-back"
        assert "taken back" in browser.get("/?said=taken-back").text


def test_static_files_ask_nobody_else() -> None:
    """Style and script name no other host, and import nothing."""
    for name, file in static_files().items():
        text = file.content.decode()
        outside = [each for each in re.findall(r"https?://[^\s\"')]+", text) if "w3.org" not in each]
        assert outside == [], name
        assert "@import" not in text
        assert "eval(" not in text
        assert "innerHTML =" not in text


def test_several_models_each_have_their_own_part() -> None:
    """One first heading for all, one part for each."""
    other = msgspec.structs.replace(a_model(), model="acme/translator")
    answers = answers_of(a_model(phase="offered", offer=a_view()))
    status = answers["GET", "/v1/status"]
    assert isinstance(status, api.Status)
    answers["GET", "/v1/status"] = msgspec.structs.replace(status, models=(*status.models, other))
    view = view_of(answers, "/")
    assert view.faults() == []
    assert len([1 for _, attributes in view.elements if "data-region" in attributes]) == 2
