"""Cleaning a tree of a million files (requirement 7.4.2-b)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_files_take_three_minutes_at_most(tmp_path: Path, repository_root: Path) -> None:
    """All residues go, no decoy does, and it takes no more than 180 seconds."""
    script = repository_root / "benchmarks" / "clean.py"
    command = [sys.executable, str(script), "--files", "1000000", "--place", str(tmp_path)]
    result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    assert result["files"] >= 1_000_000
    assert result["residue_kinds"] >= 12
    assert result["removed_share"] >= 0.99
    assert result["decoys_deleted"] == 0
    assert result["seconds"] <= 180
