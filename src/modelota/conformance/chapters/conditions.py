"""An accepted update that waits: for somebody who holds it, for three conditions, for a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from modelota.conformance.chapters.watched import first_watched
from modelota.conformance.device import Device
from modelota.conformance.row import Unreached
from modelota.conformance.socket_client import Answer
from modelota.conformance.stage import WATCHED, Stage

Json = dict[str, Any]

CONDITIONS: Final = ("charging", "unmetered", "parked")
HOLDER: Final = "os-updater"
_LATER_S: Final = 6
_GATES: Final = {"gates": {"poll_s": 1, "logind": False}}


@dataclass
class Waited:
    """What an update waited for.

    Attributes:
        before: what it waited for first.
        opened: what was opened, in order, and what it waited for then.
        held: inhibitors as `GET /v1/inhibitors` told them while it waited.
        told: conditions as `GET /v1/conditions` told them in the end.
        bytes_waiting: content served as long as it waited.
        not_before: the time that the decision named.
        went_on_at: when it was first seen not to wait any more.
        outcome: how it ended.
        refused: codes of decisions that name no condition or time there is.
    """

    before: list[str]
    opened: list[tuple[str, list[str]]]
    held: list[Json]
    told: Json
    bytes_waiting: int
    not_before: datetime
    went_on_at: datetime
    outcome: Json
    refused: dict[str, str | None]


def waited(stage: Stage) -> Waited:
    """Accept with every condition, a time, and an inhibitor in the way; open one after the other."""
    workshop, version = stage.workshop, stage.chapter(first_watched)
    device = stage.device("h", workshop, WATCHED, config=_GATES)
    device.start()
    body = {"holder": HOLDER, "reason": "writes slot b", "steps": ["fetch"], "expires_s": 600}
    key = str(device.socket.request("POST", "/v1/inhibitors", body).body["id"])
    device.socket.request("POST", "/v1/conditions", dict.fromkeys(CONDITIONS, False))
    view, last = device.offer(version=version), device.status()["last_outcome"]
    device.show(view["digest"])
    refused = {
        name: _decide(device, view["digest"], wish).code
        for name, wish in (("condition", {"conditions": ["raining"]}), ("time", {"not_before": "2026-13-24T06:00:00Z"}))
    }
    served = workshop.pack_bytes
    not_before = (datetime.now(UTC) + timedelta(seconds=_LATER_S)).replace(microsecond=0)
    wish = {"conditions": list(CONDITIONS), "not_before": not_before.strftime("%Y-%m-%dT%H:%M:%SZ")}
    taken = _decide(device, view["digest"], wish)
    if taken.status != 200:
        raise Unreached(f"accept with conditions: {taken.status} {taken.body}")
    device.until(lambda: f"inhibitor:{HOLDER}" in device.status()["waits_for"], "the update to wait")
    before, held = _waits_for(device), device.socket.get("/v1/inhibitors")["inhibitors"]
    device.socket.request("DELETE", f"/v1/inhibitors/{key}")
    opened, moved = [_opened(device, f"inhibitor:{HOLDER}")], 0
    for condition in CONDITIONS:
        so_far = workshop.pack_bytes - served
        if device.status()["phase"] == "waiting":  # it still did after the bytes were counted
            moved = so_far
        device.socket.request("POST", "/v1/conditions", {condition: True})
        opened.append(_opened(device, condition))
    told = device.socket.get("/v1/conditions")
    device.until(lambda: device.status()["phase"] != "waiting", "the time to come")
    went_on_at = datetime.now(UTC)
    outcome = device.outcome(last)
    device.stop()
    return Waited(before, opened, held, told, moved, not_before, went_on_at, outcome, refused)


def _decide(device: Device, digest: str, wish: Json) -> Answer:
    return device.socket.request("POST", "/v1/decisions", {"offer_digest": digest, "answer": "accept", **wish})


def _waits_for(device: Device) -> list[str]:
    return [str(each) for each in device.status()["waits_for"]]


def _opened(device: Device, name: str) -> tuple[str, list[str]]:
    device.until(lambda: name not in device.status()["waits_for"], f"{name} to be noticed", timeout_s=20)
    return name, _waits_for(device)
