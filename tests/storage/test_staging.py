"""Staging of releases with more packs than a process may have open files."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from modelota.spec.offer import Plan, PlannedFrame
from modelota.storage.durable import Disk
from modelota.storage.ledger import NoLedger
from modelota.storage.staging import OPEN_FILES_MAX, Staging


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_open_files_are_bounded(tmp_path: Path) -> None:
    """However many packs are staged, reserved, looked at and flushed, few files are open at once."""
    frames = tuple(
        PlannedFrame(pack=f"{number:064x}", frame=0, offset=0, length_bytes=16, codec="raw", chunk=0)
        for number in range(4 * OPEN_FILES_MAX)
    )
    plan = Plan(mode="full", manifest_digest="a" * 64, variant="q8", frames=frames, fetch_bytes=16 * len(frames))
    manifest: Any = SimpleNamespace(chunks=())
    staging = Staging(tmp_path / "packs", plan, manifest, lambda _: None, Disk((tmp_path,), NoLedger()))  # type: ignore[arg-type, return-value]  # nothing is opened
    before = _open_files()
    staging.reserve(frames)
    assert _open_files() - before <= OPEN_FILES_MAX
    assert len(list((tmp_path / "packs").iterdir())) == len(frames)
    staging._unsynced = {frame.pack: 16 for frame in frames}
    staging.flush()
    assert _open_files() - before <= OPEN_FILES_MAX
    staging.close()
    assert _open_files() == before
