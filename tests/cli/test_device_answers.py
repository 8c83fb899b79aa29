"""Answers on the command line: what is listed, what is taken back, and what answering says about what is to come."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_agent import AT, MODEL, FakeAgent, model_status, offer_view
from tests.cli.test_device_decide import _play_success, _pop

from modelota.cli import device_decide, question
from modelota.errors import AskPerson
from modelota.spec import api
from modelota.spec.api_owner import DecisionsPage, DecisionView

DIGEST = offer_view().digest
LATER = DecisionView(
    id=7,
    model=MODEL,
    offer_digest=DIGEST,
    to_version="1.1.2",
    answer="later",
    authority="uid:1000",
    channel="host",
    at=AT,
    state="standing",
    remind_at="2026-11-25T06:00:00Z",
    revocable=True,
)
OVER = DecisionView(
    id=6,
    model=MODEL,
    offer_digest="",
    to_version="1.1.1",
    answer="accept",
    authority="uid:0",
    channel="terminal",
    at=AT,
    state="expired",
)


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody sits at a terminal and answers what the test says."""
    answers: list[str] = []
    monkeypatch.setattr(device_decide, "can_ask", lambda session: not session.as_json)
    monkeypatch.setattr(device_decide, "ask_answer", lambda session: question.ask_answer(session, _pop(answers)))
    yield answers
    assert not answers, "not every answer was asked for"


def standing(answer: str, **times: str) -> api.StandingAnswer:
    given = {"id": 7, "answer": answer, "to_version": "1.1.2", "at": AT, **times}
    return api.StandingAnswer(**given)  # type: ignore[arg-type]  # fields of its own


def test_answers_are_listed(run: Run, agent: FakeAgent) -> None:
    """Number, answer, version, who and where, and how it stands or what is to come of it."""
    agent.answers["/v1/decisions"] = DecisionsPage(decisions=(LATER, OVER))
    ran = run("device", "answers")
    assert ran.status == 0
    first, second = ran.out.splitlines()[1:3]
    for part in ("7", "later", "1.1.2", "reminder on", "user number 1000"):
        assert part in first
    for part in ("6", "accept", "1.1.1", "expired", "the administrator"):
        assert part in second
    assert "--revoke NUMBER" in ran.out
    assert run("device", "answers", "--json").json["decisions"][0]["id"] == 7
    assert "以后" in run("device", "answers", "--lang", "zh").out


def test_nothing_was_answered(run: Run, agent: FakeAgent) -> None:
    """An empty list is no table."""
    agent.answers["/v1/decisions"] = DecisionsPage(decisions=())
    assert run("device", "answers").out == "Nothing was answered yet.\n"


def test_an_answer_is_taken_back(run: Run, agent: FakeAgent) -> None:
    """Its number reaches the agent, and where it was taken back."""
    agent.answers["/v1/decisions/7"] = LATER
    ran = run("device", "answers", "--revoke", "7")
    assert ran.status == 0
    assert agent.asked[-1] == ("DELETE", "/v1/decisions/7", {"channel": "terminal"})
    assert "“later” about version 1.1.2" in ran.out
    agent.errors["/v1/decisions/6"] = (
        AskPerson("answer-over", id=6, detail="expired"),
        "serving",
        {"version": "1.1.1"},
    )
    ran = run("device", "answers", "--revoke", "6")
    assert ran.status == 64
    assert "It expired." in ran.err


@pytest.mark.parametrize("wrong", ["x", "-1", "7/../..", "", "1" * 30])
def test_what_is_no_number_does_not_reach_the_agent(run: Run, agent: FakeAgent, wrong: str) -> None:
    """It would become a part of a path."""
    ran = run("device", "answers", f"--revoke={wrong}", "--json")
    assert ran.json["error"]["params"]["detail"] == "not-a-number"
    assert agent.asked == []


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        (standing("later", remind_at="2026-11-25T06:00:00Z"), "later: version 1.1.2 (reminder on"),
        (standing("accept", expires_at="2026-12-01T06:00:00Z"), "accept: version 1.1.2 (has to begin before"),
        (standing("skip", expires_at="2027-05-23T06:00:00Z"), "skip this version: version 1.1.2 (counts until"),
        (standing("accept"), "accept: version 1.1.2\n"),
    ],
)
def test_the_status_shows_what_counts(run: Run, agent: FakeAgent, answer: api.StandingAnswer, line: str) -> None:
    """Every answer that counts, with its reminder or its end."""
    agent.models = (model_status(answers=(answer,)),)
    assert line in run("device", "status").out


@pytest.mark.parametrize(
    ("typed", "answer", "said"),
    [
        ("l", standing("later", remind_at="2026-11-25T06:00:00Z"), "You are reminded on"),
        ("s", standing("skip", expires_at="2027-05-23T06:00:00Z"), "That counts until"),
        ("d", standing("decline", expires_at="2026-12-24T06:00:00Z"), "That counts until"),
    ],
)
def test_what_is_to_come_is_said(
    run: Run, agent: FakeAgent, at_terminal: list[str], typed: str, answer: api.StandingAnswer, said: str
) -> None:
    """Who puts an offer off or turns it down hears when they hear of it again."""
    at_terminal.append(typed)
    agent.models = (model_status(answers=(answer,)),)
    ran = run("device", "update")
    assert "Nothing was changed" in ran.out
    assert said in ran.out


@pytest.mark.parametrize("typed", ["t", "tonight", "今晚"])
def test_tonight_is_an_acceptance_with_wishes(run: Run, agent: FakeAgent, at_terminal: list[str], typed: str) -> None:
    """From ten in the evening, once the device is charging; by night at once."""
    at_terminal.append(typed)
    _play_success(agent)
    ran = run("device", "update")
    assert ran.status == 0
    (decision,) = agent.bodies("/v1/decisions")
    assert (decision.answer, decision.conditions) == ("accept", ("charging",))
    if decision.not_before is None:
        assert "The update begins once the device is charging." in ran.out
    else:
        begins = datetime.fromisoformat(decision.not_before)
        assert (begins.astimezone().hour, begins.minute) == (22, 0)
        assert begins - datetime.now().astimezone() < timedelta(days=1)
        assert "once the device is charging" in ran.out


def test_a_check_says_what_was_turned_down(run: Run, agent: FakeAgent) -> None:
    """Who declined a version is not told that everything is up to date."""
    agent.answers["/v1/check"] = [api.CheckResult(model=MODEL, up_to_date=True, turned_down=("1.1.2",))]
    ran = run("device", "check")
    assert "Version 1.1.2 of acme/assistant is not offered" in ran.out
    assert "up to date" not in ran.out
