"""A large package, a slow line, and one kill after the other; then more bytes than the decision covers."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from modelota.conformance.chapters.attempts import Attempt
from modelota.conformance.device import Device
from modelota.conformance.publisher import PACKS, Publisher
from modelota.conformance.readings import Sampler, descendants
from modelota.conformance.releases import standin
from modelota.conformance.row import Unreached
from modelota.conformance.stage import LARGE, LARGE_BYTES, Stage
from modelota.testing.network import Cut, Slow

CONNECTIONS = 1
CHUNK_BYTES = 4 << 20
SOCKET_BYTES = 64 << 10
_AT = (0.2, 0.4, 0.6, 0.8)  # shares of the package after which somebody is killed
_BYTES_PER_S = 10 << 20
_CUTS, _CUT_AFTER_BYTES = 2, 700_000
_DEPLOY_KILL = {"MODELOTA_FAULTS": "deploy.chunk@1=kill"}


@dataclass
class Interruptions:
    """What was seen.

    Attributes:
        offer: that was accepted.
        served_bytes: content served until all of it was there.
        interrupted: what was interrupted, in order: the network, the agent, its worker.
        served_after_loss_bytes: content served in all, after what was fetched had been taken away.
        loss_attempt: the attempt to go on beyond the ceiling under the same decision.
        after_check_attempt: the same after a check had made the same offer again, without a new decision.
        completed: a new decision on a new offer then completed the install.
        sampler: readings of the worker while it fetched.
    """

    offer: dict[str, Any]
    served_bytes: int
    interrupted: list[str]
    served_after_loss_bytes: int
    loss_attempt: Attempt
    after_check_attempt: Attempt
    completed: bool
    sampler: Sampler


def allowance_bytes(interrupted: Sequence[str]) -> int:
    """What may be served twice: what was in flight when a process was killed; a lost connection costs nothing."""
    killed = [who for who in interrupted if who != "network"]
    return len(killed) * CONNECTIONS * (CHUNK_BYTES + SOCKET_BYTES)


def interruptions(stage: Stage) -> Interruptions:
    """Fetch 24 MiB over a slow line with two lost connections, and agent or worker killed four times."""
    workshop = stage.workshop
    workshop.publish(standin(stage.scratch, LARGE, ballast_bytes=LARGE_BYTES))
    device = stage.device("k", workshop, LARGE, connections=CONNECTIONS)
    device.start()
    served = workshop.pack_bytes
    workshop.server.script(PACKS, Cut(_CUT_AFTER_BYTES), times=_CUTS)
    workshop.server.script(PACKS, Slow(_BYTES_PER_S))
    by = ["network"] * _CUTS
    with Sampler(lambda: device.agent_pid, device.place) as sampler:
        offer = device.accept_offer()["offer"]
        for index, share in enumerate(_AT):
            _until_served(device, workshop, served + int(offer["planned_bytes"] * share))
            by.append(_kill(device, "agent" if index % 2 == 0 else "worker"))
            if by[-1] == "agent":
                # the last life dies where it would deploy, so that exactly the fetching is counted
                device.start(_DEPLOY_KILL if index >= len(_AT) - 2 else None)
        device.until(lambda: _waits_in_deploying(device), "everything to be fetched")
        fetched = workshop.pack_bytes - served
        workshop.server.behave()
        loss = _lose_and_resume(stage, device, check_first=False)
        total = workshop.pack_bytes - served
        completed, after_check = _again(stage, device)
    device.stop()
    return Interruptions(offer, fetched, by, total, loss, after_check, completed, sampler)


def _until_served(device: Device, workshop: Publisher, goal_bytes: int) -> None:
    device.until(lambda: workshop.pack_bytes >= goal_bytes, "the download")


def _kill(device: Device, who: str) -> str:
    if who == "agent":
        device.kill()
        return who
    worker = next((p for p in descendants(device.agent_pid) if p.role == "worker"), None)
    if worker is None:
        raise Unreached("no worker to kill while fetching")
    os.kill(worker.pid, signal.SIGKILL)
    return who


def _waits_in_deploying(device: Device) -> bool:
    now = device.status()
    return bool(now["phase"] == "deploying" and now["paused"])


def _lose_and_resume(stage: Stage, device: Device, *, check_first: bool) -> Attempt:
    """Take away what was fetched and let the update go on: the rest of the ceiling is less than a package.

    Args:
        stage: of this run.
        device: whose update waits in `deploying`.
        check_first: ask for a check before, which makes the same offer again; it is no decision.
    """
    served = stage.workshop.pack_bytes
    before = device.status()["last_outcome"]
    device.stop()
    shutil.rmtree(device.place / "staging")
    device.start()
    if check_first:
        device.socket.request("POST", "/v1/check", {"model": device.model})
    device.control("resume")
    outcome = device.outcome(before)
    error = outcome["error"] or {}
    moved = stage.workshop.pack_bytes - served
    refused = outcome["result"] == "failed" and error.get("code") == "ceiling-exceeded"
    return Attempt("", refused, error.get("code"), moved, device.status()["phase"])


def _again(stage: Stage, device: Device) -> tuple[bool, Attempt]:
    """A new decision fetches again; taken away once more with a check in between; the third decision completes it."""
    device.stop()
    device.start(_DEPLOY_KILL)
    device.accept_offer()
    device.until(lambda: _waits_in_deploying(device), "everything to be fetched again")
    attempt = _lose_and_resume(stage, device, check_first=True)
    if device.status()["active_version"] is not None:
        return True, attempt  # it should not have gone on, but it did, to the end
    return device.update()["result"] == "done", attempt
