"""An update that has to wait: visibly, over a restart, for as long as somebody needs it to, and no longer."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from modelota.testing.device import DeviceUnderTest, Json
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_power_loss import wait_until


def inhibit(device: DeviceUnderTest, *steps: str, holder: str = "rauc", expires_s: int = 600) -> str:
    """Take an inhibitor; returns its id."""
    body = {"holder": holder, "reason": "writes slot b", "steps": steps, "expires_s": expires_s}
    return str(device.ask("POST", "/v1/inhibitors", body)["id"])


def accept(device: DeviceUnderTest, **wishes: object) -> None:
    """Check, and accept what is offered."""
    offer = device.check()
    body = {"offer_digest": offer["digest"], "answer": "accept", "channel": "host", **wishes}
    device.ask("POST", "/v1/decisions", body)


def waiting(device: DeviceUnderTest, *for_what: str) -> Json:
    """Wait until the update waits for exactly this."""
    wait_until(lambda: device.status()["waits_for"] == list(for_what))
    status = device.status()
    assert status["phase"] == "waiting"
    assert not status["paused"]
    return status


def configure(device: DeviceUnderTest, gates: str) -> None:
    """Add `[gates]` settings before the device starts."""
    config = device.root / "config.toml"
    config.write_text(f"{config.read_text()}[gates]\n{gates}\n")


def test_an_inhibitor_is_waited_for_over_a_kill(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Nothing is fetched while it is held, also after the agent was killed; then the update goes through by itself."""
    publisher, device = installed
    publisher.publish("1.1.2")
    key = inhibit(device, "fetch")
    accept(device)
    waiting(device, "inhibitor:rauc")
    device.kill()
    device.start()
    assert [held["id"] for held in device.ask("GET", "/v1/inhibitors")["inhibitors"]] == [key]
    waiting(device, "inhibitor:rauc")
    assert not any(entry["event"] == "fetched" for entry in device.log()[-4:])
    assert "version 1.1.1" in device.chat("Who are you?")
    assert device.ask("DELETE", f"/v1/inhibitors/{key}")["holder"] == "rauc"
    assert device.settle()["active_version"] == "1.1.2"
    assert device.request("DELETE", f"/v1/inhibitors/{key}")[0] == 404


