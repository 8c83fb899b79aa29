"""What can be seen of a device in use through its socket, without changing anything on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from modelota.conformance.row import Examination, Text, Unmeasurable, Unreached
from modelota.conformance.socket_client import AgentSocket
from modelota.errors import TryLater

Json = dict[str, Any]

_ORDER: Final = ("decided", "fetched", "verified", "deployed", "tests-passed", "activated")
_NOTHING_YET: Final = Text("该设备的日志里还没有完成的更新", "this device's journal holds no finished update yet")


class RunningDevice:
    """A device that somebody uses.

    Args:
        socket: of its agent.

    Raises:
        TryLater: `agent-not-running`: nobody answers there.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = AgentSocket(socket)
        try:
            _ = self.models
        except Unreached as error:
            raise TryLater("agent-not-running", path=str(socket)) from error

    @cached_property
    def models(self) -> list[str]:
        """Its models."""
        return [entry["model"] for entry in self._socket.get("/v1/status")["models"]]

    @cached_property
    def log(self) -> list[Json]:
        """The journal of all models, oldest first."""
        found: list[Json] = []
        for model in self.models:
            after = 0
            while page := self._socket.get("/v1/log", model=model, after=after, limit=200)["entries"]:
                found += page
                after = page[-1]["seq"]
        return sorted(found, key=lambda entry: int(entry["seq"]))

    def updates(self) -> list[list[Json]]:
        """Per accepted offer, the entries from the decision to the activation; unfinished ones are left out.

        Raises:
            Unmeasurable: there is none.
        """
        found: list[list[Json]] = []
        for model in self.models:
            run: list[Json] = []
            for entry in (each for each in self.log if each["model"] == model):
                if entry["event"] == "decided" and entry["facts"].get("answer") == "accept":
                    run = []
                run.append(entry)
                names = {each["event"] for each in run}
                # going back to a kept slot fetches nothing: the request for it is the decision
                if entry["event"] == "activated" and "rollback-asked" not in names:
                    found.append(run)
                if entry["event"] == "activated":
                    run = []
        if not found:
            raise Unmeasurable(_NOTHING_YET)
        return found

    def self_tests(self) -> list[Json]:
        """All records.

        Raises:
            Unmeasurable: there is none.
        """
        found = [record for model in self.models for record in self._socket.get("/v1/self-tests", model=model)]
        if not found:
            raise Unmeasurable(_NOTHING_YET)
        return found


def decided(device: RunningDevice) -> Examination:
    """5.1-d: every activation follows a recorded decision on an offer that was shown."""
    seen = Examination()
    shown = {entry["facts"].get("digest") for entry in device.log if entry["event"] == "offer-shown"}
    for run in device.updates():
        first = run[0]
        accepted = first["event"] == "decided" and first["facts"].get("answer") == "accept"
        digest = first["facts"].get("digest")
        seen.claim(f"activation-{run[-1]['seq']}-was-decided", accepted and digest in shown, first["facts"])
    return seen


def proven(device: RunningDevice) -> Examination:
    """5.2.2-b: the journal's order for every activation."""
    seen = Examination()
    for run in device.updates():
        names = list(dict.fromkeys(entry["event"] for entry in run if entry["event"] in _ORDER))
        seen.claim(f"activation-{run[-1]['seq']}-order", names == list(_ORDER), names)
    return seen


def found(device: RunningDevice) -> Examination:
    """5.3-a: checks are journalled, and what they found was offered and shown."""
    seen = Examination()
    names = [entry["event"] for entry in device.log]
    if "offer-made" not in names:
        raise Unmeasurable(_NOTHING_YET)
    seen.claim("checks-journalled", "checked" in names, names.count("checked"))
    seen.claim("offers-shown", "offer-shown" in names, names.count("offer-shown"))
    return seen


def tested(device: RunningDevice) -> Examination:
    """5.3-d: records of self-tests; no activation without one that passed."""
    seen = Examination()
    records = device.self_tests()
    verdicts = {entry["slot"]: entry["record"]["verdict"] for entry in records}
    for run in device.updates():
        version = run[-1]["facts"].get("to_version")
        passed = any(slot.startswith(f"{version}+") and verdict == "passed" for slot, verdict in verdicts.items())
        seen.claim(f"activation-{run[-1]['seq']}-was-tested", passed, verdicts)
    return seen


DEVICE_CHECKS: Final[Mapping[str, Callable[[RunningDevice], Examination]]] = {
    "5.1-d": decided,
    "5.2.2-b": proven,
    "5.3-a": found,
    "5.3-d": tested,
}
