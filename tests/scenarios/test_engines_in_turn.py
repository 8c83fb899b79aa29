"""Which engine answers while versions follow each other quickly, and who may reach it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_power_loss import wait_until

MODEL = "acme/assistant"
LONG_WORDS = 160


def slow_model(version: str) -> bytes:
    """A model that knows who it is, and takes its time for anything else."""
    return fake_model(
        answers={"Who are you?": f"I am the assistant, version {version}."},
        default=" ".join(["word"] * LONG_WORDS),
        token_delay_s=0.05,
    )


def test_going_back_while_the_old_engine_still_answers(publisher: Publisher) -> None:
    """A version that comes back while its former engine finishes a request runs beside it, and goes on after it."""
    publisher.publish("1.1.1", slow_model("1.1.1"), kind="feature")
    device = publisher.device()
    with device.running():
        device.update()
        publisher.publish("1.1.2")
        answers: list[str] = []

        def ask_at_length() -> None:
            body = {"messages": [{"role": "user", "content": "Tell me."}], "max_tokens": LONG_WORDS}
            where = device.layout.gateway_socket
            _, answer = device.request("POST", "/v1/chat/completions", body, socket_path=where)
            answers.append(answer["choices"][0]["message"]["content"])

        device.chat("Who are you?")
        long = threading.Thread(target=ask_at_length)
        long.start()
        device.update()
        device.ask("POST", "/v1/rollback", {})
        assert device.settle()["active_version"] == "1.1.1"
        assert not answers, "the long answer ended too early for this test"
        assert "version 1.1.1" in device.chat("Who are you?")
        long.join()
        assert answers[0].split() == ["word"] * LONG_WORDS
        wait_until(lambda: len(list(device.layout.engine_sockets.iterdir())) == 1)
        assert "version 1.1.1" in device.chat("Who are you?")


@pytest.fixture
def shared() -> Iterator[tuple[Publisher, DeviceUnderTest]]:
    """A device whose group is `daemon`, in a place that everyone may pass through."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    place = Path(tempfile.mkdtemp(prefix="modelota-group-", dir="/tmp"))
    place.chmod(0o711)
    publisher = Publisher(place)
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    config = device.root / "config.toml"
    config.chmod(0o600)
    config.write_text(config.read_text() + '[access]\ngroup = "daemon"\n')
    yield publisher, device
    if device.alive:
        device.stop()
    for folder in device.root.rglob("*"):
        if folder.is_dir() and not folder.is_symlink():
            folder.chmod(0o700)
    shutil.rmtree(place)


AS_MEMBER = """
import grp, os, socket, sys
os.setgroups([grp.getgrnam("daemon").gr_gid]); os.setgid(65534); os.setuid(65534)
def may(path, act):
    try: act(path)
    except PermissionError: return False
    return True
def connect(path):
    with socket.socket(socket.AF_UNIX) as peer: peer.connect(path)
for word in sys.argv[1:]:
    kind, _, path = word.partition("=")
    act = {"connect": connect, "list": os.listdir, "stat": os.stat, "open": lambda path: open(path, "rb").close()}[kind]
    print(int(may(path, act)))
"""


def test_the_group_reaches_the_two_sockets_and_nothing_else(shared: tuple[Publisher, DeviceUnderTest]) -> None:
    """With the configured group present the engine runs, and a member reaches agent and gateway, no engine, no file."""
    _, device = shared
    device.start()
    assert device.update()["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")
    layout = device.layout
    engine = next(layout.engine_sockets.iterdir())
    assert stat.S_IMODE(layout.engine_sockets.stat().st_mode) == 0o700
    asked = {
        f"connect={layout.agent_socket}": True,
        f"connect={layout.gateway_socket}": True,
        f"connect={engine}": False,
        f"list={layout.root}": False,
        f"list={layout.runtime_directory}": False,
        f"list={layout.root / 'models'}": False,
        f"stat={layout.model(MODEL).current}": False,
        f"open={layout.database}": False,
        f"open={layout.config}": False,
        f"list={layout.log}": False,
        f"list={layout.trust_cache}": False,
    }
    member = subprocess.run(
        [sys.executable, "-I", "-c", AS_MEMBER, *asked], capture_output=True, text=True, check=True, cwd="/"
    )
    found = dict(zip(asked, (word == "1" for word in member.stdout.split()), strict=True))
    assert found == asked
