"""Inhibitors and conditions on the command line: what reaches the agent, what people read."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_agent import AT, MODEL, FakeAgent, event, model_status, offer_view

from modelota.cli import device_gates
from modelota.errors import AskPerson
from modelota.spec import api, api_life

DIGEST = offer_view().digest
VIEW = api_life.InhibitorView(id="0af1", holder="rauc", reason="writes slot b", steps=("activate", "switch"), until=AT)
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def zone_put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The process's zone is the one of all other tests again."""
    yield
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()


def test_an_inhibitor_is_taken(run: Run, agent: FakeAgent) -> None:
    """Holder, reason, steps and time reach the agent; id and end are printed."""
    agent.answers["/v1/inhibitors"] = VIEW
    words = ("--holder", "rauc", "--reason", "writes slot b", "--for", "30m", "--step", "activate", "--step", "switch")
    ran = run("device", "inhibit", *words)
    assert ran.status == 0
    (body,) = agent.bodies("/v1/inhibitors")
    assert (body.holder, body.reason, body.steps, body.expires_s) == (
        "rauc",
        "writes slot b",
        ("activate", "switch"),
        1800,
    )
    assert "“rauc”" in ran.out
    assert "0af1" in ran.out
    assert run("device", "inhibit", *words, "--json").json["id"] == "0af1"


def test_by_default_every_step_waits_for_an_hour(run: Run, agent: FakeAgent) -> None:
    """The shortest call is the safest one."""
    agent.answers["/v1/inhibitors"] = VIEW
    run("device", "inhibit", "--holder", "rauc", "--reason", "x")
    (body,) = agent.bodies("/v1/inhibitors")
    assert (body.steps, body.expires_s) == (("fetch", "activate", "switch"), 3600)


@pytest.mark.parametrize("words", [("--for", "8d"), ("--for", "0m"), ("--for", "soon"), ("--step", "verify")])
def test_impossible_inhibitors_are_refused(run: Run, agent: FakeAgent, words: tuple[str, str]) -> None:
    """Before the agent is asked."""
    ran = run("device", "inhibit", "--holder", "rauc", "--reason", "x", *words)
    assert ran.status == 64
    assert "[argument-invalid]" in ran.err or "argument-invalid" in ran.err
    assert not agent.bodies("/v1/inhibitors")


def test_they_are_listed(run: Run, agent: FakeAgent) -> None:
    """Holder, reason, steps in words, end and id; in both languages; or that there is none."""
    agent.answers["/v1/inhibitors"] = api_life.InhibitorsPage(inhibitors=(VIEW,))
    out = run("device", "inhibitors").out
    for text in ("rauc", "writes slot b", "start of the new version", "switch-over", "0af1"):
        assert text in out
    assert "rauc" in run("device", "inhibitors", "--lang", "zh").out
    assert run("device", "inhibitors", "--json").json["inhibitors"][0]["holder"] == "rauc"
    agent.answers["/v1/inhibitors"] = api_life.InhibitorsPage(inhibitors=())
    assert run("device", "inhibitors").out == "Nobody keeps updates waiting.\n"


def test_one_is_let_go(run: Run, agent: FakeAgent) -> None:
    """By its id, which is nothing but an id."""
    agent.answers["/v1/inhibitors/0af1"] = VIEW
    assert "“rauc”" in run("device", "uninhibit", "0af1").out
    assert agent.asked[-1][:2] == ("DELETE", "/v1/inhibitors/0af1")
    ran = run("device", "uninhibit", "../../v1/cancel")
    assert "inhibitor-unknown" in ran.err
    assert agent.asked[-1][:2] == ("DELETE", "/v1/inhibitors/0af1")


def test_an_offer_is_accepted_with_conditions(run: Run, agent: FakeAgent) -> None:
    """They are part of the decision; a script is told what the update waits for, and to come back later."""
    agent.script = [event(1, "phase", {"phase": "waiting", "target_version": "1.1.2", "waits_for": ["charging"]})]
    agent.after_script = (model_status(phase="waiting", target_version="1.1.2", waits_for=("charging",)),)
    words = ("--when", "charging", "--when", "parked", "--not-before", "2026-11-24T22:30:00Z")
    ran = run("device", "update", "--accept", DIGEST, *words)
    (body,) = agent.bodies("/v1/decisions")
    assert (body.conditions, body.not_before) == (("charging", "parked"), "2026-11-24T22:30:00Z")
    assert ran.status == 75
    assert "waits for external power" in ran.err
    assert "[update-waits]" in ran.err or "update-waits" in ran.err
    assert "goes on by itself" in ran.err


