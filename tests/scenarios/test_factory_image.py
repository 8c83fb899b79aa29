"""A factory image with a first version: no keys in it, equal every time, nothing in use before its owner agreed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from modelota import faults
from modelota.agent.enrol import enrol, open_journal
from modelota.agent.seeding import Seeded, Wanted, seed
from modelota.clock import SystemClock
from modelota.errors import AskPerson, RefuseContent
from modelota.storage.layout import Layout
from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher

MODEL = "acme/assistant"
ROOT = Path("/var/lib/acme/modelota")


class Later(SystemClock):
    """An hour later."""

    def now(self) -> datetime:
        return super().now() + timedelta(hours=1)


def make(publisher: Publisher, image: Path, **wanted: str) -> Seeded:
    image.mkdir(exist_ok=True)
    return seed(image, ROOT, publisher.enrolment, Wanted(**wanted), SystemClock())


def in_image(image: Path) -> Path:
    return image / ROOT.relative_to("/")


def device_of(publisher: Publisher, image: Path) -> DeviceUnderTest:
    """The image as a device: set up with the keys, with the engine's settings."""
    root = in_image(image)
    shutil.copy(publisher.device("template").root / "config.toml", root / "config.toml")
    enrol(publisher.enrolment, root, SystemClock())
    return DeviceUnderTest(root)


def listing(image: Path) -> dict[str, tuple[Any, ...]]:
    """Modes, times, contents and attributes of everything."""
    found: dict[str, tuple[Any, ...]] = {}
    for path in sorted(image.rglob("*")):
        seen = path.lstat()
        attributes = {name: os.getxattr(path, name) for name in os.listxattr(path)}
        content = path.read_bytes() if path.is_file() else b""
        found[str(path.relative_to(image))] = (oct(seen.st_mode), seen.st_mtime_ns, content, attributes)
    return found


@pytest.fixture
def released(publisher: Publisher) -> Publisher:
    publisher.publish("1.1.1", kind="feature")
    return publisher


def test_an_image_has_no_keys_and_nothing_of_this_machine(released: Publisher, tmp_path: Path) -> None:
    """Slot, database, directories; no key, cache, staging, rates or paths of the machine that made it."""
    done = make(released, tmp_path / "image")
    assert (done.model, done.version, done.variant, done.root) == (MODEL, "1.1.1", "q8", str(ROOT))
    root = in_image(tmp_path / "image")
    assert sorted(path.name for path in root.iterdir()) == ["agent.db", "models"]
    assert [path.name for path in Layout(root).model(MODEL).slots.iterdir()] == ["1.1.1+q8"]
    assert not Layout(root).model(MODEL).current.exists()
    (key,) = [line for line in released.enrolment.read_text().splitlines() if line.startswith("private")]
    secret = key.partition('"')[2].rstrip('"').encode()
    for path in root.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert secret not in data
            assert str(tmp_path).encode() not in data
    shutil.copytree(root, tmp_path / "look")
    journal = open_journal(Layout(tmp_path / "look"), SystemClock())
    rows = [row.path for row in journal.records.ledger_rows()]
    assert rows[0] == str(ROOT)
    assert all(path == str(ROOT) or path.startswith(f"{ROOT}/") for path in rows)
    assert journal.rate("fetching") is None
    journal.close()


def test_two_images_are_equal(released: Publisher, tmp_path: Path) -> None:
    """Byte for byte, the database and all times included."""
    for name, clock in (("one", SystemClock()), ("two", Later())):
        (tmp_path / name).mkdir()
        seed(tmp_path / name, ROOT, released.enrolment, Wanted(url=str(released.public)), clock)
    assert listing(tmp_path / "one") == listing(tmp_path / "two")


def test_the_first_decision_is_the_owners(released: Publisher, tmp_path: Path) -> None:
    """With no network: an offer of 0 bytes; nothing is in use until it is accepted; then it is tested and used."""
    make(released, tmp_path / "image")
    text = released.enrolment.read_text()
    released.enrolment.write_text(text.replace(released.workspace.config.url, "http://127.0.0.1:9"))
    device = device_of(released, tmp_path / "image")
    with device.running():
        assert device.status()["active_version"] is None
        (result,) = device.ask("POST", "/v1/check", {})
        offer = result["offer"]["offer"]
        assert (offer["direction"], offer["planned_bytes"], offer["to_version"]) == ("install", 0, "1.1.1")
        assert not device.layout.model(MODEL).current.exists()
    with device.running():  # a restart, and a look, keep what came with the device
        again = device.check()
        device.decide(again["digest"])
        status = device.settle()
        assert (status["active_version"], status["last_outcome"]["operation"]) == ("1.1.1", "install")
        assert "version 1.1.1" in device.chat("Who are you?")
        events = [entry["event"] for entry in device.log()]
        assert [name for name in events if name in {"seeded", "enrolled", "decided", "tests-passed", "activated"}] == [
            "seeded",
            "enrolled",
            "decided",
            "tests-passed",
            "activated",
        ]


