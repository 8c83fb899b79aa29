"""The lock files are what `pyproject.toml` asks for, and carry nothing of the machine they were made on."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PIN = re.compile(r"^([a-z0-9-]+)==([^ ;\\]+)", re.MULTILINE)


def pins(path: Path) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(path.read_text(encoding="utf-8")):
        found.setdefault(name, set()).add(version)
    return found


def asked(repository_root: Path, lock: str) -> list[str]:
    project: dict[str, Any] = tomllib.loads((repository_root / "pyproject.toml").read_text(encoding="utf-8"))
    if lock == "soak":
        return list(project["dependency-groups"]["soak"])
    wanted = list(project["project"]["dependencies"])
    if lock == "dev":
        extras = project["project"]["optional-dependencies"]
        wanted += [*extras["llama"], *extras["publisher"], *project["dependency-groups"]["dev"]]
    return wanted


@pytest.mark.parametrize("lock", ["device", "dev", "soak"])
def test_every_dependency_is_locked_within_its_range(repository_root: Path, lock: str) -> None:
    """A changed range in pyproject.toml without `make lock` is noticed."""
    locked = pins(repository_root / "requirements" / f"{lock}.txt")
    ranges: dict[str, list[Requirement]] = {}  # more than one where a marker tells interpreters apart
    for text in asked(repository_root, lock):
        requirement = Requirement(text)
        ranges.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    for name, allowed in ranges.items():
        versions = locked.get(name, set())
        assert versions, f"{name} is not locked: run make lock"
        for version in versions:
            assert any(one.specifier.contains(version) for one in allowed), f"{name} {version}: run make lock"


@pytest.mark.parametrize("lock", ["device", "dev", "soak"])
def test_a_lock_names_no_place(repository_root: Path, lock: str) -> None:
    """No index, URL, path or option: where packages come from is the user's pip configuration."""
    lines = (repository_root / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert "://" not in line
        assert re.match(r"#|    --hash=sha256:[0-9a-f]{64}( \\)?$|    # |[a-z0-9-]+==[^ ]+", line), line


def test_training_tools_are_not_locked(repository_root: Path) -> None:
    """PyTorch is for training the example models only."""
    assert "torch" not in pins(repository_root / "requirements" / "dev.txt")
