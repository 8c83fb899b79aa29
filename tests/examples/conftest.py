"""A vendor of the example family, and a device that its examples can drive."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from modelota.clock import SystemClock
from modelota.repository.founding import init
from modelota.repository.passphrases import Passphrases
from modelota.repository.publish import publish
from modelota.repository.workspace import Workspace


class Vendor:
    """Publishes the family's releases into a repository of files."""

    def __init__(self, place: Path, releases: Path, *, title: dict[Literal["zh-CN", "en"], str] | None = None) -> None:
        self._releases = releases
        self._clock = SystemClock()
        self.workspace: Workspace = init(
            place / "vendor",
            clock=self._clock,
            passphrases=Passphrases(),
            models=("acme/assistant",),
            title=title,
            dev=True,
        ).workspace
        self.enrolment = place / "enroll.toml"

    def publish(self, version: str) -> None:
        publish(self.workspace, self._releases / version / "release.toml", clock=self._clock, passphrases=Passphrases())


@pytest.fixture
def releases(repository_root: Path) -> Path:
    """The descriptions of the example releases: `<version>/release.toml`. Read only."""
    return repository_root / "examples" / "family" / "releases"


@pytest.fixture
def vendor(tmp_path: Path, releases: Path) -> Vendor:
    return Vendor(tmp_path, releases)
