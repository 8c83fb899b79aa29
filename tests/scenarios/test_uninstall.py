"""A model is uninstalled: plan, confirmation, proof; killed at any step; installed again (clause 7.3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from tests.scenarios.conftest import Publisher, Snapshot
from tests.scenarios.test_power_loss import until_settled_or_crashed

MODEL = "acme/assistant"


def plan(device: DeviceUnderTest, **choices: str) -> Any:
    """The plan to uninstall the only model."""
    return device.ask("POST", "/v1/removal/plan", choices)


def below(directory: Path) -> list[str]:
    """Everything below a directory, relative."""
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


def test_plan_confirmation_proof(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """What was shown is removed and nothing else; the proof lists every path; the user's data stay."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    layout = device.layout.model(MODEL)
    layout.user_data.mkdir(exist_ok=True)
    (layout.user_data / "notes.txt").write_text("mine")
    view = plan(device)
    assert device.status()["active_version"] == "1.1.2", "a plan removes nothing"
    paths = {item["path"] for item in view["plan"]["items"]}
    assert {str(layout.current), str(layout.slot("1.1.1+q8")), str(layout.slot("1.1.2+q8"))} <= paths
    assert str(layout.user_data) not in paths
    device.ask("POST", "/v1/removal", {"plan_digest": view["digest"], "channel": "host"})
    status = device.settle()
    assert (status["active_version"], status["phase"], status["engine"]) == (None, "idle", "stopped")
    assert (status["last_outcome"]["operation"], status["last_outcome"]["result"]) == ("uninstall", "done")
    proof = device.ask("GET", f"/v1/removals/{view['digest']}")
    removed = {item["path"] for item in proof["items"] if item["result"] == "removed"}
    assert removed - {str(layout.staging)} == paths - {str(layout.staging)}, "staging goes by itself after an update"
    assert below(layout.directory) == ["userdata", "userdata/notes.txt"]
    assert [entry["event"] for entry in device.log() if "remov" in entry["event"]] == ["removal-asked", "removed"]
    refused, answer = device.request("POST", "/v1/chat", {})
    assert (refused, answer["code"]) == (404, "no-model-installed")


def test_data_go_only_when_their_user_says_so(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """With the choice to remove data nothing of the model is left below the root."""
    _, device = installed
    layout = device.layout.model(MODEL)
    layout.user_data.mkdir(exist_ok=True)
    (layout.user_data / "notes.txt").write_text("mine")
    view = plan(device, user_data="remove")
    device.ask("POST", "/v1/removal", {"plan_digest": view["digest"], "channel": "host"})
    device.settle()
    assert not layout.directory.exists()
    assert not (device.root / "models").exists()


def test_nothing_without_the_digest_of_what_would_go(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """No plan, a stale plan and a reason that does not hold are refused, and nothing is removed."""
    publisher, device = installed
    assert device.request("POST", "/v1/removal", {"plan_digest": "0" * 64})[1]["code"] == "no-plan"
    assert device.request("POST", "/v1/removal/plan", {"reason": "end-of-service"})[1]["code"] == "service-goes-on"
    unsuitable = device.request("POST", "/v1/removal/plan", {"reason": "unsuitable-hardware"})[1]
    assert unsuitable["code"] == "hardware-suits"
    view = plan(device)
    publisher.publish("1.1.2")
    device.update()
    changed = device.request("POST", "/v1/removal", {"plan_digest": view["digest"]})[1]
    assert (changed["code"], changed["params"]["now"]) == ("plan-changed", plan(device)["digest"])
    assert device.status()["active_version"] == "1.1.2"


def test_nothing_is_offered_unasked_afterwards_and_it_can_be_installed_again(
    installed: tuple[Publisher, DeviceUnderTest],
) -> None:
    """Whoever removed a model gets it back by asking, through an offer like the first."""
    _, device = installed
    view = plan(device)
    device.ask("POST", "/v1/removal", {"plan_digest": view["digest"], "channel": "host"})
    device.settle()
    device.stop()
    device.start()
    assert device.status()["offer"] is None
    assert device.update()["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")


@pytest.mark.parametrize("point", ["journal.commit", "durable.remove"])
def test_kill_at_every_passage(installed: tuple[Publisher, DeviceUnderTest], point: str) -> None:
    """SIGKILL at the n-th passage for n = 1, 2, 3 …: it is carried through at the next start, with a whole proof."""
    _, device = installed
    digest = plan(device)["digest"]
    device.stop()
    snapshot = Snapshot(device)
    nth = 0
    while True:
        nth += 1
        killed = False
        try:
            device.start(faults_armed=f"{point}@{nth}=kill")
            device.ask("POST", "/v1/removal", {"plan_digest": digest, "channel": "host"})
            killed = until_settled_or_crashed(device)
        except (DeviceGoneError, AssertionError):
            killed = True
        device.kill()
        device.start()
        status = device.settle()
        if status["active_version"] is not None:  # killed before the confirmation was on record
            device.ask("POST", "/v1/removal", {"plan_digest": plan(device)["digest"], "channel": "host"})
            status = device.settle()
        assert status["active_version"] is None
        assert status["last_outcome"]["operation"] == "uninstall"
        proof = device.ask("GET", f"/v1/removals/{digest}")
        assert {item["result"] for item in proof["items"]} <= {"removed", "gone"}
        assert not device.layout.model(MODEL).directory.exists()
        device.stop()
        if not killed:
            break
        snapshot.restore()
    assert nth > 1
    assert json.dumps(proof)


def test_what_the_model_left_elsewhere_is_cleaned_by_itself(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Basic cleaning follows the uninstallation: stray files in the model's own directory go, the user's data stay."""
    _, device = installed
    layout = device.layout.model(MODEL)
    layout.user_data.mkdir(exist_ok=True)
    (layout.user_data / "notes.txt").write_text("mine")
    (layout.directory / ".current.tmp").symlink_to("slots/none")
    (layout.directory / "core.1234").write_bytes(b"dump")
    device.ask("POST", "/v1/removal", {"plan_digest": plan(device)["digest"], "channel": "host"})
    device.settle()
    assert below(layout.directory) == ["userdata", "userdata/notes.txt"]
    removed = next(entry for entry in device.log() if entry["event"] == "removed")
    assert removed["facts"]["cleaned"] >= 2
    assert removed["facts"]["not_cleaned"] == 0
