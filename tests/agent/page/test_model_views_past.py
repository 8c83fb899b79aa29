"""*My model*, *versions*, *history*, *answers*, *usage* and *incidents*: what they show, and what they let one do."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.agent.page.life import (
    HOSTILE,
    REVOKED,
    WITHDRAWN,
    a_life,
    a_report,
    a_self_test,
    an_about,
    decisions,
    entries,
    versions,
)
from tests.agent.page.stage import CSRF, MODEL, FakeClient, a_model, a_view, stage

from modelota.errors import AskPerson, TryLater
from modelota.i18n import LANGUAGES, Language
from modelota.spec import api, api_life, api_owner
from modelota.spec.deployment import ReportsPage

SEE = frozenset({"see"})
VIEWS = ("/model", "/versions", "/history", "/answers", "/usage", "/incidents")


def shown(client: FakeClient, path: str, **how: Any) -> str:
    """The view at `path`."""
    with stage(client, **how) as browser:
        answer = browser.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def sent(client: FakeClient, path: str, /, **how: Any) -> Any:
    """The answer to a form; redirections are not followed."""
    rights = how.pop("rights", frozenset({"see", "decide", "remove"}))
    with stage(client, rights=rights) as browser:
        return browser.post(path, data={"csrf": CSRF, **how}, follow_redirects=False)


def with_version(version: str, **fields: Any) -> api.VersionsPage:
    """The versions of a life, one of them changed."""
    changed = (msgspec.structs.replace(view, **fields) if view.version == version else view for view in versions())
    return api.VersionsPage(model=MODEL, versions=tuple(changed))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("path", VIEWS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"active_version": None, "previous_version": None, "active_variant": None, "engine": "stopped"},
        {"phase": "degraded", "error": api.ErrorBody(code="slot-damaged", params={"slot": "1.2.2+q8"})},
        {"withdrawn": WITHDRAWN, "suspect": REVOKED, "end_of_service": "2027-01-01T00:00:00Z"},
        {"phase": "watching", "watch_until": "2026-11-25T06:00:00Z", "engine": "failed", "engine_error": REVOKED},
    ],
    ids=["well", "none", "degraded", "withdrawn", "watched"],
)
def test_every_state_renders(path: str, language: Language, fields: dict[str, Any]) -> None:
    """Whatever state a model is in, each view stands in both languages, and says how it is."""
    client = FakeClient(a_life(**fields))
    if fields.get("active_version", "1.2.2") is None:
        client.answers["GET", "/v1/about"] = api_owner.ModelAbout(model=MODEL)
        client.answers["GET", "/v1/versions"] = api.VersionsPage(model=MODEL, versions=())
        client.answers["GET", "/v1/self-tests"] = []
        client.answers["GET", "/v1/reports"] = ReportsPage(model=MODEL, reports=())
        client.answers["GET", "/v1/decisions"] = api_owner.DecisionsPage(decisions=())
        client.answers["GET", "/v1/log"] = api.LogPage(entries=())
    text = shown(client, path, language=language)
    assert f'<html lang="{language}"' in text
    if path in {"/model", "/incidents"}:
        for field in ("error", "withdrawn", "suspect", "engine_error"):
            error = fields.get(field)
            assert error is None or error.code in text


@pytest.mark.parametrize("path", VIEWS)
def test_hostile_texts_are_escaped(path: str) -> None:
    """What publishers, applications and file names say reaches the page as text, never as markup or steering."""
    client = FakeClient(
        a_life(
            title={"en": HOSTILE},
            withdrawn=api.ErrorBody(code=HOSTILE, params={"version": HOSTILE, "reason": HOSTILE}),
        )
    )
    client.answers["GET", "/v1/about"] = an_about(
        title={"en": HOSTILE}, notes={"en": HOSTILE}, interfaces={HOSTILE: HOSTILE}, permissions=(HOSTILE,),
        from_url=HOSTILE, signed_by=(HOSTILE,), runtime=HOSTILE, variant=HOSTILE,
    )  # fmt: skip
    client.answers["GET", "/v1/versions"] = with_version("1.2.1", notes={"en": HOSTILE}, variant=HOSTILE)
    entry = api.LogEntry(
        seq=9, at="2026-11-21T06:00:00Z", model=HOSTILE, event=HOSTILE, facts={"authority": HOSTILE, "x": HOSTILE}
    )
    failed = msgspec.structs.replace(entry, event="failed", facts={"phase": HOSTILE, "code": HOSTILE, "params": {}})
    client.answers["GET", "/v1/log"] = api.LogPage(entries=(entry, failed))
    client.answers["GET", "/v1/decisions"] = api_owner.DecisionsPage(
        decisions=(msgspec.structs.replace(decisions()[0], authority=HOSTILE, channel=HOSTILE, to_version=HOSTILE),)
    )
    client.answers["GET", "/v1/self-tests"] = [a_self_test(verdict=HOSTILE, results=[{"id": HOSTILE, "verdict": 3}])]
    client.answers["GET", "/v1/reports"] = ReportsPage(
        model=MODEL,
        reports=(a_report(result="failed", operation=HOSTILE, to_version=HOSTILE, error={"code": HOSTILE}),),
    )
    text = shown(client, path)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert "\u202e" not in text
    assert "\x1b" not in text


def test_my_model_says_what_it_can_do_and_where_it_is_from() -> None:
    """Interfaces and permissions are named in words; the report of the last change is a link."""
    text = shown(FakeClient(a_life()), "/model")
    for expected in ("Assistant", "Conversation", "acme-lights", "microphone", "Corrects unit conversion.", "4.1 GB"):
        assert expected in text
    assert "/report?model=acme/assistant&amp;seq=3" in text
    assert "/remove?model=acme/assistant" in text


def test_of_several_models_one_is_chosen() -> None:
    """A device with two models has a chooser on each view, and the other's view is about the other."""
    client = FakeClient(a_life())
    first = client.answers["GET", "/v1/status"]
    assert isinstance(first, api.Status)
    both = msgspec.structs.replace(first, models=(*first.models, a_model(model="acme/painter", active_version="2.1.1")))
    client.answers["GET", "/v1/status"] = both
    text = shown(client, "/versions?model=acme%2Fpainter")
    assert 'href="/versions?model=acme/assistant"' in text
    assert ("GET", "/v1/versions", {"model": "acme/painter"}) in client.asked
    with stage(client) as browser:
        unknown = browser.get("/model?model=acme%2Fnobody")
    assert (unknown.status_code, "argument-invalid" in unknown.text) == (400, True)


