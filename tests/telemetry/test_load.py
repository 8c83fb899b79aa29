"""How much others disturbed a measurement."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from modelota.telemetry.load import ProcessorTime, processor_time, share_of_others

BURN = "import time; end = time.process_time() + 0.4\nwhile time.process_time() < end: pass"


def procfs(place: Path, busy: int, idle: int, own: int) -> Path:
    """A procfs with one process, 7, that took `own` ticks."""
    (place / "7" / "task" / "7").mkdir(parents=True, exist_ok=True)
    (place / "7" / "task" / "7" / "children").write_text("")
    (place / "stat").write_text(f"cpu  {busy} 0 0 {idle} 0 0 0 0 0 0\ncpu0 1 2 3 4\n")
    fields = ["S", *["0"] * 10, str(own), "0", "0", "0", *["0"] * 30]
    (place / "7" / "stat").write_text(f"7 (a ) name) {' '.join(fields)}\n")
    return place


def test_what_was_busy_and_not_ours_is_others(tmp_path: Path) -> None:
    """Of a hundred ticks sixty were busy and twenty of them ours: others took forty."""
    before = processor_time(7, proc=procfs(tmp_path, 100, 100, 10))
    after = processor_time(7, proc=procfs(tmp_path, 160, 140, 30))
    assert share_of_others(before, after) == pytest.approx(0.4)


def test_unknown_is_no_share(tmp_path: Path) -> None:
    """Without procfs, or without time between the readings, nothing is claimed."""
    assert processor_time(7, proc=tmp_path / "none") is None
    (tmp_path / "stat").write_text("cpu  1 2\n")
    assert processor_time(7, proc=tmp_path) is None
    moment = ProcessorTime(100, 50, 10)
    assert share_of_others(moment, moment) is None
    assert share_of_others(None, moment) is None


@pytest.mark.skipif(sys.platform != "linux", reason="procfs")
def test_a_burning_child_is_ours_and_a_stranger_is_not() -> None:
    """Real processes: what our own child takes is not others', what somebody else's takes is."""
    stranger = subprocess.Popen([sys.executable, "-c", BURN])
    before = processor_time(os.getpid())
    own = subprocess.Popen([sys.executable, "-c", BURN])
    own.wait()
    mine = processor_time(os.getpid())
    assert before is not None
    assert mine is not None
    assert mine.own_ticks - before.own_ticks >= 35, "the child's time came to us when it was collected"
    stranger.wait()
    begun = processor_time(own.pid)  # a tree that is gone: everything is others'
    end = time.process_time() + 0.3
    while time.process_time() < end:
        pass
    share = share_of_others(begun, processor_time(own.pid))
    assert share is not None
    assert share > 0
