"""Deciding: what is shown, what is asked, what reaches the agent, how the end is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_agent import FakeAgent, event, model_status, offer_view, outcome

from modelota.cli import device_decide, question
from modelota.errors import AskPerson, TryLater
from modelota.spec import api

DIGEST = offer_view().digest


@pytest.fixture
def at_terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Somebody sits at a terminal and answers what the test says."""
    answers: list[str] = []
    monkeypatch.setattr(device_decide, "can_ask", lambda session: not session.as_json)
    monkeypatch.setattr(device_decide, "ask_answer", lambda session: question.ask_answer(session, _pop(answers)))
    yield answers
    assert not answers, "not every answer was asked for"


def _pop(answers: list[str]):  # noqa: ANN202  a reader of lines
    async def read(_prompt: str) -> str | None:
        return answers.pop(0)

    return read


def _play_success(agent: FakeAgent) -> None:
    agent.script = [
        event(1, "phase", {"phase": "fetching"}),
        event(
            2, "progress", api.Progress(step="fetching", done=19_000_000, total=38_000_000, rate_per_s=3e6, left_s=6.0)
        ),
        event(3, "outcome", outcome()),
    ]
    agent.after_script = (model_status(active_version="1.1.2", last_outcome=outcome()),)


def test_check_shows_the_offer_and_says_so(run: Run, agent: FakeAgent) -> None:
    """The whole offer with its digest is printed, and the agent is told exactly this text."""
    ran = run("device", "check")
    assert ran.status == 0
    (shown,) = agent.bodies("/v1/shown")
    assert shown.offer_digest == DIGEST
    assert shown.language == "en"
    assert shown.channel == "script"
    assert shown.text in ran.out
    assert DIGEST in shown.text
    assert f"--accept {DIGEST}" in ran.out


def test_check_in_chinese(run: Run, agent: FakeAgent) -> None:
    """In Chinese the model goes by the name people call it."""
    ran = run("device", "check", "--lang", "zh")
    assert ran.out.startswith("小助手 1.1.2 可更新 · 修正单位换算 · 下载 38 MB（全量包） · 约 6 分钟，期间可继续使用")
    assert agent.bodies("/v1/shown")[0].language == "zh-CN"


def test_check_as_json(run: Run, agent: FakeAgent) -> None:
    """One object with the results, and the text that counts as shown."""
    found = run("device", "check", "--json").json
    assert found["results"][0]["offer"]["digest"] == DIGEST
    assert found["texts"][DIGEST] == agent.bodies("/v1/shown")[0].text


def test_check_names_the_root_it_was_given(run: Run, agent: FakeAgent) -> None:
    """The command to accept works as printed."""
    assert f"--accept {DIGEST} --root /elsewhere" in run("device", "check", "--root", "/elsewhere").out


def test_check_up_to_date(run: Run, agent: FakeAgent) -> None:
    """Nothing newer is not an error, and nothing is noted as shown."""
    agent.offer = None
    ran = run("device", "check")
    assert ran.status == 0
    assert ran.out == "acme/assistant is up to date.\n"
    assert not agent.bodies("/v1/shown")


def test_check_says_why_a_release_cannot_be_used(run: Run, agent: FakeAgent) -> None:
    """A newer release that this device can't run is named with reason and remedy."""
    agent.offer = None
    agent.refused = (api.ErrorBody(code="requirement-not-met", params={"requirement": "memory", "need": "8 GB"}),)
    ran = run("device", "check")
    assert "“memory”: needed 8 GB, found unknown" in ran.out
    assert "[requirement-not-met]" in ran.out


