"""Preflight: the benchmark once per start and only where a release asks; the share of storage as table 1 counts it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from modelota.agent import preflight
from modelota.agent.journal import Journal
from modelota.agent.preflight import profile_for
from modelota.spec.manifest import Compute, Requires
from modelota.storage.layout import Layout
from modelota.storage.space import allocated_bytes
from modelota.telemetry.circumstances import circumstances
from modelota.telemetry.compute import ComputeFigures
from modelota.telemetry.profile import check_requirements
from modelota.testing.clock import ManualClock


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "agent.db", ManualClock())
    yield made
    made.close()


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    counted: list[int] = []

    def measure() -> ComputeFigures:
        counted.append(1)
        return ComputeFigures(
            gops=100.0,
            memory_gb_s=20.0,
            single_gops=50.0,
            single_memory_gb_s=10.0,
            cores=2,
            seconds=0.5,
            circumstances=circumstances(),
        )

    monkeypatch.setattr(preflight, "measure_compute", measure)
    return counted


def unmet(profile: object, **compute: object) -> list[object]:
    requires = Requires(compute=msgspec.convert(compute, Compute))
    found = check_requirements(
        requires,
        profile,  # type: ignore[arg-type]
        agent_version="9",
        runtime_versions={"r": "1"},
        runtime="r",
        peak_space_bytes=0,
    )
    return [(error.params["requirement"], error.params["found"]) for error in found]


def test_it_is_measured_once_and_where_it_is_asked_for(tmp_path: Path, journal: Journal, runs: list[int]) -> None:
    """No demand, no benchmark; two checks, one benchmark; another boot, another one. Each is journalled."""
    profile = profile_for(Layout(tmp_path), journal, Requires())
    assert not runs
    assert profile.gops is None
    assert profile.reasons["gops"]
    wants = Requires(compute=Compute(min_gops=99.0))
    assert profile_for(Layout(tmp_path), journal, wants).gops == 100.0
    assert profile_for(Layout(tmp_path), journal, wants).memory_gb_s == 20.0
    assert len(runs) == 1
    journal.set_fact("compute", journal.fact("compute").replace(b'"situation":"', b'"situation":"x'))  # type: ignore[union-attr]
    profile_for(Layout(tmp_path), journal, wants)
    journal.set_fact("compute", b"of another version")
    profile_for(Layout(tmp_path), journal, wants)
    assert len(runs) == 3
    assert [entry.event for entry in journal.log(None, 0, 10)] == ["compute-measured"] * 3


def test_what_is_lacking_is_named_with_both_figures(tmp_path: Path, journal: Journal, runs: list[int]) -> None:
    """Each new demand: met, not met, and not known."""
    profile = profile_for(Layout(tmp_path), journal, Requires(compute=Compute(min_gops=1.0)))
    assert unmet(profile, min_gops=100.0, min_memory_gb_s=20.0) == []
    assert unmet(profile, min_gops=100.1) == [("compute-gops", 100.0)]
    assert unmet(profile, min_memory_gb_s=20.1) == [("compute-memory-gb-s", 20.0)]
    unknown = msgspec.structs.replace(profile, gops=None, accelerators=None)
    assert unmet(unknown, min_gops=1.0) == [("compute-gops", None)]
    assert unmet(unknown, accelerators=["npu"]) == [("accelerator", None)]
    has = msgspec.structs.replace(profile, accelerators=("amd",))
    assert unmet(has, accelerators=["npu", "amd"]) == []
    assert unmet(has, accelerators=["npu"]) == [("accelerator", "amd")]


def test_blocks_are_counted_once_and_holes_not(tmp_path: Path) -> None:
    """A hard link costs nothing, a hole costs nothing, a link is not followed."""
    place = tmp_path / "model"
    place.mkdir()
    (place / "a").write_bytes(bytes(range(256)) * 400)
    before = allocated_bytes(place)
    assert before >= 100_000
    (place / "b").hardlink_to(place / "a")
    (place / "c").symlink_to("/usr")
    with (place / "hole").open("wb") as file:
        file.truncate(1 << 30)
    assert allocated_bytes(place) - before < 100_000