def test_versions_say_what_going_back_takes() -> None:
    """A kept slot is a matter of seconds, a sealed one is set up again, one that is gone is downloaded."""
    text = shown(FakeClient(a_life()), "/versions")
    for version in ("1.2.1", "1.1.4", "1.1.3", "1.1.2"):
        assert f"/versions/back?model=acme/assistant&amp;version={version}" in text
    for version in ("1.2.3", "1.2.2", "1.1.1"):
        assert f"&amp;version={version}" not in text
    assert "flawed" not in text
    assert "older versions" not in text
    revoked = FakeClient(a_life())
    revoked.answers["GET", "/v1/versions"] = with_version("1.2.1", withdrawn=REVOKED)
    assert "flawed" in shown(revoked, "/versions")
    many = tuple(
        api.VersionView(version=f"1.1.{number}", variant=None, state="available") for number in range(60, 1, -1)
    )
    revoked.answers["GET", "/v1/versions"] = api.VersionsPage(model=MODEL, versions=(*versions()[1:3], *many))
    assert "59 older versions that are not on this device" in shown(revoked, "/versions")


def test_a_kept_version_is_gone_back_to_after_its_page_was_read() -> None:
    """The page before tells time, requests and data; the button then is the decision, in channel `page`."""
    client = FakeClient(a_life())
    text = shown(client, "/versions/back?model=acme%2Fassistant&version=1.2.1")
    for expected in ("42 seconds", "Nothing is downloaded", "Requests under way", "Your data", 'value="1.2.1"'):
        assert expected in text
    client.answers["POST", "/v1/rollback"] = api.RollbackResult(model=MODEL, started=True)
    answer = sent(client, "/rollback", model=MODEL, version="1.2.1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/update?model=acme%2Fassistant")
    assert client.sent("POST", "/v1/rollback") == api.RollbackRequest(model=MODEL, version="1.2.1", channel="page")


def test_what_has_to_be_fetched_or_set_up_goes_to_its_offer() -> None:
    """For a version without a slot the agent answers with an offer, and the person sees that."""
    client, view = FakeClient(a_life()), a_view()
    client.answers["POST", "/v1/rollback"] = api.RollbackResult(model=MODEL, started=False, offer=view)
    for version in ("1.1.3", "1.1.2"):
        text = shown(client, f"/versions/back?version={version}")
        assert "You see an offer" in text
        answer = sent(client, "/rollback", version=version)
        assert answer.headers["location"] == f"/offers/{view.digest}"


