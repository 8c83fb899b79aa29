"""A release that passes every digest and does not work never gets into use, and what does not fit is refused early."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from modelota.testing.network import InstrumentedServer
from tests.scenarios.conftest import Publisher, bad_model, good_model
from tests.scenarios.test_power_loss import wait_until

Installed = tuple[Publisher, DeviceUnderTest]


def tree(directory: Path) -> dict[str, bytes]:
    """Every file below a directory."""
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_a_release_that_fails_its_self_test_goes_back_by_itself(installed: Installed) -> None:
    """The version in use stays untouched, the failed one is removed, told with its reason, and not offered again."""
    publisher, device = installed
    files = device.layout.model("acme/assistant").slot("1.1.1+q8") / "files"
    before = tree(files)
    publisher.publish("1.1.2", bad_model())
    status = device.update()
    outcome = status["last_outcome"]
    assert (status["active_version"], outcome["result"], outcome["to_version"]) == ("1.1.1", "failed", "1.1.2")
    assert outcome["error"]["code"] == "self-test-failed"
    assert (outcome["error"]["now"], outcome["error"]["now_params"]) == ("serving", {"version": "1.1.1"})
    assert "version 1.1.1" in device.chat("Who are you?")
    assert tree(files) == before
    wait_until(lambda: not (device.layout.model("acme/assistant").slots / "1.1.2+q8").exists())
    again = device.ask("POST", "/v1/check", {})[0]
    assert again["offer"] is None
    assert again["refused"][0]["code"] == "release-failed-here"
    events = [entry["event"] for entry in device.log()]
    assert "activated" not in events[events.index("tests-failed") :]


def test_a_release_whose_engine_crashes_or_hangs_goes_back(installed: Installed) -> None:
    """A model that kills its engine, at start or at the first question, never gets into use."""
    publisher, device = installed
    for version, model in (
        ("1.1.2", fake_model(exit_at_start=3)),
        ("1.1.3", fake_model(crash_after=0)),
    ):
        publisher.publish(version, model)
        status = device.update()
        assert status["active_version"] == "1.1.1"
        assert status["last_outcome"]["error"]["code"] in {"engine-start-failed", "engine-crashed", "self-test-failed"}
        assert "version 1.1.1" in device.chat("Who are you?")


def test_a_bad_first_install_leaves_nothing(publisher: Publisher) -> None:
    """On a device without a version a failed install says so and leaves no slot and no link."""
    publisher.publish("1.1.1", bad_model(), kind="feature")
    device = publisher.device()
    with device.running():
        status = device.update()
        assert status["active_version"] is None
        assert status["last_outcome"]["error"]["now"] == "not-installed"
        model = device.layout.model("acme/assistant")
        wait_until(lambda: not any(model.slots.iterdir()))
        assert not model.current.is_symlink()


def test_crashes_after_activation_bring_the_version_before_back(installed: Installed) -> None:
    """Three crashes of the engine within the watch window go back by themselves (clause 6.3-a)."""
    publisher, device = installed
    publisher.publish("1.1.2")
    assert device.update()["active_version"] == "1.1.2"
    for _ in range(3):
        device.chat("Who are you?")
        wait_until(lambda: device.status()["engine"] == "running")
        engine = engine_of(device, "1.1.2")
        os.kill(engine, signal.SIGKILL)
        wait_until(lambda engine=engine: not Path(f"/proc/{engine}").exists() or device.status()["engine"] != "running")
    wait_until(lambda: device.status()["active_version"] == "1.1.1")
    outcome = device.settle()["last_outcome"]
    assert (outcome["result"], outcome["error"]["code"], outcome["error"]["now"]) == (
        "failed",
        "engine-crashed",
        "returned",
    )
    assert "version 1.1.1" in device.chat("Who are you?")


def engine_of(device: DeviceUnderTest, version: str) -> int:
    """Process id of the engine child that serves `version`."""
    children = Path(f"/proc/{device.pid}/task/{device.pid}/children").read_text().split()
    for child in children:
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        working = str(Path(f"/proc/{child}/cwd").readlink())
        if b"command_child" in command and f"{version}+q8" in working:
            return int(child)
    raise AssertionError(f"no engine of {version} among {children}")


def test_too_little_memory_is_refused_before_anything_is_fetched(publisher: Publisher) -> None:
    """Preflight names requirement, need and finding, and no byte of content is fetched (clause 7.1.1)."""
    publisher.publish("1.1.1", memory_bytes=1 << 60, kind="feature")
    with InstrumentedServer(publisher.public) as server:
        device = publisher.device(url=server.url)
        with device.running():
            result = device.ask("POST", "/v1/check", {})[0]
        assert result["offer"] is None
        refused = result["refused"][0]
        assert refused["code"] == "requirement-not-met"
        assert refused["params"]["requirement"] == "memory"
        assert refused["params"]["need"] == 1 << 60
        assert server.sent_bytes("packs/*") == 0


def test_rollback_by_hand_and_by_fetching(installed: Installed) -> None:
    """Back to the kept version at once; back to one that is no longer kept by an offer, like any other change."""
    publisher, device = installed
    for version in ("1.1.2", "1.1.3"):
        publisher.publish(version)
        device.update()
    result = device.ask("POST", "/v1/rollback", {"version": "1.1.1"})
    assert not result["started"]
    offer = result["offer"]
    assert (offer["offer"]["direction"], offer["offer"]["to_version"]) == ("rollback", "1.1.1")
    device.show(offer["digest"])
    device.decide(offer["digest"])
    assert device.settle()["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")
    assert device.request("POST", "/v1/rollback", {})[1]["code"] == "nothing-to-roll-back"


def test_a_second_agent_is_told_who_owns_the_root(installed: Installed) -> None:
    """A second supervisor on the same root refuses, naming the first one's process."""
    _, device = installed
    script = (
        "import asyncio, json, sys; from pathlib import Path\n"
        "from modelota.agent import Agent\n"
        "from modelota.errors import ModelotaError\n"
        "try: asyncio.run(Agent.open(Path(sys.argv[1])))\n"
        "except ModelotaError as error: print(json.dumps([error.code, error.params['holder']]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(device.root)], capture_output=True, text=True, check=True, timeout=60
    )
    assert json.loads(done.stdout) == ["device-busy", str(device.pid)]


def test_a_changed_file_of_the_slot_is_not_served(installed: Installed) -> None:
    """One changed byte in the version in use is seen at the next engine start: nothing unverified is loaded."""
    _, device = installed
    device.stop()
    model = device.layout.model("acme/assistant").slot("1.1.1+q8") / "files" / "model.bin"
    data = good_model("6.6.6")
    model.chmod(0o644)
    model.write_bytes(data)
    with device.running():
        status, answer = device.request("POST", "/v1/chat", {})
        assert status >= 400
        assert answer["code"] == "slot-damaged"


def test_a_version_that_was_left_comes_back_only_when_asked_for(installed: Installed) -> None:
    """After going back by hand the version is not offered unasked; asking for it by its number offers it."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    device.ask("POST", "/v1/rollback", {})
    assert device.settle()["active_version"] == "1.1.1"
    result = device.ask("POST", "/v1/check", {})[0]
    assert (result["offer"], result["up_to_date"]) == (None, True)
    offer = device.ask("POST", "/v1/check", {"version": "1.1.2"})[0]["offer"]
    assert offer["offer"]["to_version"] == "1.1.2"
    assert device.request("POST", "/v1/check", {"version": "9.9.9"})[1]["code"] == "version-not-kept"
    device.show(offer["digest"])
    device.decide(offer["digest"])
    assert device.settle()["active_version"] == "1.1.2"
