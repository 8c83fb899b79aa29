"""`modelota device page`: the link, and when a browser is opened with it."""

from __future__ import annotations

import os
import webbrowser

import pytest
from tests.cli.conftest import Run
from tests.cli.fake_agent import FakeAgent

from modelota.cli import device_page
from modelota.spec.api_owner import PageLink, PageRequest

URL = "http://127.0.0.1:8491/open/abc"


@pytest.fixture
def opened(agent: FakeAgent, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is opened in the browser of a user with a display, who is not root."""
    agent.answers["/v1/page"] = PageLink(url=URL, expires_s=120)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: found.append(url) or True)
    return found


def test_it_prints_the_link_and_opens_it(run: Run, agent: FakeAgent, opened: list[str]) -> None:
    """The link leads where the user wants, in their language."""
    ran = run("device", "page", "--path", "/history", "--lang", "zh")
    assert ran.status == 0
    assert URL in ran.out.splitlines()
    assert opened == [URL]
    assert agent.asked == [("POST", "/v1/page", PageRequest(path="/history", language="zh-CN"))]


def test_it_opens_nothing_where_it_should_not(run: Run, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Not when told so, not for programs, not without a display, and not as root: command lines can be read by all."""
    assert URL in run("device", "page", "--no-browser").out
    assert run("device", "page", "--json").json == {"url": URL, "expires_s": 120}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert URL in run("device", "page").out
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert URL in run("device", "page").out
    assert opened == []


def test_over_ssh_it_says_how_to_reach_the_page(run: Run, opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The page answers for its own port alone, so the same number has to be carried over."""
    assert "ssh" not in run("device", "page", "--no-browser").out
    monkeypatch.setenv("SSH_CONNECTION", "192.0.2.1 50000 192.0.2.2 22")
    assert "ssh -L 8491:127.0.0.1:8491" in run("device", "page", "--no-browser").out
    assert run("device", "page", "--json").json == {"url": URL, "expires_s": 120}


def test_without_an_agent_that_stays_there_is_no_page(run: Run) -> None:
    """The command says what to start."""
    ran = run("device", "page", "--json")
    assert ran.status == 75
    assert ran.json["error"]["code"] == "agent-not-running"


@pytest.mark.parametrize(
    "path", ["history", "//evil.example", "/\\evil.example", "https://evil.example", "/a\nb", "/" + "x" * 600]
)
def test_a_path_is_one_of_the_page(run: Run, opened: list[str], path: str) -> None:
    """Anything else is refused before anybody is asked."""
    ran = run("device", "page", "--path", path, "--json")
    assert ran.json["error"]["code"] == "argument-invalid"
    assert opened == []


def test_who_may_open_a_browser(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wayland counts as a display."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert device_page.may_open()
