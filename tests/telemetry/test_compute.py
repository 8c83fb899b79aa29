"""What a device can compute is measured, not guessed; accelerators are what the kernel shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelota.telemetry import compute
from modelota.telemetry.accelerator import Accelerator, accelerators
from modelota.telemetry.compute import measure_compute, measure_part


def test_all_cores_are_measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are positive, for as many cores as may be used, with what surrounded them."""
    monkeypatch.setattr(compute, "PART_S", 0.01)
    monkeypatch.setattr(compute, "usable_cores", lambda: 2)
    figures = measure_compute()
    assert figures is not None
    assert figures.cores == 2
    assert figures.gops > 0
    assert figures.single_memory_gb_s > 0
    assert figures.circumstances.load_average is not None


def test_a_part_knows_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """At least the promised repeats, and everything is set up before it says that it is ready."""
    monkeypatch.setattr(compute, "PART_S", 0.0)
    ready = []
    part = measure_part(64, lambda: ready.append(True))
    assert part.repeats == compute.REPEATS_MIN
    assert ready == [True]


def test_what_cannot_run_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a process to be had there is no figure, never a zero."""
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    assert measure_compute() is None


def test_accelerators_are_found_by_their_devices(tmp_path: Path) -> None:
    """Graphics processors by vendor, once each although a driver lists them too; neural processors by class."""
    assert accelerators(base=tmp_path) is None
    drm = tmp_path / "sys/class/drm"
    for node, vendor in (("renderD128", "0x10de"), ("renderD129", "0x1002"), ("renderD130", "0xdead")):
        (drm / node / "device").mkdir(parents=True)
        (drm / node / "device/vendor").write_text(f"{vendor}\n")
        (drm / node / "device/device").write_text("0x1234\n")
    gpu = tmp_path / "proc/driver/nvidia/gpus/0000:01:00.0"
    gpu.mkdir(parents=True)
    (gpu / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 1\n")
    (tmp_path / "sys/class/accel/accel0/device").mkdir(parents=True)
    assert accelerators(base=tmp_path) == (
        Accelerator("nvidia", "NVIDIA H100"),
        Accelerator("amd", "amd 0x1234"),
        Accelerator("npu", "npu"),
    )
