"""The supervisor is idle most of its life, so it carries nothing heavy."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {"tuf", "securesystemslib", "numpy", "cryptography", "obstore", "typer", "rich", "requests"}
HEAVY |= {"litestar", "uvicorn", "jinja2", "jeepney"}  # of the page and of the notifier
# The supervisor, and what it is made of, so that a failure names the room that brought the weight.
LIGHT = [
    "modelota.errors",
    "modelota.clock",
    "modelota.faults",
    "modelota.i18n",
    "modelota.spec.api",
    "modelota.spec.enrolment",
    "modelota.spec.manifest",
    "modelota.spec.offer",
    "modelota.storage.database",
    "modelota.storage.durable",
    "modelota.agent.machine",
    "modelota.agent.supervisor",
]


@pytest.mark.parametrize("module", LIGHT)
def test_imports_nothing_heavy(module: str) -> None:
    """A fresh interpreter that imports the module has loaded none of the heavy libraries."""
    code = "import importlib, json, sys; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in json.loads(result.stdout)}
    assert not loaded & HEAVY
