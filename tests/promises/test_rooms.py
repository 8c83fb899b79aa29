"""The order of the rooms is a law: the contract holds, and it catches what it should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

LINT = Path(sys.executable).with_name("lint-imports")


def lint(folder: Path, *, package_path: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(package_path), "COLUMNS": "200"}
    return subprocess.run(
        [str(LINT), "--no-cache"], cwd=folder, env=environment, text=True, capture_output=True, check=False
    )


def test_the_contract_holds(repository_root: Path) -> None:
    """Every import of the project runs downward, without cycles."""
    result = lint(repository_root, package_path=repository_root / "src")
    assert result.returncode == 0, result.stdout


def test_the_contract_catches_planted_violations(repository_root: Path, tmp_path: Path) -> None:
    """An upward import is found at module level, under TYPE_CHECKING, inside a function, and between neighbours."""
    skip = shutil.ignore_patterns("__pycache__", "locales")
    shutil.copytree(repository_root / "src" / "modelota", tmp_path / "modelota", ignore=skip)
    shutil.copy(repository_root / ".importlinter", tmp_path)
    planted = {
        "spec/planted_top.py": "import modelota.agent\n",
        "spec/planted_type.py": (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from modelota import repository\n"
        ),
        "storage/planted_inside.py": "def late() -> None:\n    import modelota.delivery\n",
        "repository/planted_neighbour.py": "import modelota.agent\n",
        "spec/planted_io.py": "import sqlite3\n",
    }
    for name, text in planted.items():
        (tmp_path / "modelota" / name).write_text(text, encoding="utf-8")

    result = lint(tmp_path, package_path=tmp_path)

    assert result.returncode == 1
    report = re.sub(r"\s+", " ", result.stdout)
    for name in planted:
        assert f"modelota.{name.removesuffix('.py').replace('/', '.')} ->" in report, name


def test_no_room_is_a_drawer(repository_root: Path) -> None:
    """No module is called after having no subject of its own."""
    drawers = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}
    assert not [path for path in (repository_root / "src").rglob("*.py") if path.stem in drawers]
