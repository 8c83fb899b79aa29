"""Two versions that keep the user's data in different layouts: neither meets what it can't read (6.3-c)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import pytest

from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from modelota.testing.engine import FOUND_FILE, LAYOUT_FILE, fake_model
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_user_data import MODEL, back, place, release

BEFORE = "before the update"
CARRIED = f"{BEFORE}\ncarried over from layout 1 to 2"
WATCH = "\n[watch]\ncrashes = 1\n"


def model(version: str, layout: int, **script: object) -> bytes:
    """An engine that keeps the user's data in `layout`."""
    answers = {"Who are you?": f"I am the assistant, version {version}."}
    return fake_model(answers=answers, user_data_layout=layout, **script)


@pytest.fixture
def device(publisher: Publisher) -> Iterator[DeviceUnderTest]:
    """A device on 1.1.1, running, with something of its owner's."""
    release(publisher, "1.1.1", 1, model("1.1.1", 1))
    made = publisher.device()
    made.start()
    assert made.update()["active_version"] == "1.1.1"
    (place(made) / "diary").write_text(BEFORE)
    yield made
    if made.alive:
        made.stop()


def found(device: DeviceUnderTest, version: str) -> set[str]:
    """Which layouts the engines of a version have met."""
    slot = device.layout.model(MODEL).slot(f"{version}+q8")
    return {line for path in slot.glob(f"cache/*/{FOUND_FILE}") for line in path.read_text().split()}


def put_beside(device: DeviceUnderTest) -> list[str]:
    """What the diaries say that were put aside."""
    places = sorted(device.layout.model(MODEL).directory.glob("userdata-from-*"))
    return [(path / "diary").read_text() for path in places]


def in_place(device: DeviceUnderTest, layout: int) -> None:
    """The data in place have this layout, and each version has met only what it can read."""
    assert (place(device) / LAYOUT_FILE).read_text() == str(layout)
    assert (place(device) / "diary").read_text() == (CARRIED if layout == 2 else BEFORE)
    assert found(device, "1.1.1") == {"1"}, "the older version met newer data"


def test_each_engine_meets_data_that_it_can_read(publisher: Publisher, device: DeviceUnderTest) -> None:
    """The new engine carries the data over; the old one, back again, meets its own, and the newer ones lie beside."""
    release(publisher, "1.1.2", 2, model("1.1.2", 2))
    assert device.update()["active_version"] == "1.1.2"
    in_place(device, 2)
    back(device)
    device.chat("Who are you?")
    in_place(device, 1)
    assert put_beside(device) == [CARRIED]


def test_a_version_that_does_not_start_leaves_the_data_as_they_were(
    publisher: Publisher, device: DeviceUnderTest
) -> None:
    """It passed its self-tests, which see no data, carried the data over, and ended: those of before are back."""
    release(publisher, "1.1.2", 2, model("1.1.2", 2, exit_with_user_data=3))
    status = device.update()
    assert (status["active_version"], status["last_outcome"]["result"]) == ("1.1.1", "failed")
    assert "version 1.1.1" in device.chat("Who are you?")
    in_place(device, 1)
    assert put_beside(device) == [CARRIED]


def test_the_watch_brings_the_data_back_too(publisher: Publisher, device: DeviceUnderTest) -> None:
    """A version that crashes in use is left by the device itself, and its data are kept twice: beside, and sealed."""
    device.stop()
    config = device.root / "config.toml"
    config.write_text(config.read_text() + WATCH)
    device.start()
    release(publisher, "1.1.2", 2, model("1.1.2", 2, crash_after=8))
    assert device.update()["active_version"] == "1.1.2"
    (place(device) / "diary").write_text(CARRIED + " and more")
    while device.status()["active_version"] == "1.1.2":
        with suppress(AssertionError):  # the answer in which it dies
            device.chat("Who are you?")
    assert device.settle()["last_outcome"]["result"] == "failed"
    assert "version 1.1.1" in device.chat("Who are you?")
    in_place(device, 1)
    assert put_beside(device) == [CARRIED + " and more"]
    saved = [entry["facts"] for entry in device.log() if entry["event"] == "user-data-saved"]
    assert [fact["version"] for fact in saved] == ["1.1.1", "1.1.2"]


# -- ended in the middle


@pytest.mark.parametrize("times", [1, 3])
def test_ended_before_the_switch(publisher: Publisher, device: DeviceUnderTest, times: int) -> None:
    """The new engine has carried the data over and the agent dies before the commit point, once or ever again."""
    release(publisher, "1.1.2", 2, model("1.1.2", 2))
    offer = device.check()
    assert offer is not None
    device.stop()
    device.start(faults_armed="durable.switch@1=kill")
    device.decide(offer["digest"])
    for _ in range(times - 1):
        device.wait_gone()
        with suppress(DeviceGoneError):
            device.start(faults_armed="durable.switch@1=kill")
    device.wait_gone()
    assert (device.layout.model(MODEL).user_data / "diary").read_text() == CARRIED
    device.start()
    assert "version" in device.chat("Who are you?")  # whichever engine it is, it starts at once
    status = device.settle()
    assert status["active_version"] == ("1.1.2" if times < 3 else "1.1.1"), status
    device.chat("Who are you?")
    in_place(device, 2 if times < 3 else 1)


@pytest.mark.parametrize("passage", ["durable.switch@1", "engine.start@2", "journal.commit@6"])
def test_ended_on_the_way_back(publisher: Publisher, device: DeviceUnderTest, passage: str) -> None:
    """The data of before are in place again and the agent dies before it says so: none is lost, none is misread."""
    release(publisher, "1.1.2", 2, model("1.1.2", 2))
    assert device.update()["active_version"] == "1.1.2"
    device.stop()
    device.start(faults_armed=f"{passage}=kill")
    with suppress(DeviceGoneError):
        device.chat("Who are you?")
        device.ask("POST", "/v1/rollback", {})
    device.wait_gone()
    device.start()
    device.chat("Who are you?")
    if device.settle()["active_version"] != "1.1.1":
        back(device)
    device.chat("Who are you?")
    in_place(device, 1)
    assert CARRIED in put_beside(device)
