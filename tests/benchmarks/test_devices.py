"""The benchmarks of whole updates, on models small enough for a test."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import apply_memory
import changed_tensor
import install
import pytest
from product.memory import smaps

from modelota.repository.serve import RepositoryServer


def test_one_changed_tensor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each case is fetched by a real device, and what was counted is compared with the tensor's coded size."""
    monkeypatch.setattr(changed_tensor, "WIDTH", 128)
    cases = {case.name: case for case in changed_tensor.CASES}
    chosen = tuple(cases[name] for name in ("one tensor, new values", "one tensor, every value a little"))
    monkeypatch.setattr(changed_tensor, "CASES", chosen)
    rows = changed_tensor.measure(tmp_path, seed=1)
    assert [row["mode"] for row in rows] == ["incremental", "differential"]
    for row in rows:
        assert row["coded_bytes"] < row["fetched_bytes"] < row["coded_bytes"] + 100
        assert row["met"] == (row["fetched_bytes"] <= row["coded_bytes"] + row["index_bytes"] // 100)
        assert 0 < row["index_bytes"] < row["signed_bytes"]


def test_memory_of_the_three_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Full, incremental and differential plans are applied while the worker is watched."""
    monkeypatch.setattr(apply_memory, "SHAPE", (256, 256))
    monkeypatch.setattr(apply_memory, "TENSOR_BYTES", 2 * 256 * 256)
    rows = apply_memory.measure(tmp_path, 2)
    assert [row["mode"] for row in rows] == ["full", "incremental", "differential"]
    for row in rows:
        assert 0 < row["idle_mib"] < row["peak_mib"]
        assert row["met"]
        assert max(row["phases_mib"].values()) == row["above_idle_mib"]


def test_an_installation_is_timed_step_by_step(tmp_path: Path) -> None:
    """The steps of an installation add up to the whole."""
    vendor = install.publish_random(tmp_path, 1, None)
    seconds, steps = install.install_s(vendor)
    assert sum(steps.values()) == pytest.approx(seconds)
    assert list(steps)[-1] == "deploying"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_peer_of_an_installation(tmp_path: Path) -> None:
    """`curl`, `sha256sum` and `sync` get the file from the same server."""
    (tmp_path / "public").mkdir()
    (tmp_path / "public" / "model.bin").write_bytes(b"x" * 1000)
    with RepositoryServer(tmp_path / "public") as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert install.peer_s(tmp_path, f"{server.url}/") > 0
        finally:
            server.shutdown()
            thread.join()


def test_memory_is_read_as_the_kernel_counts_it() -> None:
    """Anonymous memory is a part of all memory."""
    found = smaps(os.getpid())
    assert 0 < found["Pss_Anon"] <= found["Pss"]
