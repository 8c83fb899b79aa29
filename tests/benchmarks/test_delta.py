from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import delta
import pairs
import pytest
from peers import measuring
from peers.bars import table, verdicts
from peers.kept import Kept, fingerprint
from peers.methods import EMULATION, FULL, OURS, Method, methods
from training.storing import store

MakePair = Callable[[str], tuple[Path, Path]]
KEYS = {"pair", "method", "ratio", "encode_mb_s", "apply_mb_s", "peak_rss_mb", "identical"}


def by_name(name: str) -> Method:
    return next(method for method in methods() if method.name == name)


def copier(*, reports: bool = False, missing: str = "", program: str = "cp") -> Method:
    """A method whose patch is the target."""
    return Method(
        "copier",
        lambda _base, target, patch, _report: [program, str(target), str(patch)],
        lambda _base, patch, out, _report: [program, str(patch), str(out)],
        reports=reports,
        missing=missing,
    )


def test_figures_of_a_program(small_pair: MakePair) -> None:
    """A program that copies has a ratio of 1, speeds and memory of its own, and the target's bytes."""
    base, target = small_pair("BF16")
    (row,) = delta.measure("small", base, target, [copier()], rounds=2, slow_s=60, cores=1)
    assert row.keys() >= KEYS
    assert row["ratio"] == 1
    assert row["identical"] is True
    assert row["rounds"] == 2
    assert row["encode_mb_s"] > 0
    assert row["peak_rss_mb"] > 0


def test_what_is_missing_or_fails_is_said(small_pair: MakePair) -> None:
    """A method that is not installed and one that ends badly have rows without figures and with the reason."""
    base, target = small_pair("BF16")
    for method, reason in (
        (copier(missing="cp is not installed"), "not installed"),
        (copier(program="false"), "false"),
    ):
        (row,) = delta.measure("small", base, target, [method], rounds=1, slow_s=60, cores=1)
        assert row.keys() >= KEYS
        assert row["ratio"] is None
        assert row["identical"] is None
        assert reason in row["error"]


def test_a_slow_method_runs_once(small_pair: MakePair) -> None:
    """What took longer than the limit is not repeated."""
    base, target = small_pair("BF16")
    (row,) = delta.measure("small", base, target, [copier()], rounds=3, slow_s=0, cores=1)
    assert row["rounds"] == 1


def test_a_run_goes_on_where_it_stopped(small_pair: MakePair, tmp_path: Path) -> None:
    """A kept round is not measured again, a missing one is; other files and other code are measured anew."""
    base, target = small_pair("BF16")
    calls = tmp_path / "calls"
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\necho >> {calls}\ncp "$1" "$2"\n', encoding="utf-8")
    program.chmod(0o755)
    method = dataclasses.replace(copier(program=str(program)), made_of=(program,))

    def run(rounds: int, *, base: Path = base) -> tuple[dict[str, Any], int]:
        before = len(calls.read_text()) if calls.exists() else 0
        kept = Kept(tmp_path / "kept", cores=1)
        (row,) = delta.measure("small", base, target, [method], rounds=rounds, slow_s=60, cores=1, kept=kept)
        return row, len(calls.read_text()) - before  # a line each for encoding and applying

    first, calls_made = run(1)
    assert calls_made == 2
    again, calls_made = run(1)
    assert (again, calls_made) == (first, 0)
    more, calls_made = run(3)
    assert (more["rounds"], calls_made) == (3, 4)
    assert run(3, base=target)[1] == 6
    program.write_text(program.read_text(encoding="utf-8") + "# changed\n", encoding="utf-8")
    fingerprint.cache_clear()
    assert run(3, base=target)[1] == 6


def test_a_failure_is_tried_again(small_pair: MakePair, tmp_path: Path) -> None:
    """What failed is not remembered."""
    base, target = small_pair("BF16")
    kept = Kept(tmp_path / "kept", cores=1)
    for program, expected in (("false", None), ("cp", 1)):
        method = copier(program=program)
        (row,) = delta.measure("small", base, target, [method], rounds=1, slow_s=60, cores=1, kept=kept)
        assert row["ratio"] == expected


