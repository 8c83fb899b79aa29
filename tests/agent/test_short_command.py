"""Short commands: a status, a little text, a time limit, and nothing that stays behind."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import pytest

from modelota.agent.short_command import OUTPUT_MAX_BYTES, run_briefly


def script(place: Path, body: str) -> str:
    """An executable that does `body`."""
    path = place / "command"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


async def gone(pid: int) -> bool:
    """Whether the process ends within a few seconds; whoever inherits it may take a moment to see it."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        await asyncio.sleep(0.01)
    return False


async def test_status_and_output(tmp_path: Path) -> None:
    """Exit status and standard output are told; standard error is not."""
    ended = await run_briefly((script(tmp_path, 'echo "said $1"; echo no >&2; exit 75'), "it"), timeout_s=10)
    assert (ended.status, ended.output, ended.reason) == (75, b"said it\n", None)


async def test_nothing_of_the_environment_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command sees a path and a language, no secret of whoever started the agent, and no input."""
    monkeypatch.setenv("MODELOTA_PASSPHRASE", "secret")
    ended = await run_briefly(("/usr/bin/env",), timeout_s=10)
    names = {line.partition(b"=")[0] for line in ended.output.splitlines()}
    assert names == {b"PATH", b"LANG"}
    assert (await run_briefly(("cat",), timeout_s=10)).status == 0


async def test_arguments_are_no_shell_text(tmp_path: Path) -> None:
    """What looks like a command stays an argument."""
    ended = await run_briefly((script(tmp_path, 'printf %s "$1"'), "; exit 3 $(id)"), timeout_s=10)
    assert (ended.status, ended.output) == (0, b"; exit 3 $(id)")


async def test_a_hanging_command_is_killed_with_all_it_started(tmp_path: Path) -> None:
    """After the limit neither the command nor its children live, though they ignore being asked."""
    pids = tmp_path / "pids"
    body = f"trap '' TERM; sleep 300 & echo $$ $! > {pids}; wait"
    started = time.monotonic()
    ended = await run_briefly((script(tmp_path, body),), timeout_s=0.5)
    assert (ended.status, ended.reason) == (None, "timeout")
    assert time.monotonic() - started < 10
    for pid in map(int, pids.read_text().split()):
        assert await gone(pid)


async def test_the_event_loop_goes_on(tmp_path: Path) -> None:
    """While a command runs, others are served."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    task = asyncio.create_task(others())
    await run_briefly(("sleep", "0.3"), timeout_s=10)
    task.cancel()
    assert turns > 5


async def test_a_process_that_left_the_group_holds_nobody(tmp_path: Path) -> None:
    """A daemon with the command's output in its hands does not keep the agent waiting."""
    pids = tmp_path / "pids"
    body = f"setsid sh -c 'echo $$ > {pids}; exec sleep 30' & while [ ! -s {pids} ]; do :; done; echo done"
    started = time.monotonic()
    ended = await run_briefly((script(tmp_path, body),), timeout_s=20)
    os.kill(int(pids.read_text()), 9)
    assert (ended.status, ended.output) == (0, b"done\n")
    assert time.monotonic() - started < 15


async def test_output_is_bounded(tmp_path: Path) -> None:
    """What a command prints without end fails in the command, and costs the agent a bounded piece of memory."""
    ended = await run_briefly(("head", "-c", str(4 * OUTPUT_MAX_BYTES), "/dev/urandom"), timeout_s=20)
    assert ended.status != 0
    assert len(ended.output) <= OUTPUT_MAX_BYTES


@pytest.mark.parametrize("argv", [("/nowhere/hook",), ("/etc/passwd",), ("/",), ("a\0b",)])
async def test_what_cannot_be_started_is_a_reason(argv: tuple[str, ...]) -> None:
    """Missing, not executable, a directory, impossible: told, not raised."""
    ended = await run_briefly(argv, timeout_s=5)
    assert ended.status is None
    assert ended.reason
