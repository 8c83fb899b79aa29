"""`modelota device notify`: the process it becomes, and the entry that starts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Run

from modelota.cli import run_notifier
from modelota.cli.session import Session
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases


@pytest.fixture
def root(run: Run, tmp_path: Path) -> Path:
    """A device root without a model."""
    init(tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    place = tmp_path / "root"
    assert run("device", "init", str(tmp_path / "enroll.toml"), "--root", str(place)).status == 0
    return place


def test_the_entry_comes_and_goes(run: Run, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is told, in both forms; removing tells each path, and when there is nothing."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    words = ("device", "notify", "--root", str(root))
    entry = tmp_path / "config" / "autostart" / "modelota-notify.desktop"
    assert run("--json", *words, "--install", "--user").json == {"entry": str(entry), "scope": "user"}
    assert f"device notify --root {root}" in entry.read_text()
    assert str(entry) in run(*words, "--install", "--user").out
    assert run("--json", *words, "--remove").json["removed"][0] == str(entry)
    assert "No session starts this" in run(*words, "--remove").out


@pytest.mark.parametrize("options", [("--install", "--remove"), ("--install", "--system", "--user")])
def test_contradictions(run: Run, root: Path, options: tuple[str, ...]) -> None:
    """Both at once is a mistake."""
    ended = run("--json", "device", "notify", "--root", str(root), *options)
    assert ended.json["error"]["code"] == "argument-invalid"


def test_it_becomes_a_small_process(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command takes an interpreter of its own, which speaks the same language in the same form."""
    became: list[Any] = []
    monkeypatch.setattr(os, "execv", lambda *words: became.append(words))
    run("--json", "--lang", "zh", "device", "notify", "--root", str(tmp_path))
    words = run_notifier.command_line(tmp_path, Session("zh-CN", as_json=True))
    assert became == [(sys.executable, words)]
    assert words[-4:] == [str(tmp_path), "--lang", "zh-CN", "--json"]


def test_without_a_session_it_says_so(tmp_path: Path) -> None:
    """Outside a desktop session the process ends with an error that says what to do instead."""
    environment = {name: value for name, value in os.environ.items() if name != "DBUS_SESSION_BUS_ADDRESS"}
    environment["XDG_RUNTIME_DIR"] = str(tmp_path)
    command = run_notifier.command_line(tmp_path, Session("en", as_json=False))
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 64
    assert "no-session-bus" in done.stderr
    assert "hook" in done.stderr
