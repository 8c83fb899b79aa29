"""Fifty updates and rollbacks under load: 0 dropped requests, with the scripted engine and with llama.cpp."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.examples.conftest import Vendor
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_live_switch import Load, talkative, there_and_back

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.testing.device import DeviceUnderTest

SWITCHES = 50

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]


def test_fifty_switches_of_the_scripted_engine(tmp_path: Path) -> None:
    """25 updates by offers and 25 rollbacks to the slot before, with four applications asking."""
    publisher = Publisher(tmp_path)
    publisher.publish("1.1.1", talkative("1.1.1"), kind="feature")
    device = publisher.device()
    with device.running():
        device.update()
        publisher.publish("1.1.2", talkative("1.1.2"))
        device.chat("Who are you?")
        with Load(device) as load:
            there_and_back(device, load, SWITCHES)
    print(f"{len(load.answers)} answers over {SWITCHES} switches, {len(load.failures)} dropped")  # noqa: T201  the figure
    assert load.failures == []


@pytest.mark.engine
def test_fifty_switches_of_llama_cpp(tmp_path: Path, repository_root: Path) -> None:
    """The same with real models of the example family."""
    vendor = Vendor(tmp_path, repository_root / "examples" / "family" / "releases")
    vendor.publish("1.1.1")
    root = tmp_path / "device"
    enrol(vendor.enrolment, root, SystemClock())
    (root / "config.toml").write_text("[checks]\nevery_s = 0\n[fetch]\nretry_after_s = 1\n")
    device = DeviceUnderTest(root)
    with device.running():
        device.update()
        vendor.publish("1.1.2")
        device.chat("Who are you?")
        with Load(device, prompt="How many centimetres are in 2 inches?") as load:
            there_and_back(device, load, SWITCHES)
    print(f"{len(load.answers)} answers over {SWITCHES} switches, {len(load.failures)} dropped")  # noqa: T201  the figure
    assert load.failures == []