def test_waiting_is_an_error_with_its_reasons_for_programs(run: Run, agent: FakeAgent) -> None:
    """With `--json` the names are as the socket tells them."""
    waits = ["inhibitor:rauc", "logind:apt"]
    agent.script = [event(1, "phase", {"phase": "waiting", "target_version": "1.1.2", "waits_for": waits})]
    error = run("device", "update", "--accept", DIGEST, "--json").lines[-1]["error"]
    assert (error["code"], error["params"]["waits_for"]) == ("update-waits", waits)


@pytest.mark.parametrize("words", [("--when", "raining"), ("--not-before", "tomorrow"), ("--not-before", "25:00")])
def test_impossible_wishes_are_refused(run: Run, agent: FakeAgent, words: tuple[str, str]) -> None:
    """Before anything is asked of the agent."""
    ran = run("device", "update", "--accept", DIGEST, *words)
    assert ran.status == 64
    assert not agent.asked


@pytest.mark.parametrize(
    ("zone", "text", "expected"),
    [
        ("UTC", "22:30", "2026-11-24T22:30:00+00:00"),
        ("UTC", "06:00", "2026-11-25T06:00:00+00:00"),
        ("Asia/Shanghai", "06:00", "2026-11-24T22:00:00+00:00"),
        ("Asia/Shanghai", "2026-11-25T06:00", "2026-11-24T22:00:00+00:00"),
        ("Asia/Shanghai", "2026-11-25T06:00:00Z", "2026-11-25T06:00:00+00:00"),
    ],
)
def test_a_time_is_local_unless_it_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, zone: str, text: str, expected: str
) -> None:
    """A time of day is the next one on the wall."""
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    assert device_gates.moment_from(text, NOW).astimezone(UTC).isoformat() == expected


def test_a_flaw_has_to_be_named(run: Run, agent: FakeAgent) -> None:
    """The error says which word; with it the request goes through, and a warning is told on the way."""
    revoked = AskPerson("release-revoked", model=MODEL, version="1.1.1", reason="leaks-data")
    agent.errors["/v1/rollback"] = (revoked, "serving", {"version": "1.1.2"})
    ran = run("device", "rollback", "1.1.1")
    assert ran.status == 64
    assert "because of a flaw: leaks-data" in ran.err
    assert "modelota device rollback 1.1.1 --despite leaks-data" in ran.err
    agent.errors.clear()
    params = {"model": MODEL, "version": "1.1.1", "reason": "wrong-answers"}
    warning = api.ErrorBody(code="release-withdrawn", params=params)
    agent.answers["/v1/rollback"] = api.RollbackResult(model=MODEL, started=True, warning=warning)
    agent.script = [
        event(
            1,
            "outcome",
            api.Outcome(
                operation="rollback",
                result="done",
                from_version="1.1.2",
                to_version="1.1.1",
                active_version="1.1.1",
                error=None,
                finished_at=AT,
            ),
        )
    ]
    ran = run("device", "rollback", "1.1.1", "--despite", "leaks-data")
    assert agent.bodies("/v1/rollback")[-1].despite == "leaks-data"
    assert "withdrawn version 1.1.1" in ran.err
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "Went back: 1.1.1 is in use.")


@pytest.mark.parametrize("code", ["release-withdrawn", "release-revoked"])
def test_status_warns_of_the_version_in_use(run: Run, agent: FakeAgent, code: str) -> None:
    """That its publisher took it back, and why."""
    params = {"model": MODEL, "version": "1.1.1", "reason": "leaks-data"}
    agent.models = (model_status(withdrawn=api.ErrorBody(code=code, params=params)),)
    out = run("device", "status").out
    assert "Attention" in out
    assert "leaks-data" in out
    assert f"[{code}]" in out


def test_status_names_what_an_update_waits_for(run: Run, agent: FakeAgent) -> None:
    """Conditions in words, holders by their own names."""
    waits = ("time", "window", "inhibitor:rauc", "hook:door open", "logind:apt")
    agent.models = (model_status(phase="waiting", target_version="1.1.2", waits_for=waits),)
    out = run("device", "status").out
    for text in ("the time that you named", "the time of day", "“rauc”", "“door open”", "“apt”"):
        assert text in out
