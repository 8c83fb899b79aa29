"""Interrupts at random times: a device that goes forth and back between two versions is ended again and again."""

from __future__ import annotations

import itertools
import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

from modelota.testing.device import DeviceGoneError, DeviceUnderTest
from tests.scenarios.walking import OPERATIONS, Walker, device_invariants, disk_invariants, worker_of


class Interruptions:
    """One device that goes forth and back between two versions, and is interrupted again and again.

    As in OSTree's destructive test most interruptions are forced: 85 % are kill -9, of the supervisor or of its worker.
    """

    FORCED = 0.85
    WORKER = 0.25  # of the forced ones
    THOROUGH_EVERY = 20

    def __init__(self, place: Path, seed: int) -> None:
        self._chance = random.Random(seed)
        self._goals = itertools.cycle(
            (
                ("1.1.1", "1.1.2", lambda device: self._accept(device, "1.1.2")),
                ("1.1.2", "1.1.1", lambda device: device.ask("POST", "/v1/rollback", {})),
            )
        )
        self._walker = Walker(place, OPERATIONS[[operation.name for operation in OPERATIONS].index("differential")])
        self.device = self._walker.device
        self.counted = {"interrupts": 0, "forced": 0, "operations": 0}
        self.violations: list[str] = []

    def run(self, count: int) -> None:
        """Interrupt so many times."""
        before, after, ask = next(self._goals)
        while self.counted["interrupts"] < count:
            try:
                if not self.device.alive:
                    self.device.start()
                self._look({before, after})
                thorough = self.counted["interrupts"] % self.THOROUGH_EVERY == 0
                if thorough:
                    device_invariants(self.device, {before, after})
                status = self.device.status()
                if status["active_version"] == after and status["phase"] in {"idle", "watching", "offered"}:
                    self.counted["operations"] += 1
                    before, after, ask = next(self._goals)
                if thorough:
                    self.device.stop()
                    disk_invariants(self.device, before)
                    self.device.start()
                with suppress(AssertionError):  # it is under way already
                    ask(self.device)
                time.sleep(self._chance.uniform(0, 1.2))
            except (AssertionError, DeviceGoneError) as error:
                self.violations.append(f"after {self.counted}: {error}")
            self._interrupt()

    def close(self) -> None:
        """End it."""
        self._walker.close()

    def _accept(self, device: DeviceUnderTest, version: str) -> None:
        offer = device.ask("POST", "/v1/check", {"version": version})[0]["offer"]
        if offer is not None:
            device.show(offer["digest"])
            device.decide(offer["digest"])

    def _look(self, allowed: set[str]) -> None:
        status = self.device.status()
        assert status["active_version"] in allowed, f"{status['active_version']} instead of one of {allowed}"
        answer = self.device.chat("Who are you?")
        assert any(f"version {version}" in answer for version in allowed), answer

    def _interrupt(self) -> None:
        self.counted["interrupts"] += 1
        if self._chance.random() >= self.FORCED:
            if self.device.alive:
                self.device.stop()
            return
        self.counted["forced"] += 1
        worker = worker_of(self.device) if self._chance.random() < self.WORKER else None
        if worker is None:
            self.device.kill()
        else:
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
