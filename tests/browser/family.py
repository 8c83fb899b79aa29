"""The example family's vendor, and devices that run its models in the real engine."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.testing.device import DeviceUnderTest
from tests.examples.conftest import Vendor

INCHES = "How many centimetres are in 2 inches?"


class Family:
    """A vendor who has published 1.1.1, with the wrong inch; a context manager that stops its devices.

    Args:
        place: an empty directory.
        releases: `examples/family/releases`.
    """

    def __init__(self, place: Path, releases: Path) -> None:
        self._place = place
        self._vendor = Vendor(place, releases, title={"zh-CN": "小助手", "en": "Assistant"})
        self._devices: list[DeviceUnderTest] = []
        self.publish("1.1.1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for device in self._devices:
            device.stop()

    def publish(self, version: str) -> None:
        """Publish one of the family's releases."""
        self._vendor.publish(version)

    def device(self, name: str, *, max_bytes_per_s: int = 0) -> DeviceUnderTest:
        """A running device with what is published now; what it fetches comes no faster than that (0: no limit)."""
        root = self._place / name
        enrol(self._vendor.enrolment, root, SystemClock())
        settings = f"[checks]\nevery_s = 0\n[network]\nmax_bytes_per_s = {max_bytes_per_s}\n"
        (root / "config.toml").write_text(settings, encoding="utf-8")
        device = DeviceUnderTest(root)
        device.start()
        self._devices.append(device)
        device.update()
        return device
