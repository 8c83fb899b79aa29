"""A longer fuzz of everything that is parsed from outside (`make soak`), and that its targets still work."""

from __future__ import annotations

import importlib.util
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tests.soak.fuzz_targets import TARGETS, mutate_json

BUDGET_VARIABLE = "MODELOTA_FUZZ_S"
BUDGET_DEFAULT_S = 600
INPUT_MAX_BYTES = 64 * 1024
ROUND_MAX_S = 120  # of one process: instrumented code leaks
INPUT_MAX_S = 20  # one input; a machine under load included


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_damaged_ones(name: str) -> None:
    """Seeds, and a few changed copies of each, are no finding: the harness itself is in order."""
    target, rng = TARGETS[name], random.Random(7)
    for seed in target.seeds():
        target.run(seed)
        for _ in range(3):
            damaged = bytearray(seed)
            for _ in range(rng.randrange(1, 4)):
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
            target.run(bytes(damaged[: rng.randrange(1, len(damaged) + 1)]))
            target.run(mutate_json(seed, rng))


@pytest.mark.soak
@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", TARGETS)
def test_fuzz(name: str, tmp_path: Path, repository_root: Path) -> None:
    """For its share of the time, no input makes a target fail, hang, crash, or take much memory."""
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: it has wheels for Linux on x86-64 only (requirements/soak.txt)")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number}").write_bytes(seed)
    left_s = max(1, int(os.environ.get(BUDGET_VARIABLE) or BUDGET_DEFAULT_S) // len(TARGETS))
    while left_s:
        round_s = min(left_s, ROUND_MAX_S)
        left_s -= round_s
        fuzz_for(round_s, name, tmp_path, repository_root)


def fuzz_for(seconds: int, name: str, place: Path, repository_root: Path) -> None:
    """One process, which goes on with the corpus that the last one left."""
    options = [
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_MAX_S}",
        f"-max_len={INPUT_MAX_BYTES}",
        f"-artifact_prefix={place}/finding-",
        "-print_final_stats=1",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak.fuzz", name, str(place / "corpus"), *options],
        cwd=repository_root, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    print(done.stderr[-2000:])  # noqa: T201  a soak run is read by a person
    found = {path.name: path.read_bytes()[:4096].hex() for path in place.glob("finding-*")}
    assert done.returncode == 0, f"{found}\n{done.stdout[-3000:]}\n{done.stderr[-4000:]}"