def test_a_flawed_version_takes_naming_its_flaw() -> None:
    """A revoked version is not asked for before its flaw was confirmed; then the request names the flaw."""
    client = FakeClient(a_life())
    client.answers["GET", "/v1/versions"] = with_version("1.2.1", withdrawn=REVOKED)
    client.answers["POST", "/v1/rollback"] = api.RollbackResult(model=MODEL, started=True)
    assert "leaks-addresses" in shown(client, "/versions/back?version=1.2.1")
    unnamed = sent(client, "/rollback", version="1.2.1")
    assert (unnamed.status_code, "Please confirm that you know the flaw." in unnamed.text) == (200, True)
    assert not [each for each in client.asked if each[1] == "/v1/rollback"]
    named = sent(client, "/rollback", version="1.2.1", despite_flaw="yes")
    assert named.status_code == 303
    assert client.sent("POST", "/v1/rollback").despite == "leaks-addresses"


def test_a_withdrawn_version_that_is_kept_has_a_warning() -> None:
    """Going back to it is allowed, and its publisher's withdrawal stands on the page before."""
    client = FakeClient(a_life())
    client.answers["GET", "/v1/versions"] = with_version("1.2.1", withdrawn=WITHDRAWN)
    client.answers["POST", "/v1/rollback"] = api.RollbackResult(model=MODEL, started=True, warning=WITHDRAWN)
    assert "has withdrawn" in shown(client, "/versions/back?version=1.2.1")
    assert sent(client, "/rollback", version="1.2.1").status_code == 303
    assert client.sent("POST", "/v1/rollback").despite is None


@pytest.mark.parametrize("version", ["1.2.2", "1.2.3", "1.1.1", "9.9.9", ""])
def test_what_is_no_way_back_is_refused(version: str) -> None:
    """The version in use, a newer one, one that was taken back and one that nobody knows are no way back."""
    client = FakeClient(a_life())
    answer = sent(client, "/rollback", version=version)
    assert (answer.status_code, "nothing-to-roll-back" in answer.text) == (409, True)
    assert not [each for each in client.asked if each[1] == "/v1/rollback"]


def test_a_newer_version_is_offered_when_it_is_asked_for() -> None:
    """Also one that was skipped or failed here; when it can't be offered, the reason is told."""
    client, view = FakeClient(a_life()), a_view()
    client.answers["POST", "/v1/check"] = [api.CheckResult(model=MODEL, offer=view)]
    assert sent(client, "/versions/ask", version="1.2.3").headers["location"] == f"/offers/{view.digest}"
    assert client.sent("POST", "/v1/check") == api.CheckRequest(model=MODEL, version="1.2.3")
    error = api.ErrorBody(code="requirement-not-met", params={"requirement": "memory"})
    client.answers["POST", "/v1/check"] = [api.CheckResult(model=MODEL, refused=(error,))]
    assert "requirement-not-met" in sent(client, "/versions/ask", version="1.2.3").text


def test_history_is_newest_first_by_day_and_leads_on() -> None:
    """Entries stand under their day, decisions with who and where; a full page leads to the older ones."""
    client = FakeClient(a_life())
    text = shown(client, "/history")
    assert text.index("2026-11-23") < text.index("2026-11-22") < text.index("2026-11-21")
    assert text.index("The engine stopped unexpectedly") < text.index("was offered")
    assert text.count(">decision<") == 2
    assert "you · on the page" in text
    assert "Older" not in text
    assert "The download is complete." not in text
    every = shown(client, "/history?show=all")
    assert "The download is complete." in every
    only = shown(client, "/history?show=decisions")
    assert "was offered" not in only
    assert "The answer to the offer" in only
    many = tuple(msgspec.structs.replace(entries()[0], seq=seq) for seq in range(200, 350))
    client.answers["GET", "/v1/log"] = api.LogPage(entries=many)
    assert "/history?before=250&amp;model=acme/assistant" in shown(client, "/history?model=acme%2Fassistant")
    dull = tuple(msgspec.structs.replace(entries()[2], seq=seq) for seq in range(1, 1001))
    client.answers["GET", "/v1/log"] = api.LogPage(entries=dull)
    assert "/history?before=1&amp;show=decisions" in shown(client, "/history?show=decisions")
    older = shown(client, "/history?before=200")
    assert client.asked[-1][2]["before"] == "200"
    assert "Newest" in older