def test_update_asks_and_follows(run: Run, agent: FakeAgent, at_terminal: list[str]) -> None:
    """Enter decides nothing; accepting sends the digest that was shown; the end is told."""
    at_terminal += ["", "a"]
    _play_success(agent)
    ran = run("device", "update")
    assert ran.status == 0
    assert "Enter alone decides nothing" in ran.out
    (decision,) = agent.bodies("/v1/decisions")
    assert (decision.offer_digest, decision.answer, decision.channel) == (DIGEST, "accept", "terminal")
    paths = [path for _, path, _ in agent.asked]
    assert paths.index("/v1/shown") < paths.index("/v1/decisions")
    assert "19 MB of 38 MB (50 %) · 3.0 MB/s · a few seconds left" in ran.out
    assert ran.out.rstrip().endswith("Updated: 1.1.2 is in use.")
    assert agent.closed


@pytest.mark.parametrize(("typed", "answer"), [("l", "later"), ("s", "skip"), ("d", "decline")])
def test_update_other_answers(run: Run, agent: FakeAgent, at_terminal: list[str], typed: str, answer: str) -> None:
    """Any other answer is passed on, changes nothing, and is no failure."""
    at_terminal.append(typed)
    ran = run("device", "update")
    assert ran.status == 0
    assert [body.answer for body in agent.bodies("/v1/decisions")] == [answer]
    assert "Nothing was changed" in ran.out


def test_update_without_a_person(run: Run, agent: FakeAgent) -> None:
    """Where nobody can be asked nothing is even looked for: only whether something was agreed to before."""
    for words in (["device", "update"], ["device", "update", "--json"]):
        ran = run(*words)
        assert ran.status == 64
        assert "decision-required" in ran.out + ran.err
    assert {path for _, path, _ in agent.asked} == {"/v1/status"}


def test_accept_needs_a_digest(run: Run, agent: FakeAgent) -> None:
    """A word that is no digest does not reach the agent."""
    ran = run("device", "update", "--accept", "latest", "--json")
    assert ran.json["error"]["params"]["detail"] == "not-a-digest"
    assert agent.asked == []


def test_accept_does_not_show(run: Run, agent: FakeAgent) -> None:
    """Accepting never counts as showing: the agent alone judges whether the offer was shown."""
    agent.errors["/v1/decisions"] = (AskPerson("offer-not-shown", digest=DIGEST), "serving", {"version": "1.1.1"})
    ran = run("device", "update", "--accept", DIGEST)
    assert ran.status == 64
    assert not agent.bodies("/v1/shown")
    assert "offer-not-shown" in ran.err
    assert "Version 1.1.1 stays in use and works as before." in ran.err


def test_accept_streams_json(run: Run, agent: FakeAgent) -> None:
    """With --json: the events as they come, the outcome last, nothing else."""
    _play_success(agent)
    ran = run("device", "update", "--accept", DIGEST, "--json")
    assert ran.status == 0
    assert [line["kind"] for line in ran.lines[:-1]] == ["phase", "progress", "outcome"]
    assert ran.lines[-1]["outcome"]["result"] == "done"
    assert ran.err == ""
    assert agent.bodies("/v1/decisions")[0].channel == "script"


def test_failed_update_says_three_things(run: Run, agent: FakeAgent) -> None:
    """What happened, how the device is now, what to do, and the code; the status is the error's."""
    error = api.ErrorBody(
        code="self-test-failed", params={"test": "units"}, now="returned", now_params={"version": "1.1.1"}
    )
    failed = outcome("failed", error=error)
    agent.script = [event(1, "outcome", failed)]
    ran = run("device", "update", "--accept", DIGEST)
    assert ran.status == 65
    assert "The update to 1.1.2 did not succeed." in ran.out
    assert "did not pass the self-test “units”" in ran.out
    assert "The device went back to version 1.1.1, which is in use." in ran.out
    assert "Nothing to do." in ran.out
    assert "self-test-failed" in ran.out


