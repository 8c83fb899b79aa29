"""The scripts beside RAUC and Mender, run as they are written, against a real agent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_power_loss import wait_until

MISSING = [tool for tool in ("sh", "curl", "grep", "sed") if shutil.which(tool) is None]

pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"the scripts need {MISSING}")

Script = Callable[..., int]


@pytest.fixture
def device(tmp_path: Path) -> DeviceUnderTest:
    """An enrolled device that is not running, and something to install on it."""
    publisher = Publisher(tmp_path)
    answers = {"Who are you?": "I am the assistant, version 1.1.1."}
    publisher.publish("1.1.1", fake_model(answers=answers, start_delay_s=1.0), kind="feature")
    device = publisher.device()
    config = device.root / "config.toml"
    config.write_text(f"{config.read_text()}[gates]\npoll_s = 1\n")
    return device


@pytest.fixture
def script(device: DeviceUnderTest, repository_root: Path) -> Script:
    """Run a script of the example as its updater would; returns its exit status."""
    place = repository_root / "examples" / "os-updaters"
    environment = {
        "PATH": os.environ["PATH"],
        "MODELOTA_SOCKET": str(device.layout.agent_socket),
        "MODELOTA_INHIBIT": str(place / "inhibit.sh"),
    }

    def run(name: str, *words: str) -> int:
        return subprocess.run([str(place / name), *words], env=environment, timeout=200, check=False).returncode

    return run


def held(device: DeviceUnderTest) -> list[tuple[str, str]]:
    """Holders and their reasons."""
    return [(view["holder"], view["reason"]) for view in device.ask("GET", "/v1/inhibitors")["inhibitors"]]


def begin(device: DeviceUnderTest) -> None:
    """Have an update decided."""
    offer = device.check()
    device.decide(offer["digest"])


def test_a_system_update_by_rauc(device: DeviceUnderTest, script: Script) -> None:
    """Updates wait from before the installation until after the reboot, and then go on by themselves."""
    with device.running():
        assert script("rauc/pre-install.sh") == 0
        assert held(device) == [("rauc", "system update")]
        begin(device)
        wait_until(lambda: device.status()["waits_for"] == ["inhibitor:rauc"])
        assert script("rauc/post-install.sh") == 0
        assert held(device) == [("rauc", "reboot into the new system")]
        device.kill()  # the reboot
        device.start()
        wait_until(lambda: device.status()["waits_for"] == ["inhibitor:rauc"])
        assert script("inhibit.sh", "release", "rauc") == 0
        assert held(device) == []
        assert device.settle()["active_version"] == "1.1.1"


def test_a_system_update_by_mender(device: DeviceUnderTest, script: Script) -> None:
    """The same by states: however often a script is repeated, one inhibitor; back at idle, none."""
    with device.running():
        for _ in range(2):
            assert script("mender/Download_Enter_00_modelota") == 0
        assert held(device) == [("mender", "system update")]
        begin(device)
        wait_until(lambda: device.status()["waits_for"] == ["inhibitor:mender"])
        device.kill()
        device.start()
        for _ in range(2):
            assert script("mender/Idle_Enter_00_modelota") == 0
        assert held(device) == []
        assert device.settle()["active_version"] == "1.1.1"


def test_a_switch_under_way_is_waited_for(device: DeviceUnderTest, script: Script) -> None:
    """While the new engine starts, Mender is asked to come back and RAUC's handler takes its time."""
    with device.running():
        assert script("inhibit.sh", "busy") == 1
        begin(device)
        device.wait("activating")
        assert script("inhibit.sh", "busy") == 0
        assert script("mender/Download_Enter_00_modelota") == 21
        assert script("rauc/pre-install.sh") == 0
        assert device.status()["phase"] not in {"activating", "rolling-back"}


def test_a_system_update_does_not_depend_on_modelota(device: DeviceUnderTest, script: Script) -> None:
    """Without an agent every handler lets the system go on, and the shared script says that nobody answers."""
    for name in ("rauc/pre-install.sh", "rauc/post-install.sh"):
        assert script(name) == 0
    for name in ("mender/Download_Enter_00_modelota", "mender/Idle_Enter_00_modelota"):
        assert script(name) == 0
    assert script("inhibit.sh", "take", "rauc", "x", "60") == 69
    assert script("inhibit.sh", "release", "rauc") == 69
    assert script("inhibit.sh", "busy") == 69
    assert script("inhibit.sh") == 64


def test_a_refusal_is_told(device: DeviceUnderTest, script: Script, capfd: pytest.CaptureFixture[str]) -> None:
    """What the agent refuses is an error with its code, and no inhibitor."""
    with device.running():
        assert script("inhibit.sh", "take", "rauc", "x", "999999999") == 1
        assert "request-invalid" in capfd.readouterr().err
        assert held(device) == []
