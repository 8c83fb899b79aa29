"""Running the command line in this process, against an agent that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.cli.fake_agent import FakeAgent

from modelota.cli import agent_access
from modelota.cli.main import main


class Ran(NamedTuple):
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON value on standard output."""
        (line,) = self.out.splitlines()
        return json.loads(line)

    @property
    def lines(self) -> list[Any]:
        """The JSON values on standard output, one per line."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """English, no settings of the developer's own, and a home of its own."""
    for name in ("MODELOTA_LANG", "LC_ALL", "LC_MESSAGES", "MODELOTA_ROOT", "MODELOTA_REPO", "MODELOTA_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", "en_GB.UTF-8")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TZ", "UTC")


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Run `modelota` with words; returns status and output."""

    def call(*words: str) -> Ran:
        capfd.readouterr()
        status = main(list(words))
        out, err = capfd.readouterr()
        return Ran(status, out, err)

    return call


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> FakeAgent:
    """An agent with 1.1.1 in use and 1.1.2 to offer, reached instead of any real one."""
    fake = FakeAgent()
    monkeypatch.setattr(agent_access, "open_access", fake.opener())
    return fake
