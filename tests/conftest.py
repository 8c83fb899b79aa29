"""Fixtures that several rooms need, and how property tests run here."""

from __future__ import annotations

import os
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