def test_any_two_files_with_the_real_peers(small_pair: MakePair, capsys: pytest.CaptureFixture[str]) -> None:
    """`--pair` prints a JSON list with a row per method, each either measured and identical or named as missing."""
    base, target = small_pair("F16")
    arguments = ["--pair", str(base), str(target), "--rounds", "1", "--methods", "xdelta3 -9", "bsdiff4", EMULATION]
    assert delta.main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["method"] for row in rows] == ["xdelta3 -9", "bsdiff4", EMULATION]
    for row in rows:
        assert row["identical"] is True or "not installed" in row["error"]
    assert rows[-1]["identical"] is True


def test_ours_in_processes_of_its_own(small_pair: MakePair) -> None:
    """A full package is made and installed by worker processes, whose memory is counted."""
    base, target = small_pair("BF16")
    measured = measuring.Measured()
    measuring.round_of(by_name(FULL), base, target, measured, cores=2)
    assert measured.error == ""
    assert measured.identical
    assert measured.applied[0].rss_bytes > 40_000_000  # three interpreters


def test_bars_of_a_run() -> None:
    """Each bar compares the right two figures; the aim and the bar are told apart; what was not measured is `none`.

    Nor are speeds of two runs compared.
    """
    ours = {
        "pair": "p", "method": OURS, "ratio": 0.08, "encode_mb_s": 90.0, "apply_mb_s": 250.0, "peak_rss_mb": 90.0,
        "identical": True, "numpy_apply_mb_s": 210.0, "full_ratio": 0.7, "adaptive_code_length": 0.079, "cores": 2,
        "run": "now",
    }  # fmt: skip
    peer = {
        "pair": "p", "method": "bsdiff4", "ratio": 0.1, "encode_mb_s": 1.0, "apply_mb_s": 30.0, "peak_rss_mb": 400.0,
        "identical": True, "run": "now",
    }  # fmt: skip
    found = {one.what: one.word for one in verdicts("p", "bf16", 45_000_000, [ours, peer])}
    assert found == {
        "size / smallest peer": "pass",
        "size / adaptive_code_length": "PASS",
        "size / full package": "PASS",
        "size / raw": "PASS",
        "identical": "PASS",
        "encode / bsdiff4": "PASS",
        "encode / XOR + planes": "none",
        "encode MB/s": "pass",
        "apply MB/s, NumPy alone": "pass",
        "apply MB/s": "FAIL",
        "apply / hpatchz": "none",
    }
    before = list(verdicts("p", "bf16", 45_000_000, [ours, peer | {"run": "before"}]))
    assert {one.what: one.word for one in before} == found | {"encode / bsdiff4": "none"}
    assert "FAIL" in table([ours, peer], list(verdicts("p", "bf16", 45_000_000, [ours, peer])))


def test_pairs_are_made_from_trained_weights(
    small_pair: MakePair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the weights are there, a pair's files are made of them, once, and differ as the pair says."""
    monkeypatch.setenv("MODELOTA_BENCH_CACHE", str(tmp_path / "cache"))
    trained = pairs.cache_folder() / "minilm"
    trained.mkdir(parents=True)
    weights, _ = small_pair("F32")
    shutil.copy(weights, trained / "base.safetensors")
    maker = pairs.Maker(pairs.cache_folder())
    base, noted = maker.pair(pairs.PAIRS["metadata-safetensors"])
    same, renamed = maker.pair(pairs.PAIRS["renamed"])
    assert same == base
    assert base.stat().st_size < noted.stat().st_size
    tail = 2 * 2100  # of the last tensor
    assert base.read_bytes()[-tail:] == noted.read_bytes()[-tail:] != renamed.read_bytes()[-tail:]
    store(trained / "base.safetensors", {}, dtype="F32")
    assert maker.pair(pairs.PAIRS["renamed"]) == (same, renamed)


def test_every_group_has_pairs() -> None:
    """Every kind of file with a bar has at least two pairs, and no pair has an unknown kind."""
    groups = [pair.group for pair in pairs.PAIRS.values()]
    assert set(groups) == {"bf16", "fp16", "fp32", "q8_0", "q4_0", "q4_k_m", "any"}
    assert all(groups.count(group) >= 2 for group in groups)
