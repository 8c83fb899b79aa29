"""The agent runs in an interpreter of its own, says when it is ready, and stops cleanly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cli.conftest import Run

from modelota.cli.options import device_root
from modelota.cli.run_agent import command_line
from modelota.cli.session import Session


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A directory with a short name."""
    with tempfile.TemporaryDirectory(prefix="mo-") as name:
        yield Path(name)


def test_command_line() -> None:
    """Language and form are passed on."""
    words = command_line(Path("/d"), Session("zh-CN", as_json=True))
    assert words == [sys.executable, "-P", "-m", "modelota.cli.run_agent", "/d", "--lang", "zh-CN", "--json"]


def test_init_run_status_stop(run: Run, short_path: Path) -> None:
    """A device is set up, its agent started, asked, and stopped; a second agent on the same root is told who."""
    root = short_path / "device"
    assert run("repo", "init", "--dev", "--repo", str(short_path / "repo")).status == 0
    enrolled = run("device", "init", str(short_path / "enroll.toml"), "--root", str(root))
    assert enrolled.status == 0
    assert run("device", "init", str(short_path / "enroll.toml"), "--root", str(root), "--json").json["error"][
        "code"
    ] == ("already-enrolled")
    command = [sys.executable, "-m", "modelota.cli.main", "device", "run", "--root", str(root), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as agent:
        try:
            assert agent.stdout is not None
            assert json.loads(agent.stdout.readline())["root"] == str(root)
            mapped = Path(f"/proc/{agent.pid}/maps").read_text()
            assert "pydantic_core" not in mapped
            status = run("device", "status", "--root", str(root), "--json").json
            assert status["supervisor"]
            second = subprocess.run(command, capture_output=True, text=True, check=False)
            assert second.returncode == 75
            error = json.loads(second.stdout)["error"]
            assert error["code"] == "device-busy"
            assert str(agent.pid) in error["what"]
        finally:
            agent.send_signal(signal.SIGTERM)
        assert agent.wait(timeout=60) == 0
        assert agent.stderr is not None
        assert agent.stderr.read() == ""


def test_run_without_enrolment(short_path: Path) -> None:
    """A root that was never set up is told as such."""
    command = command_line(short_path / "nothing", Session("en", as_json=True))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
    assert done.returncode == 64
    assert json.loads(done.stdout)["error"]["code"] == "not-enrolled"


def test_where_the_root_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given, named by the variable, the system's for root, else the user's own."""
    assert device_root(Path("/x")) == Path("/x")
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert device_root(None) == Path("/var/lib/modelota")
    monkeypatch.setattr("os.getuid", lambda: 1000)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert device_root(None) == tmp_path / ".local/share/modelota"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert device_root(None) == Path("/data/modelota")
    monkeypatch.setenv("MODELOTA_ROOT", "/m")
    assert device_root(None) == Path("/m")
