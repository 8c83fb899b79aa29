"""The notifier of an agent inside a session: started, started again ever more seldom, ended with the agent."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.agent.test_short_command import gone, script

from modelota.agent.desktop_child import AGAIN_FIRST_S, AGAIN_MAX_S, keep_notifier, notifier_command
from modelota.clock import SystemClock
from modelota.testing.clock import ManualClock


class Enough(BaseException):
    """Ends the endless loop."""


class ImpatientClock(ManualClock):
    """Ends the loop after some waits."""

    async def sleep(self, seconds: float) -> None:
        if len(self.slept) == 12:
            raise Enough
        await super().sleep(seconds)


async def test_without_a_session_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that runs as a service of the system starts nothing."""
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    await asyncio.wait_for(keep_notifier(tmp_path, "en", ManualClock(), ("/nowhere",)), 10)


@pytest.mark.parametrize("command", ["exit 64", None])
async def test_one_that_breaks_is_started_ever_more_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str | None
) -> None:
    """Whether it ends with an error or can't be started: no loop that costs a device its battery."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    clock = ImpatientClock()
    words = (script(tmp_path, command),) if command else ("/nowhere/notifier",)
    with pytest.raises(Enough):
        await keep_notifier(tmp_path, "en", clock, words)
    assert clock.slept[:3] == [AGAIN_FIRST_S, 2 * AGAIN_FIRST_S, 4 * AGAIN_FIRST_S]
    assert clock.slept[-1] == AGAIN_MAX_S


async def test_it_ends_with_the_agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An agent that stops ends its notifier."""
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    pid = tmp_path / "pid"
    words = (script(tmp_path, f"echo $$ > {pid}; exec sleep 300"),)
    task = asyncio.create_task(keep_notifier(tmp_path, "en", SystemClock(), words))
    async with asyncio.timeout(20):
        while not (pid.exists() and pid.read_text().strip()):  # noqa: ASYNC110  another process has no event
            await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert await gone(int(pid.read_text()))


def test_it_ends_with_its_parent_however_that_ends(tmp_path: Path) -> None:
    """A notifier whose parent is gone already does not begin."""
    command = list(notifier_command(tmp_path, "en"))
    assert command[-2:] == ["--parent", str(os.getpid())]
    command[-1] = "1"  # not this process
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_it_carries_nothing_heavy() -> None:
    """The process that stays with a session loads no library that it does not need."""
    code = (
        "import json, sys; import modelota.cli.run_notifier, modelota.agent.desktop; print(json.dumps([*sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tuf", "numpy", "cryptography", "obstore", "typer", "rich", "litestar", "sqlite3", "jinja2"}
    assert not heavy & {name.partition(".")[0].strip(' "') for name in done.stdout.strip("[]\n").split(",")}
