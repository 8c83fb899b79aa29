"""Crashes in the middle of updates, and what lies in the device root once each update has come to its end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from modelota.conformance.chapters.packages import published_line
from modelota.conformance.device import Device
from modelota.conformance.row import Unreached
from modelota.conformance.stage import RELATED, Stage

Json = dict[str, Any]

# Where each update of the line is killed (docs/fail-points.md): while it fetches, before the finished slot gets its
# name, before it comes into use, and while it tidies up.
_POINTS: Final = ("fetch.frame", "slot.seal", "durable.switch", "durable.remove")
# The first removal may be one at the start: a temporary name that the ledger still has. Here it is about slots.
_NTH: Final = {"durable.remove": 2}


@dataclass
class Crash:
    """One update that was killed.

    Attributes:
        point: where.
        agent_died: the agent died; otherwise its worker did.
        outcome: how the update ended after the restart.
        left_over: names that do not belong into the root afterwards.
    """

    point: str
    agent_died: bool
    outcome: Json
    left_over: list[str]


def crashes(stage: Stage) -> list[Crash]:
    """Take four releases one after the other, each killed at another point and started again."""
    releases = stage.chapter(published_line).releases[RELATED]
    device = stage.device("c", stage.parcels, RELATED)
    device.start()
    told = []
    for point, release in zip(_POINTS, releases, strict=True):
        told.append(_crash(device, point, release.table["version"]))
    device.stop()
    return told


def _crashed(device: Device, since: int) -> bool:
    """Whether the agent died, or its worker did: the update waits then, or what tidies up is told to have failed."""
    try:
        if device.ended or device.status()["paused"]:
            return True
        later = device.socket.get("/v1/log", model=device.model, after=since, limit=200)["entries"]
        return any(entry["event"] == "clean-failed" for entry in later)
    except Unreached:  # it dies while it is asked
        return device.ended


def _crash(device: Device, point: str, version: str) -> Crash:
    device.stop()
    device.start({"MODELOTA_FAULTS": f"{point}@{_NTH.get(point, 1)}=kill"})
    before, since = device.status()["last_outcome"], max((entry["seq"] for entry in device.log()), default=0)
    device.accept_offer(version=version)
    device.until(lambda: _crashed(device, since), f"a crash at {point}")
    died = device.ended
    device.stop()
    device.start()
    device.control("resume")
    outcome = device.outcome(before)  # which was told before the tidying up began
    return Crash(point, died, outcome, device.left_over())
