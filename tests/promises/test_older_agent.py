"""An agent one minor version older opens the database of a newer one and serves, with both wheels installed."""

from __future__ import annotations

import re
import shutil
import sqlite3
import sys
import venv
from contextlib import closing
from pathlib import Path

import pytest
from tests.promises.test_wheel import copy_distribution, core_closure, run
from tests.scenarios.conftest import Publisher

from modelota.agent.schema import MIGRATIONS
from modelota.storage.database import MAJOR

NEWER_VERSION = "0.99.0"


def tables() -> list[str]:
    """Every table of the schema as this version knows it."""
    with closing(sqlite3.connect(":memory:")) as database:
        for script in MIGRATIONS:
            database.executescript(script)
        rows = database.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
        return sorted(name for (name,) in rows)


def make_newer(source: Path) -> None:
    """Turn a copy of the sources into a version with a minor more: another table, a column more in every table."""
    script = "CREATE TABLE newer_things (name TEXT PRIMARY KEY) WITHOUT ROWID;\n" + "\n".join(
        f"ALTER TABLE {table} ADD COLUMN newer TEXT DEFAULT 'unknown to the older agent';" for table in tables()
    )
    schema = source / "src" / "modelota" / "agent" / "schema.py"
    text = schema.read_text(encoding="utf-8")
    schema.write_text(f'{text}\nMIGRATIONS = (*MIGRATIONS, """\n{script}\n""")\n', encoding="utf-8")
    for path in (source / "pyproject.toml", source / "src" / "modelota" / "__init__.py"):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(r'(?m)^((?:__)?version(?:__)? = )".*"', rf'\1"{NEWER_VERSION}"', text), encoding="utf-8")


def installed(repository_root: Path, source: Path, place: Path) -> str:
    """The interpreter of an environment that holds the wheel of `source` and the device core."""
    run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)], source)
    (wheel,) = place.glob("*.whl")
    venv.create(place / "env", with_pip=False, symlinks=True)
    site = next((place / "env" / "lib").glob("python3*/site-packages"))
    for name in sorted(core_closure(repository_root)):
        copy_distribution(name, site)
    python = str(place / "env" / "bin" / "python")
    run([sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", str(wheel)], place)
    return python


def schema_of(database: Path) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as opened:
        return int(opened.execute("PRAGMA user_version").fetchone()[0])


@pytest.mark.timeout(600)
def test_the_older_agent_serves_and_updates(repository_root: Path, tmp_path: Path, publisher: Publisher) -> None:
    """The newer agent installs, the older one serves and updates, and the newer one goes on from there."""
    for name in ("older", "newer", "source"):
        (tmp_path / name).mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(repository_root / name, tmp_path / "source" / name)
    shutil.copytree(
        repository_root / "src", tmp_path / "source" / "src", ignore=shutil.ignore_patterns("__pycache__", "*.so")
    )
    make_newer(tmp_path / "source")
    older = installed(repository_root, repository_root, tmp_path / "older")
    newer = installed(repository_root, tmp_path / "source", tmp_path / "newer")

    publisher.publish("1.1.1", kind="feature")
    device = publisher.device()
    device.python = newer
    with device.running():
        assert device.ask("GET", "/v1/status")["agent_version"] == NEWER_VERSION
        assert device.update()["active_version"] == "1.1.1"
    assert schema_of(device.layout.database) == MAJOR * 1000 + len(MIGRATIONS) + 1

    publisher.publish("1.1.2")
    device.python = older
    with device.running():
        status = device.status()
        assert (status["active_version"], status["phase"]) == ("1.1.1", "idle")
        assert "version 1.1.1" in device.chat("Who are you?")
        assert any(entry["event"] == "activated" for entry in device.log())
        assert device.update()["active_version"] == "1.1.2"
        assert device.ask("POST", "/v1/rollback", {})["started"]
        assert device.settle()["active_version"] == "1.1.1"
    assert schema_of(device.layout.database) == MAJOR * 1000 + len(MIGRATIONS) + 1

    device.python = newer
    with device.running():
        assert device.status()["active_version"] == "1.1.1"
        assert "version 1.1.1" in device.chat("Who are you?")


@pytest.fixture
def publisher(tmp_path: Path) -> Publisher:
    (tmp_path / "vendor").mkdir()
    return Publisher(tmp_path / "vendor")
