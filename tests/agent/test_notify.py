"""Signs of life to systemd."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from modelota.agent.enrol import enrol
from modelota.agent.notify import keep_alive, notify, watchdog_s
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.testing.clock import ManualClock


def receiver(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.settimeout(60)
    listener.bind(address)
    return listener


@pytest.mark.parametrize("abstract", [False, True])
def test_a_state_arrives(tmp_path: Path, *, abstract: bool) -> None:
    """On a socket file and in the abstract namespace; nothing happens without a systemd, or when it is gone."""
    name = f"@modelota-{os.getpid()}" if abstract else str(tmp_path / "n")
    with receiver(f"\0{name[1:]}" if abstract else name) as listener:
        notify("READY=1", {"NOTIFY_SOCKET": name})
        assert listener.recv(100) == b"READY=1"
    for environ in ({}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"NOTIFY_SOCKET": name}):
        notify("READY=1", environ)


def test_when_signs_are_owed() -> None:
    """A third of the watchdog's time, for the process it watches only."""
    assert watchdog_s({"WATCHDOG_USEC": "120000000"}) == 40
    assert watchdog_s({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": str(os.getpid())}) == 40
    for environ in ({}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}):
        assert watchdog_s(environ) is None


async def test_signs_of_life(tmp_path: Path) -> None:
    """One at once and one after each wait."""
    environ = {"NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "30000000"}
    clock = ManualClock()
    with receiver(environ["NOTIFY_SOCKET"]) as listener:
        task = asyncio.create_task(keep_alive(clock, environ))
        for _ in range(5):
            await asyncio.sleep(0)
        task.cancel()
        assert {listener.recv(100) for _ in range(3)} == {b"WATCHDOG=1"}
        assert set(clock.slept) == {10}
    await keep_alive(clock, {})  # nothing owed: it ends at once


def test_the_agent_says_when_it_is_ready(tmp_path: Path) -> None:
    """`device run` tells systemd once its socket answers, gives signs of life, and says that it stops."""
    init(tmp_path / "repo", clock=SystemClock(), passphrases=Passphrases(), dev=True)
    root = tmp_path / "r"
    enrol(tmp_path / "enroll.toml", root, SystemClock())
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "n"), "WATCHDOG_USEC": "60000000"}
    with receiver(environment["NOTIFY_SOCKET"]) as listener:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "modelota.cli.main", "device", "run", "--root", str(root)],
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        try:
            seen = set()
            while b"READY=1" not in seen:
                seen.add(listener.recv(100))
            assert (root / "run" / "agent.sock").exists()
            assert b"WATCHDOG=1" in seen
            process.send_signal(signal.SIGTERM)
            while b"STOPPING=1" not in seen:
                seen.add(listener.recv(100))
        finally:
            process.terminate()
            assert process.wait(timeout=60) == 0
