"""Progress, result, report and codes: what an update does, and how it ended."""

from __future__ import annotations

from typing import get_args

import msgspec
import pytest
from tests.agent.page.markup import Markup, view_of
from tests.agent.page.situations import SITUATIONS, an_update_report, under_way
from tests.agent.page.stage import (
    CSRF,
    MODEL,
    FakeClient,
    a_model,
    an_outcome,
    answers_of,
    stage,
)

from modelota.errors import CODES
from modelota.i18n import LANGUAGES, Language
from modelota.i18n.flow import progress_parts
from modelota.i18n.texts import texts_for
from modelota.spec import api


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_the_update_is_steered_from_its_progress(action: str) -> None:
    """Each button posts its model; what it leads to is shown."""
    situation = {"pause": "fetching", "resume": "paused by its person", "cancel": "fetching"}[action]
    answers = dict(SITUATIONS[situation])
    answers["POST", f"/v1/{action}"] = under_way("fetching")
    client = FakeClient(answers)
    with stage(client) as browser:
        fields = Markup(browser.get("/update").text).form(f"/update/{action}")
        assert fields["model"] == [MODEL]
        answered = browser.post(f"/update/{action}", data={"csrf": CSRF, "model": MODEL}, follow_redirects=False)
    assert answered.status_code == 303
    assert client.sent("POST", f"/v1/{action}").model == MODEL


def test_nothing_steers_what_is_being_switched_on() -> None:
    """From activation on there is no button, and it is said why."""
    view = view_of(SITUATIONS["activating"], "/update")
    assert not [action for action, _ in view.forms if action.startswith("/update/")]
    assert "carried through" in view.text


def test_an_accepted_offer_can_be_taken_back_while_it_waits() -> None:
    """The offer stands again then; that is another thing than a cancellation, and both are said."""
    view = view_of(SITUATIONS["waits for the evening"], "/update")
    assert view.form("/answers/7/revoke")["model"] == [MODEL]
    assert view.form("/update/cancel")


def test_what_an_update_waits_for_is_said_in_words() -> None:
    """Names of gates, and of who holds them."""
    assert "external power" in view_of(SITUATIONS["waits for the evening"], "/").text
    assert "rauc" in view_of(SITUATIONS["waits for a holder"], "/update").text
    assert "network-unreachable" in view_of(SITUATIONS["waits for the network"], "/update").text


def test_progress_names_its_step_and_fills_its_bar() -> None:
    """One current step; those before it are done."""
    view = view_of(SITUATIONS["testing"], "/update")
    steps = [
        attributes for tag, attributes in view.elements if tag == "li" and attributes.get("aria-current") == "step"
    ]
    assert len(steps) == 1
    bar = next(attributes for tag, attributes in view.elements if tag == "progress")
    assert bar["value"] == "37"
    assert '<noscript><meta http-equiv="refresh"' in view.html


def test_progress_leads_on_when_nothing_is_under_way() -> None:
    """To how it ended."""
    with stage(FakeClient(SITUATIONS["done"])) as browser:
        answer = browser.get(f"/update?model={MODEL}", follow_redirects=False)
    assert answer.headers["location"] == "/result?model=acme%2Fassistant"


def test_only_progress_is_fetched_anew_without_scripts() -> None:
    """Nobody who reads is interrupted."""
    for path in ("/", "/result"):
        assert "http-equiv" not in view_of(SITUATIONS["fetching"], path).html


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_failure_is_told_in_three_sentences_and_a_code(language: Language) -> None:
    """What happened, how the device is now, what to do; the code leads to what it means."""
    view = view_of(SITUATIONS["failed"], "/result", language)
    say = texts_for(language).say
    for heading in ("What happened", "How your device is now", "What you need to do"):
        assert say(heading) in view.text
    assert say("The device went back to version {version}, which is in use.", version="1.1.1") in view.text
    assert "/codes/self-test-failed" in view.links()


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_a_view(language: Language) -> None:
    """What happened, what to do, and what kind of trouble it is; places that an error fills stay open."""
    with stage(FakeClient({}), language=language) as browser:
        for code in CODES:
            answer = browser.get(f"/codes/{code}")
            assert answer.status_code == 200, code
            assert "{" not in Markup(answer.text).text, code
        assert browser.get("/codes/no-such-code").status_code == 404


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_of_an_operation_is_shown_inside_the_page(language: Language) -> None:
    """With its steps and figures, reached from the result."""
    view = view_of(SITUATIONS["done"], "/result", language)
    assert "/report" in view.links()
    report = view_of(SITUATIONS["done"], f"/report?model={MODEL}&seq=4", language)
    assert report.faults() == []
    assert "1.1.1 → 1.1.2" in report.text
    assert len([tag for tag, attributes in report.elements if tag == "progress"]) == 2
    with stage(FakeClient(SITUATIONS["done"])) as browser:
        assert browser.get("/report?seq=99").status_code == 404


def test_a_report_of_another_operation_is_not_the_result_s() -> None:
    """The newest report may be older than the newest outcome, which then has none."""
    old = an_update_report(finished_at="2026-11-01T00:00:00Z")
    answers = answers_of(a_model(last_outcome=an_outcome(result="cancelled", active_version="1.1.1")), reports=(old,))
    assert "/report" not in view_of(answers, "/result").links()


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_script_gets_its_sentences_from_the_view(language: Language) -> None:
    """Filled with the same values, they are what the view itself says."""
    view = view_of(SITUATIONS["fetching"], "/update", language)
    region = next(attributes for _, attributes in view.elements if attributes.get("data-progress"))
    words = msgspec.json.decode(region["data-words"] or "")
    progress = api.Progress(step="fetching", done=12_400_000, total=38_000_000, rate_per_s=3.2e6, left_s=125.0)
    parts = progress_parts(progress, language)
    assert words["amount"].format(done="12 MB", total="38 MB", percent=32) == parts.amount
    minutes = words["minute"][1].format(n=2)
    assert words["left"].format(time=words["about"].format(duration=minutes)) == parts.left


def test_every_phase_can_be_shown() -> None:
    """A phase that the agent knows has its view, with and without an operation."""
    client = FakeClient({})
    with stage(client) as browser:
        for phase in get_args(api.Phase):
            for operation in (None, *get_args(api.Operation)):
                model = a_model(phase=phase, operation=operation, target_version="1.1.2" if operation else None)
                client.answers = answers_of(model)
                answer = browser.get("/update" if operation else "/")
                assert answer.status_code == 200, answer.text
                assert Markup(answer.text).faults() == []
