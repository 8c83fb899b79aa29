"""The set-up says what the system lacks before it changes anything, and does nothing the second time."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

GOOD = {
    "version": [3, 12, 1],
    "missing": [],
    "system": "Linux",
    "machine": "x86_64",
    "libc": ["glibc", "2.36"],
}


@pytest.fixture(scope="module")
def bootstrap(repository_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("bootstrap", repository_root / "scripts" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_complete_python_is_accepted(bootstrap: ModuleType) -> None:
    """This interpreter, and one that is complete, are suitable."""
    assert bootstrap.judge(GOOD, "debian") is None
    assert bootstrap.judge(bootstrap.probe(sys.executable), "") is None


@pytest.mark.parametrize(
    ("change", "family", "expected"),
    [
        ({"version": [3, 10, 2]}, "debian", "too old"),
        ({"missing": ["ensurepip"]}, "debian", "apt-get install python3.12-venv"),
        ({"missing": ["venv", "ensurepip"]}, "fedora", "dnf install"),
        ({"libc": ["", ""]}, "alpine", "glibc 2.28"),
        ({"libc": ["glibc", "2.17"]}, "", "found glibc 2.17"),
    ],
)
def test_what_is_missing_is_named(bootstrap: ModuleType, change: dict[str, object], family: str, expected: str) -> None:
    """The reason and, where there is one, the command that helps."""
    assert expected in str(bootstrap.judge({**GOOD, **change}, family))


def test_nothing_is_created_when_no_python_will_do(repository_root: Path, tmp_path: Path) -> None:
    """With an interpreter that lacks ensurepip the set-up stops with exit status 69 and leaves no .venv."""
    (tmp_path / "scripts").mkdir()
    script = tmp_path / "scripts" / "bootstrap.py"
    script.write_bytes((repository_root / "scripts" / "bootstrap.py").read_bytes())
    poor = tmp_path / "poor-python"
    poor.write_text(f"#!/bin/sh\necho '{json.dumps({**GOOD, 'missing': ['ensurepip']})}'\n", encoding="utf-8")
    poor.chmod(0o755)
    result = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "MODELOTA_PYTHON": str(poor)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 69
    assert "lacks ensurepip" in result.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_stamp_follows_the_lock(bootstrap: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A changed lock file makes the set-up run again; an unchanged one does not."""
    lock = tmp_path / "dev.txt"
    lock.write_text("a==1\n", encoding="utf-8")
    monkeypatch.setattr(bootstrap, "LOCK", lock)
    first = bootstrap.wanted_stamp()
    assert bootstrap.wanted_stamp() == first
    lock.write_text("a==2\n", encoding="utf-8")
    assert bootstrap.wanted_stamp() != first


def test_a_machine_without_a_browser_is_no_error(repository_root: Path, tmp_path: Path) -> None:
    """What cannot be installed is named, with the command that helps, and the set-up goes on."""
    result = subprocess.run(
        [sys.executable, str(repository_root / "scripts" / "browser.py")],
        env={"PATH": str(tmp_path)},  # neither a browser nor apt-get
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0
    assert "apt-get install chromium" in result.stderr


def test_the_browser_that_is_named_is_taken(repository_root: Path, tmp_path: Path) -> None:
    """`MODELOTA_CHROMIUM` comes before what is on the path; one that is not there is not replaced by another."""
    named = tmp_path / "mine"
    named.write_text("#!/bin/sh\n", encoding="utf-8")
    named.chmod(0o755)
    code = "import browser; print(browser.find())"
    for value, expected in ((str(named), str(named)), (str(tmp_path / "missing"), "None")):
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=repository_root / "scripts",
            env={**os.environ, "MODELOTA_CHROMIUM": value},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == expected
