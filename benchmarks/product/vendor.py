"""A vendor who publishes files as releases, and devices that install them: what the benchmarks of whole updates need.

The engine is the scripted one (`modelota.testing.engine`): it answers whatever the weights are.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from modelota.agent.enrol import enrol
from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.packages import PackageChoice
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.report import PublishReport
from modelota.testing.device import DeviceUnderTest
from modelota.testing.engine import fake_argv

MODEL: Final = "acme/assistant"
_RELEASE: Final = """
format = 1
model = "{model}"
version = "{version}"
kind = "fix"
notes = {{ "zh-CN" = "测量", en = "for measuring" }}
[[self_tests.functional]]
id = "who"
prompt = "Who are you?"
check = {{ kind = "contains", values = ["weights"] }}
[[variants]]
name = "default"
files = [{{ source = "{source}" }}]
runtime = {{ name = "command", profile = "fake", entry = "{source}" }}
"""
_DEVICE: Final = """
[engines.commands.fake]
argv = {argv}
[checks]
every_s = 0
"""


class Vendor:
    """A publisher's workspace below `place`.

    Args:
        place: an empty directory.
        url: where devices find the repository; None is its directory.

    Attributes:
        public: what is to be served at `url`.
    """

    def __init__(self, place: Path, *, url: str | None = None) -> None:
        self._place = place
        self._clock = SystemClock()
        self._passphrases = Passphrases()
        self._workspace = init(
            place / "vendor", clock=self._clock, passphrases=self._passphrases, models=(MODEL,), dev=True, url=url
        ).workspace
        self.public = place / "vendor" / "public"

    def publish(self, version: str, source: Path, *, packages: PackageChoice | None = None) -> PublishReport:
        """Publish one file as a release; it stays where it is."""
        description = source.with_name(f"release-{version}.toml")
        text = _RELEASE.format(model=MODEL, version=version, source=source.name)
        description.write_text(text, encoding="utf-8")
        choice = PackageChoice() if packages is None else packages
        return publish(self._workspace, description, clock=self._clock, passphrases=self._passphrases, packages=choice)

    def device(self, name: str = "device") -> DeviceUnderTest:
        """A new device that is not running."""
        root = self._place / name
        enrol(self._place / "enroll.toml", root, self._clock)
        (root / "config.toml").write_text(_DEVICE.format(argv=json.dumps(fake_argv())), encoding="utf-8")
        return DeviceUnderTest(root)


def installed(device: DeviceUnderTest, version: str) -> Path:
    """The directory with the files of an installed version."""
    return device.layout.model(MODEL).slot(f"{version}+default") / "files"
