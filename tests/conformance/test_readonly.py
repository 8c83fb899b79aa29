"""The read-only surroundings are tight, or there are none."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from modelota.conformance import readonly


def test_only_the_one_directory_can_be_written(tmp_path: Path) -> None:
    """A command writes below its directory, and fails beside it and in the system's places."""
    inside = tmp_path / "inside"
    inside.mkdir()
    prefix = readonly.prefix_for(inside)
    if prefix is None:
        pytest.skip("no mount namespaces here")
    script = f"touch {inside}/a && ! touch {tmp_path}/b 2>/dev/null && ! touch /tmp/c /var/c 2>/dev/null && echo tight"
    done = subprocess.run([*prefix, "sh", "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "tight", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["inside"]
    assert (inside / "a").exists()


def test_without_a_namespace_nothing_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the tool for namespaces is missing the room says so instead of pretending."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert readonly.prefix_for(tmp_path) is None
