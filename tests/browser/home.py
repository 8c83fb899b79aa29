"""Where the owner lives: a device, and the vendor who publishes for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_model
from tests.scenarios.conftest import Publisher, good_model

MODEL = "acme/assistant"


class Home:
    """A running device with a version in use; whatever a test did to it, the next one finds it at rest.

    Args:
        place: an empty directory.

    Attributes:
        publisher: of its model.
        device: it.
    """

    def __init__(self, place: Path) -> None:
        self.publisher = Publisher(place)
        self.device: DeviceUnderTest = self.publisher.device()
        self._numbers = itertools.count(1)
        self._seeds = itertools.count(1)

    def __enter__(self) -> Self:
        self.publish()
        self.device.start()
        self.device.update()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.device.alive:
            self.device.stop()

    def publish(self, *, good: bool = True, model: bytes | None = None) -> str:
        """Publish the next version, one that works or one whose self-tests fail; returns its number."""
        version = f"1.1.{next(self._numbers)}"
        answers = {"Who are you?": f"purple monkey dishwasher {version}"}
        self.publisher.publish(
            version, model or (good_model(version) if good else fake_model(answers=answers)), baselines=()
        )
        return version

    def offered(self, *, good: bool = True, model: bytes | None = None) -> tuple[str, str]:
        """Publish, and have the device find it; returns version and digest of the offer."""
        self.rest()
        version = self.publish(good=good, model=model)
        offer = self.device.ask("POST", "/v1/check", {})[0]["offer"]
        assert offer["offer"]["to_version"] == version
        return version, offer["digest"]

    def installed(self) -> str:
        """A version in use and nothing under way; returns the version."""
        status = self.rest()
        if status["active_version"] is None:
            self.publish()
            status = self.device.update()
        return str(status["active_version"])

    def two_versions(self) -> tuple[str, str]:
        """A version in use and an older one kept; returns both, the one in use first."""
        self.installed()
        status = self.rest()
        active, previous = status["active_version"], status["previous_version"]
        if previous is None or _number(previous) > _number(active):
            self.publish()
            status = self.device.update()
        return str(status["active_version"]), str(status["previous_version"])

    def copy_of_the_model(self) -> bytes:
        """The content of the version in use, as anybody could have copied it."""
        status = self.device.status()
        slot = f"{status['active_version']}+{status['active_variant']}"
        return (self.device.layout.model(MODEL).slot(slot) / "files" / "model.bin").read_bytes()

    def uninstall(self) -> None:
        """Remove the model; its user's data stay."""
        plan = self.device.ask("POST", "/v1/removal/plan", {})
        self.device.ask("POST", "/v1/removal", {"plan_digest": plan["digest"]})
        self.device.settle()

    @contextmanager
    def held(self, step: str) -> Iterator[None]:
        """Nothing goes on to `step` meanwhile: somebody holds it back."""
        wish = {"holder": "the test", "reason": "it is looking", "steps": [step]}
        inhibitor = self.device.ask("POST", "/v1/inhibitors", wish)
        try:
            yield
        finally:
            self.device.ask("DELETE", f"/v1/inhibitors/{inhibitor['id']}")

    def next_seed(self) -> int:
        """A number that no test had before."""
        return next(self._seeds)

    def until(self, true: Callable[[], bool], timeout_s: float = 20.0) -> None:
        """Wait until something holds.

        Raises:
            AssertionError: it did not come.
        """
        deadline = time.monotonic() + timeout_s
        while not true():
            assert time.monotonic() < deadline, "it did not come"
            time.sleep(0.05)

    def rest(self) -> Any:
        """Nothing under way; returns the status."""
        status = self.device.status()
        if status["phase"] not in {"idle", "watching", "offered", "degraded"}:
            self.device.request("POST", "/v1/cancel", {})
            status = self.device.settle()
        return status


def _number(version: str) -> int:
    return int(version.rpartition(".")[2])
