"""What lies in staging once all of a release was fetched and nothing deployed."""

from __future__ import annotations

import shutil
from pathlib import Path

from modelota.conformance.chapters.main_story import first_install
from modelota.conformance.stage import Stage


def staged(stage: Stage) -> Path:
    """Fetch the first release on a device whose worker is killed where it would deploy; returns a copy of staging."""
    stage.chapter(first_install)
    device = stage.device("g", stage.publisher, stage.family.model)
    device.start({"MODELOTA_FAULTS": "deploy.chunk@1=kill"})
    device.accept_offer(version=stage.family.first["version"])  # by now there may be newer ones

    def waits() -> bool:
        now = device.status()
        return bool(now["phase"] == "deploying" and now["paused"])

    device.until(waits, "everything to be fetched")
    device.stop()
    copy = stage.place / "staged"
    shutil.copytree(device.place / "staging", copy)
    return copy
