"""What the device has and did, as text and as JSON."""

from __future__ import annotations

import msgspec
from tests.cli.conftest import Run
from tests.cli.fake_agent import AT, FakeAgent, model_status, offer_view, outcome

from modelota.spec import api


def test_status_at_rest(run: Run, agent: FakeAgent) -> None:
    """Version, phase, engine, agent and repository are named."""
    out = run("device", "status").out
    assert "1.1.1 (variant q8)" in out
    assert "nothing under way" in out
    assert "https://models.example.com" in out
    assert "running (0.1.0)" in out


def test_status_of_a_paused_update(run: Run, agent: FakeAgent) -> None:
    """A pause says what it waits for and why; the last outcome says what happened."""
    error = api.ErrorBody(code="no-space", params={"path": "/d", "need_bytes": 10, "free_bytes": 0})
    failed = outcome("failed", error=api.ErrorBody(code="self-test-failed", params={"test": "units"}))
    agent.models = (
        model_status(
            phase="fetching",
            target_version="1.1.2",
            paused=True,
            waits_for=("no-space",),
            error=error,
            progress=api.Progress(step="fetching", done=1_000_000, total=2_000_000),
            watch_until=AT,
            offer=offer_view(),
            last_outcome=failed,
            last_checked_at=AT,
            previous_version="1.1.1",
        ),
    )
    out = run("device", "status").out
    assert "downloading (version 1.1.2), paused" in out
    assert "1.0 MB of 2.0 MB (50 %)" in out
    assert "free space" in out
    assert "10 B are needed, 0 B are free. [no-space]" in out
    assert "did not pass the self-test “units”" in out
    assert "Version 1.1.1 stays in use and works as before." in out
    assert "2026-11-24 06:00" in out
    chinese = run("device", "status", "--lang", "zh").out
    assert "正在下载（版本 1.1.2），已暂停" in chinese


def test_status_as_json(run: Run, agent: FakeAgent) -> None:
    """The agent's answer, unchanged."""
    status = msgspec.convert(run("device", "status", "--json").json, api.Status)
    assert status.models[0].active_version == "1.1.1"


def test_versions(run: Run, agent: FakeAgent) -> None:
    """One row per version, aligned, with what failed here."""
    agent.answers["/v1/versions"] = api.VersionsPage(
        model="acme/assistant",
        versions=(
            api.VersionView(version="1.1.3", variant=None, state="available", failed=True, notes={"en": "Bad."}),
            api.VersionView(version="1.1.2", variant="q8", state="active", size_bytes=38_000_000, installed_at=AT),
        ),
    )
    lines = run("device", "versions", "--model", "acme/assistant").out.splitlines()
    assert lines[0] == "acme/assistant"
    assert lines[2].split() == ["1.1.3", "–", "available,", "failed", "here", "–", "–", "–", "Bad."]
    assert lines[3].split()[:5] == ["1.1.2", "q8", "in", "use", "38"]
    assert ("GET", "/v1/versions", {"model": "acme/assistant"}) in agent.asked
    assert len(run("device", "versions", "--json").json["versions"]) == 2


def test_log(run: Run, agent: FakeAgent) -> None:
    """Entries are sentences; a name of a newer agent is printed as it is, without control characters."""
    agent.answers["/v1/log"] = api.LogPage(
        entries=(
            api.LogEntry(
                seq=1, at=AT, model="acme/assistant", event="decided", facts={"answer": "accept", "digest": "ab"}
            ),
            api.LogEntry(seq=2, at=AT, model="", event="teleported", facts={"to": "mars\x1b[2J"}),
        )
    )
    lines = run("device", "log", "--after", "0").out.splitlines()
    assert lines[0].endswith("The answer to the offer ab was “accept”.")
    assert lines[1].endswith("teleported to=mars�[2J")
    assert [entry["seq"] for entry in run("device", "log", "--json").lines] == [1, 2]