def test_missed_events_are_found_in_the_status(run: Run, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the stream says nothing the outcome is still told."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.01)
    agent.after_script = (model_status(active_version="1.1.2", last_outcome=outcome()),)
    assert "1.1.2 is in use" in run("device", "update", "--accept", DIGEST).out


@pytest.mark.parametrize(
    ("status", "code", "exit_status"),
    [
        (
            model_status(
                phase="fetching",
                target_version="1.1.2",
                paused=True,
                waits_for=("network-interrupted",),
                error=api.ErrorBody(code="network-interrupted", params={"url": "https://models.example.com"}),
            ),
            "network-interrupted",
            75,
        ),
        (
            model_status(phase="fetching", target_version="1.1.2", paused=True, waits_for=("person",)),
            "update-paused",
            64,
        ),
        (
            model_status(phase="testing", target_version="1.1.2", paused=True, waits_for=("self-test",)),
            "self-test-inconclusive",
            75,
        ),
    ],
)
def test_a_script_does_not_wait_for_ever(
    run: Run, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch, status: api.ModelStatus, code: str, exit_status: int
) -> None:
    """A paused update ends the command with the reason; what was fetched is kept."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.01)
    agent.after_script = (status,)
    ran = run("device", "update", "--accept", DIGEST)
    assert ran.status == exit_status
    assert code in ran.err
    assert "The update is paused; what was fetched is kept." in ran.err


def test_an_agent_that_goes_away(run: Run, agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that does not come back ends the command."""
    monkeypatch.setattr("modelota.cli.follow._LOOK_AFTER_S", 0.001)

    async def play() -> None:
        agent.errors["/v1/status"] = (TryLater("peer-unreachable", path="/s", detail="gone"), "unknown", {})

    monkeypatch.setattr(agent, "_play", play)
    ran = run("device", "update", "--accept", DIGEST)
    assert ran.status == 75
    assert "peer-unreachable" in ran.err


@pytest.mark.parametrize("action", ["pause", "resume", "cancel"])
def test_control(run: Run, agent: FakeAgent, action: str) -> None:
    """Pause, resume and cancel are passed on and confirmed."""
    ran = run("device", action, "--model", "acme/assistant")
    assert ran.status == 0
    assert ran.out
    assert agent.bodies(f"/v1/{action}") == [api.ControlRequest(model="acme/assistant")]
    assert run("device", action, "--json").json == {"done": action}


def test_resume_without_a_supervisor_stays(run: Run, agent: FakeAgent) -> None:
    """Nobody else would carry the update on, so the command does."""
    agent.embedded = True
    agent.models = (model_status(phase="fetching", target_version="1.1.2", paused=True, waits_for=("person",)),)
    _play_success(agent)
    assert "1.1.2 is in use" in run("device", "resume").out


def test_resume_with_nothing_to_resume(run: Run, agent: FakeAgent) -> None:
    """An agent of our own with nothing under way says so."""
    agent.embedded = True
    assert run("device", "resume", "--json").json["error"]["code"] == "no-update-in-progress"


def test_rollback_to_a_kept_version(run: Run, agent: FakeAgent) -> None:
    """Asking for it is the decision; the end is told."""
    back = outcome(operation="rollback", from_version="1.1.2", to_version="1.1.1", active_version="1.1.1")
    agent.script = [event(1, "outcome", back)]
    ran = run("device", "rollback", "1.1.1")
    assert ran.status == 0
    assert agent.bodies("/v1/rollback")[0].version == "1.1.1"
    assert "Went back: 1.1.1 is in use." in ran.out


def test_rollback_that_has_to_be_fetched(run: Run, agent: FakeAgent) -> None:
    """A version that is not kept is an offer; a script gets it shown and has to accept its digest."""
    agent.answers["/v1/rollback"] = api.RollbackResult(model="acme/assistant", started=False, offer=offer_view())
    ran = run("device", "rollback", "1.1.1")
    assert ran.status == 64
    assert DIGEST in ran.out
    assert "decision-required" in ran.err
    assert agent.bodies("/v1/shown")
    assert not agent.bodies("/v1/decisions")
