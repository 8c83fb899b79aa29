"""Service, keys, factory image and removal of the agent, as commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Run

from modelota.cli import device_leaving
from modelota.cli.main import main
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.repository.enrolment import renew_class_key
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.repository.workspace import Workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return init(tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True).workspace


@pytest.fixture
def root(workspace: Workspace, tmp_path: Path) -> Path:
    """A device root without a model."""
    place = tmp_path / "var" / "root"
    assert main(["--json", "device", "init", str(workspace.path.parent / "enroll.toml"), "--root", str(place)]) == 0
    return place


def test_the_service_comes_and_goes(run: Run, root: Path, tmp_path: Path) -> None:
    """What is written and what is left to do is told; removing tells each path."""
    units = tmp_path / "units"
    words = ("device", "service", "install", "--root", str(root), "--system", "--unit-dir", str(units))
    done = run("--json", *words).json
    assert (done["unit"], done["scope"], done["running"]) == (str(units / "modelota.service"), "system", False)
    told = run(*words)
    assert "nothing was started" in told.out
    if done["missing_group"]:
        assert f"groupadd --system {done['missing_group']}" in told.out
    assert "enable-linger" in run(*words[:5], "--user", "--unit-dir", str(tmp_path / "own"), "--name", "mine").out
    assert run("device", "service", "install", "--root", str(root), "--system", "--user").status == 64
    removed = run("--json", "device", "service", "remove", "--root", str(root)).json["removed"]
    assert str(units / "modelota.service") in removed
    assert not units.exists()
    assert "No service is installed" in run("device", "service", "remove", "--root", str(root)).out


def test_new_keys(run: Run, root: Path, workspace: Workspace) -> None:
    """Which epochs there are now is told, and whether anything was new."""
    _, file = renew_class_key(workspace, workspace.config.classes[0].name)
    words = ("device", "rekey", "--from", str(file), "--root", str(root))
    assert run("--json", *words).json == {"added": [2], "replaced": [], "epochs": [1, 2]}
    again = run(*words)
    assert ("already" in again.out, "1, 2" in again.out) == (True, True)
    assert "1, 2" in run("device", "log", "--root", str(root)).out


def test_the_agent_goes_by_the_digest_of_its_plan(run: Run, root: Path, tmp_path: Path) -> None:
    """Without a terminal the plan is shown and nothing done; its digest carries it out; again tells the same."""
    file = tmp_path / "proof.json"
    words = ("device", "remove-agent", "--proof", str(file), "--root", str(root))
    shown = run("--json", *words)
    plan, refused = shown.lines
    assert (shown.status, refused["error"]["code"]) == (64, "decision-required")
    assert str(root / "agent.db") in {item["path"] for item in plan["plan"]["items"]}
    text = run(*words)
    assert f"--accept {plan['digest']} --root {root}" in text.out
    assert (root.exists(), file.exists()) == (True, False)
    (done,) = run("--json", *words, "--accept", plan["digest"]).lines
    assert {item["result"] for item in done["proof"]["items"]} == {"removed"}
    assert (root.parent.exists(), file.stat().st_mode & 0o777) == (False, 0o600)
    assert run("--json", *words).json["proof"] == done["proof"]
    assert run("device", "clean", "--from", str(file)).status == 0


def test_only_the_word_removes_the_agent(run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal the word is asked for; anything else changes nothing."""
    answers: list[bool] = [False, True]

    async def ask(question: str, words: frozenset[str], *, action: str) -> None:
        assert "Type “remove”" in question
        assert words >= {"remove"}
        if not answers.pop(0):
            raise AskPerson("cancelled-by-user", action=action)

    monkeypatch.setattr(device_leaving, "can_ask", lambda _: True)
    monkeypatch.setattr(device_leaving, "ask_word", ask)
    words = ("device", "remove-agent", "--proof", str(tmp_path / "proof.json"), "--root", str(root))
    assert run(*words).status == 130
    assert root.exists()
    done = run(*words)
    assert (done.status, root.exists()) == (0, False)
    assert str(tmp_path / "proof.json") in done.out


def test_an_image_needs_a_release(run: Run, workspace: Workspace, tmp_path: Path) -> None:
    """What is missing is told by its code."""
    (tmp_path / "image").mkdir()
    keys = str(workspace.path.parent / "enroll.toml")
    done = run("--json", "device", "seed", "--image", str(tmp_path / "image"), "--class-keys", keys)
    assert done.status in {64, 65}
    assert done.json["error"]["code"] == "version-not-kept"
    done = run("--json", "device", "seed", "--image", str(tmp_path / "none"), "--class-keys", keys)
    assert done.json["error"]["params"]["detail"] == "not-a-directory"
