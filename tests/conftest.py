"""Fixtures that several rooms need, and how property tests run here."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from modelota.testing.clock import ManualClock

# No test, and no process a test starts, may touch the keyring of whoever runs it.
os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.fail.Keyring"

# The same examples every time, no deadline on a busy machine, and nothing written into the source tree.
set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "modelota-hypothesis")
settings.register_profile(
    "ci", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    """With several processes (pytest-xdist) temporary directories get short names: a socket's address is short."""
    parallel = getattr(config.option, "numprocesses", None) and not hasattr(config, "workerinput")
    if parallel and not config.option.basetemp:
        place = tempfile.mkdtemp(prefix="mt-", dir="/tmp" if Path("/tmp").is_dir() else None)
        config.option.basetemp = place
        config.add_cleanup(lambda: _remove(Path(place)))


def _remove(place: Path) -> None:
    """Remove what tests left, slots included, whose directories can't be written."""
    for folder, _, _ in os.walk(place):
        Path(folder).chmod(0o700)
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The root of the source tree."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def family(repository_root: Path) -> Path:
    """The example models: `<version>/<file>.gguf` below this directory. Read only."""
    return repository_root / "examples" / "family" / "models"


@pytest.fixture
def clock() -> ManualClock:
    """A clock that moves when the test says so."""
    return ManualClock()
