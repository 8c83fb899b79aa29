"""A slot is verified once in each run of the system; what changes afterwards is verified again."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from modelota.testing.device import DeviceUnderTest
from tests.scenarios.conftest import Publisher
from tests.scenarios.test_power_loss import wait_until
from tests.scenarios.test_repair import damage, model_file

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def verified(device: DeviceUnderTest) -> dict[str, tuple[str, list[int]]]:
    """What the agent noted of each slot's model file: run of the system, stamp."""
    with sqlite3.connect(f"file:{device.layout.database}?mode=ro", uri=True) as database:
        rows = database.execute("SELECT slot, boot_id, stamp FROM verified").fetchall()
    database.close()
    return {slot: (boot_id, json.loads(stamp)["model.bin"][1]) for slot, boot_id, stamp in rows}


def test_the_self_test_verifies_for_those_who_start_later(installed: tuple[Publisher, DeviceUnderTest]) -> None:
    """After an installation the slot's stamp is known, and it is that of the file that is there."""
    _, device = installed
    boot_id, stamp = verified(device)["1.1.1+q8"]
    found = model_file(device, "1.1.1").stat()
    assert boot_id == BOOT
    assert stamp == [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def test_a_change_after_the_verification_is_found_at_the_next_start(
    installed: tuple[Publisher, DeviceUnderTest],
) -> None:
    """The engine does not start from a file that was changed, though this slot was verified in this run."""
    _, device = installed
    assert verified(device)
    device.stop()
    damage(model_file(device, "1.1.1"), 5)
    device.start()
    wait_until(lambda: (device.status()["engine_error"] or {}).get("code") == "slot-damaged")