def test_who_skips_it_is_offered_what_is_newer(released: Publisher, tmp_path: Path) -> None:
    """What came with the device is the base of a small package, and goes when another version is in use."""
    make(released, tmp_path / "image")
    released.publish("1.1.2")
    device = device_of(released, tmp_path / "image")
    with device.running():
        offer = device.check()
        device.decide(offer["digest"], "skip")
        assert device.update()["active_version"] == "1.1.2"
        device.wait("idle")
    with device.running():
        device.wait("idle")
        assert [path.name for path in device.layout.model(MODEL).slots.iterdir()] == ["1.1.2+q8"]


def test_a_damaged_image_is_not_used(released: Publisher, tmp_path: Path) -> None:
    """A changed byte is found before anything is offered for nothing: the offer says what has to be fetched."""
    make(released, tmp_path / "image")
    (model,) = Layout(in_image(tmp_path / "image")).model(MODEL).slot("1.1.1+q8").glob("files/*.bin")
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.chmod(0o600)
    model.write_bytes(data)
    device = device_of(released, tmp_path / "image")
    with device.running():
        assert device.check()["offer"]["planned_bytes"] > 0
        assert device.update()["active_version"] == "1.1.1"
        assert "version 1.1.1" in device.chat("Who are you?")


def test_what_an_image_refuses(released: Publisher, tmp_path: Path) -> None:
    """A second time, an unknown version, model or variant, a place that is none, a sealed setting."""
    image = tmp_path / "image"
    for wanted, code in (
        ({"version": "9.9.9"}, "version-not-kept"),
        ({"model": "acme/other"}, "enrolment-invalid"),
        ({"variant": "q4"}, "manifest-mismatch"),
    ):
        with pytest.raises((AskPerson, RefuseContent), match=code):
            make(released, image, **wanted)
    with pytest.raises(AskPerson, match="argument-invalid"):
        seed(tmp_path / "none", ROOT, released.enrolment, Wanted(), SystemClock())
    for root in (Path("var/lib/x"), Path("/var/../x"), Path("/")):
        with pytest.raises(AskPerson, match="argument-invalid"):
            seed(image, root, released.enrolment, Wanted(), SystemClock())
    (in_image(image) / "config.toml").write_text('[storage]\nat_rest = "sealed"\n')
    with pytest.raises(AskPerson, match="sealed-at-rest"):
        make(released, image)
    (in_image(image) / "config.toml").unlink()
    make(released, image)
    with pytest.raises(AskPerson, match="already-enrolled"):
        make(released, image)


def test_an_enrolment_of_another_publisher_is_refused(released: Publisher, tmp_path: Path) -> None:
    """What came with the device is not handed to another repository."""
    make(released, tmp_path / "image")
    (tmp_path / "other").mkdir()
    with pytest.raises(AskPerson, match="root-untrusted"):
        enrol(Publisher(tmp_path / "other").enrolment, in_image(tmp_path / "image"), SystemClock())


SEED = """
import sys
from pathlib import Path
from modelota.agent.seeding import Wanted, seed
from modelota.clock import SystemClock
image, root, keys = map(Path, sys.argv[1:])
seed(image, root, keys, Wanted(), SystemClock())
"""


def test_killed_anywhere_it_can_be_done_again(released: Publisher, tmp_path: Path) -> None:
    """SIGKILL at the n-th durable step, n = 1, 2, 3 …: another run makes the image that an undisturbed one makes."""
    make(released, tmp_path / "whole")
    expected = listing(tmp_path / "whole")
    command = [sys.executable, "-P", "-c", SEED, str(tmp_path / "image"), str(ROOT), str(released.enrolment)]
    nth, status = 0, 1
    while status:
        nth += 4 if nth > 8 else 1
        image = tmp_path / "image"
        image.mkdir()
        environment = {**os.environ, faults.VARIABLE: f"*@{nth}=kill"}
        status = subprocess.run(command, env=environment, capture_output=True, check=False).returncode
        assert status in {0, -signal.SIGKILL}
        if status and not (in_image(image) / "agent.db").exists():
            make(released, image)
        found = listing(image)
        leftovers = {name for name in found if name not in expected}
        assert all("/.seeding" in name for name in leftovers), leftovers
        assert {name: found[name][2] for name in expected} == {name: expected[name][2] for name in expected}
        for folder in image.rglob("*"):
            if folder.is_dir():
                folder.chmod(0o700)
        shutil.rmtree(image)
    assert nth > 20