def test_an_inhibitor_of_a_dead_holder_expires(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Nobody releases it, and the update goes on all the same when its time is over."""
    publisher, device = installed
    device.stop()
    configure(device, "poll_s = 1")
    device.start()
    publisher.publish("1.1.2")
    key = inhibit(device, "fetch")
    accept(device)
    waiting(device, "inhibitor:rauc")
    assert inhibit(device, "fetch", expires_s=2) == key
    assert device.settle()["active_version"] == "1.1.2"
    closed = [entry for entry in device.log() if entry["event"] == "gates-closed"]
    assert [entry["facts"]["waits_for"] for entry in closed] == [["inhibitor:rauc"]]


def test_an_inhibitor_at_the_last_moment_stops_the_switch(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """One that holds only the switch lets all else be prepared; the version in use stays until it is released."""
    publisher, device = installed
    publisher.publish("1.1.2")
    key = inhibit(device, "switch", holder="driving")
    accept(device)
    waiting(device, "inhibitor:driving")
    assert device.status()["active_version"] == "1.1.1"
    assert "version 1.1.1" in device.chat("Who are you?")
    device.ask("DELETE", f"/v1/inhibitors/{key}")
    status = device.settle()
    assert (status["active_version"], status["last_outcome"]["result"]) == ("1.1.2", "done")


def test_conditions_of_a_decision(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """`parked` waits until the host says so; cancelling while it waits leaves the version in use."""
    publisher, device = installed
    publisher.publish("1.1.2")
    accept(device, conditions=["parked"])
    waiting(device, "parked")
    assert device.ask("POST", "/v1/cancel", {})["phase"] == "idle"
    accept(device, conditions=["parked"])
    waiting(device, "parked")
    assert device.ask("POST", "/v1/conditions", {"parked": True})["parked"]["holds"] is True
    assert device.settle()["active_version"] == "1.1.2"
    status, refused = device.request(
        "POST", "/v1/decisions", {"offer_digest": "a" * 64, "answer": "accept", "not_before": "2026-13-24T06:00:00Z"}
    )
    assert (status, refused["code"]) == (404, "no-offer")


def test_a_time_that_does_not_exist_is_refused(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """A thirteenth month begins nothing."""
    publisher, device = installed
    publisher.publish("1.1.2")
    digest = device.check()["digest"]
    for wrong in ("2026-13-24T06:00:00Z", "tomorrow"):
        body = {"offer_digest": digest, "answer": "accept", "not_before": wrong}
        assert device.request("POST", "/v1/decisions", body)[0] == 400
    assert device.status()["phase"] == "offered"
    accept(device, not_before="2999-01-01T00:00:00Z")
    waiting(device, "time")


def test_the_integrator_s_hook(publisher: Publisher, tmp_path: Path) -> None:
    """It is asked before each step with the step's name; its words are what the update waits for."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    hook, asked, verdict = tmp_path / "hook", tmp_path / "asked", tmp_path / "verdict"
    hook.write_text(f'#!/bin/sh\necho "$1" >> {asked}\n. {verdict}\n')
    hook.chmod(0o755)
    verdict.write_text("echo door open; exit 75\n")
    configure(device, f'hook = ["{hook}"]\npoll_s = 1\nlogind = false')
    with device.running():
        accept(device)
        waiting(device, "hook:door open")
        verdict.write_text("exit 3\n")
        waiting(device, "hook:status 3")
        verdict.write_text("exit 0\n")
        assert device.settle()["active_version"] == "1.1.1"
    steps = list(dict.fromkeys(asked.read_text().split()))
    assert steps == ["fetch", "activate", "switch"]


def test_going_back_waits_for_holders_and_not_for_comfort(publisher: Publisher) -> None:
    """A rollback that its user asks for does not wait to be parked; somebody who holds the switch is waited for."""
    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    configure(device, 'conditions = ["parked"]')
    with device.running():
        device.ask("POST", "/v1/conditions", {"parked": True})
        device.update()
        publisher.publish("1.1.2")
        device.update()
        device.ask("POST", "/v1/conditions", {"parked": False})
        key = inhibit(device, "activate")
        assert device.ask("POST", "/v1/rollback", {})["started"]
        waiting(device, "inhibitor:rauc")
        device.ask("DELETE", f"/v1/inhibitors/{key}")
        assert device.settle()["active_version"] == "1.1.1"


def test_a_device_that_makes_itself_safe_asks_nobody(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """With everything inhibited, a version that keeps crashing in its watch still goes back."""
    publisher, device = installed
    publisher.publish("1.1.2")
    device.update()
    inhibit(device, "fetch", "activate", "switch")
    for _ in range(3):
        wait_until(lambda: device.status()["engine"] == "running" or device.status()["active_version"] == "1.1.1")
        for pid in engines(device):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: device.status()["engine"] != "running" or device.status()["active_version"] == "1.1.1")
    wait_until(lambda: device.status()["active_version"] == "1.1.1")
    status = device.settle()
    assert status["last_outcome"]["error"]["code"] == "engine-crashed"
    assert device.ask("GET", "/v1/inhibitors")["inhibitors"]


def engines(device: DeviceUnderTest) -> list[int]:
    """Children of the supervisor that run an engine."""
    children = Path(f"/proc/{device.pid}/task/{device.pid}/children").read_text().split()
    found = []
    for child in map(int, children):
        command = Path(f"/proc/{child}/cmdline").read_bytes()
        if b"command_child" in command:
            found.append(child)
    return found


def test_nobody_but_who_may_decide_holds_updates_back(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """Malformed inhibitors and conditions are refused with a code; what is held stays as it was."""
    _, device = installed
    key = inhibit(device, "switch")
    for body in (
        {},
        {"holder": "x"},
        {"holder": "x", "reason": "y", "expires_s": 604_801},
        {"holder": "x", "reason": "y", "steps": ["reboot"]},
        {"holder": "x\ny", "reason": "y"},
        {"holder": "x" * 65, "reason": "y"},
        [],
    ):
        status, answer = device.request("POST", "/v1/inhibitors", body)
        assert (status, answer["code"]) in {(400, "request-invalid"), (400, "argument-invalid")}
    assert device.request("POST", "/v1/conditions", {"raining": True})[0] == 400
    assert [held["id"] for held in device.ask("GET", "/v1/inhibitors")["inhibitors"]] == [key]
