"""The command prints what it promises: counts first, rows after them, JSON of one shape."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelota.conformance import REQUIREMENTS

KEYS = ["id", "status", "figure", "limit", "unit", "reason", "evidence"]
STATUSES = {"passed", "failed", "not measured yet", "unmeasurable here", "simulated", "organisational"}


def conformance(*words: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "modelota.cli.main", "conformance", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout_s)


def test_rows_without_a_measurement_are_counted_first() -> None:
    """They do not fail the run, and the first line says how many there are."""
    done = conformance("--only", "8.3-a", "--only", "8.3-b", "--lang", "en")
    first, *rest = done.stdout.splitlines()
    assert done.returncode == 0
    assert "not measured yet: 2" in first
    assert "failed: 0" in first
    assert rest[0].startswith("8.3-a")


def test_json_is_one_list_of_rows() -> None:
    """With exactly the promised keys, in the promised order."""
    done = conformance("--only", "8.3-b", "--json")
    (row,) = json.loads(done.stdout)
    assert list(row) == KEYS
    assert (row["id"], row["status"], row["evidence"]) == ("8.3-b", "not measured yet", {})
    assert conformance("--only", "8.3-b", "--json", "--lang", "zh").stdout != done.stdout


def test_a_wrong_call_is_told() -> None:
    """With a code, and the exit status of a usage error."""
    done = conformance("--only", "1.2.3", "--json")
    assert done.returncode == 64
    assert json.loads(done.stdout)["error"]["code"] == "argument-invalid"


@pytest.mark.soak
@pytest.mark.engine
def test_the_example_family_conforms() -> None:
    """The whole run on the example family: 51 rows, none of them failed."""
    done = conformance("--json", timeout_s=900)
    rows = json.loads(done.stdout)
    assert [row["id"] for row in rows] == list(REQUIREMENTS)
    assert {row["status"] for row in rows} <= STATUSES
    assert not [(row["id"], row["reason"]) for row in rows if row["status"] == "failed"]
    assert done.returncode == 0