def test_answers_say_who_where_and_how_they_stand_and_can_be_taken_back() -> None:
    """A standing answer has its button; a past one says what became of it; the view never offers more."""
    client = FakeClient(a_life())
    text = shown(client, "/answers")
    for expected in ("you", "the administrator", "user number 1001", "expired", "taken back", "carried out", "replaced",
                     "while the device is charging", "You hear of it again"):  # fmt: skip
        assert expected in text, expected
    assert text.count("/revoke") == 1
    client.answers["DELETE", "/v1/decisions/9"] = msgspec.structs.replace(decisions()[0], state="revoked")
    answer = sent(client, "/answers/9/revoke", model=MODEL)
    assert (answer.status_code, answer.headers["location"]) == (303, "/answers?model=acme%2Fassistant")
    assert client.asked[-1] == ("DELETE", "/v1/decisions/9", {"channel": "page"})
    client.answers["DELETE", "/v1/decisions/9"] = AskPerson("answer-over", id=9, detail="done")
    assert sent(client, "/answers/9/revoke", model=MODEL).status_code >= 400


def test_usage_shows_what_is_measured_and_says_what_is_not() -> None:
    """Figures in service and of self-tests stand there; what nobody measured reads “unknown”, never 0."""
    text = shown(FakeClient(a_life()), "/usage")
    for expected in ("42", "23.4", "4.3 GB", "0.31 s", "21.5", "1.2.2", "Not measured yet"):
        assert expected in text
    client = FakeClient(a_life())
    client.answers["GET", "/v1/about"] = an_about(service=None)
    client.answers["GET", "/v1/self-tests"] = [a_self_test(verdict="inconclusive", results=[{"id": "performance"}])]
    text = shown(client, "/usage")
    assert "Speed and memory were not measured in it." in text
    assert "Nothing was counted yet" in text
    assert "0.0" not in text


def test_incidents_show_what_failed_and_look_for_damage() -> None:
    """What failed has its sentences and report; a damaged version is named, and mended when its owner says so."""
    client = FakeClient(a_life())
    client.answers["GET", "/v1/reports"] = ReportsPage(
        model=MODEL,
        reports=(
            a_report(
                result="failed", operation="update", to_version="1.2.3", active_version="1.2.2",
                error={"code": "self-test-failed", "params": {"test": "who"}},
            ),
        ),
    )  # fmt: skip
    text = shown(client, "/incidents")
    for expected in ("The update to 1.2.3 did not succeed.", "self-test-failed", "Version 1.2.2 stays in use", "seq=3",
                     "The engine stopped unexpectedly"):  # fmt: skip
        assert expected in text, expected
    assert "The download is complete." not in text
    file = api_life.DamagedFile(path=HOSTILE, chunks=1, damaged_bytes=4096)
    slot = api_life.SlotCheck(version="1.2.1", variant="q8", checked_bytes=10_000, damaged=(file,))
    client.answers["POST", "/v1/verify"] = api_life.VerifyResult(model=MODEL, slots=(slot,))
    found = sent(client, "/incidents/check", model=MODEL)
    assert "Version 1.2.1: damage found" in found.text
    assert "<script>alert" not in found.text
    assert "/incidents/repair" in found.text
    view = a_view()
    client.answers["POST", "/v1/verify"] = api_life.VerifyResult(model=MODEL, slots=(slot,), offer=view)
    assert sent(client, "/incidents/repair", model=MODEL).headers["location"] == f"/offers/{view.digest}"
    assert client.sent("POST", "/v1/verify").repair
    client.answers["POST", "/v1/verify"] = api_life.VerifyResult(model=MODEL, slots=(slot,), started=True)
    assert sent(client, "/incidents/repair", model=MODEL).headers["location"] == "/update?model=acme%2Fassistant"


@pytest.mark.parametrize(
    ("view", "form", "path", "hidden"),
    [
        ("/versions", {"version": "1.2.1"}, "/rollback", "/versions/back"),
        ("/answers", {}, "/answers/9/revoke", "/revoke"),
        ("/incidents", {"model": MODEL}, "/incidents/repair", "/incidents/repair"),
    ],
)
def test_who_may_only_look_has_no_buttons_and_is_refused(
    view: str, form: dict[str, str], path: str, hidden: str
) -> None:
    """Without the right to decide the action is neither shown nor passed on."""
    client = FakeClient(a_life())
    assert hidden not in shown(client, view, rights=SEE)
    answer = sent(client, path, rights=SEE, **form)
    assert (answer.status_code, "not-authorised" in answer.text) == (403, True)
    assert not [each for each in client.asked if each[0] != "GET"]


@pytest.mark.parametrize("path", VIEWS)
def test_an_agent_that_does_not_answer_is_told(path: str) -> None:
    """The three sentences and the code stand where the view would."""
    with stage(FakeClient({("GET", "/v1/status"): TryLater("peer-unreachable", path="agent.sock")})) as browser:
        answer = browser.get(path)
    assert answer.status_code == 503
    assert "peer-unreachable" in answer.text
