"""Checks of packages, lineage, repair and tidiness notice a product that does wrong."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelota.conformance.chapters.attempts import Attempt
from modelota.conformance.chapters.crashes import Crash
from modelota.conformance.chapters.main_story import BadRelease, Damage, Installation
from modelota.conformance.chapters.packages import Arrival, Line, Release, Return, Travels
from modelota.conformance.checks import clause_5_2_packages, clause_6, clause_7
from modelota.conformance.checks.of_repository import small
from modelota.conformance.commands import Done
from modelota.conformance.readings import blake3_hash
from modelota.conformance.row import Examination, Unmeasurable
from modelota.conformance.socket_client import Answer

Json = dict[str, Any]
MODEL = "a/m"
REFUSED = Attempt("", True, "incremental-too-large")
GRANTED = Attempt("", False, None)


class Told:
    """A stage whose chapters are already known."""

    def __init__(self, **chapters: Any) -> None:
        self._chapters = chapters

    def chapter(self, tell: Callable[..., Any]) -> Any:
        return self._chapters[tell.__name__]


def outcome(check: Callable[[Any], Examination], stage: Any) -> tuple[str, str]:
    row = check(stage).row("x", "en")
    return row.status, row.reason or ""


def package(mode: str, routes: dict[int, int], base: str | None = None) -> Json:
    listed = [[chunk, 0, chunk, 0, length, "raw"] for chunk, length in routes.items()]
    size_bytes = sum(routes.values())
    based = {"base_version": base, "base_variant": base and "v"}
    return {"mode": mode, "size_bytes": size_bytes, "routes": listed, **based}


def manifest(version: str, chunks: str, *packages: Json, predecessor: str | None = None) -> Json:
    variant = {"name": "v", "files": [{"chunks": list(range(len(chunks)))}], "packages": list(packages)}
    return {
        "model": MODEL,
        "version": version,
        "predecessor": predecessor,
        "released_at": "2026-01-01T00:00:00Z",
        "chunks": [[digest, 1] for digest in chunks],
        "packs": [{"digest": "p", "size_bytes": 5000}],
        "variants": [variant],
    }


@pytest.fixture
def line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Line:
    """Three releases: the second changes everything a little, the third adds a module to it."""
    monkeypatch.setattr(clause_6, "RUN_MAX_S", 1 << 40)
    plain = {"1.1.1": bytes(range(256)) * 8, "1.1.2": bytes(range(255, -1, -1)) * 8}
    plain["1.2.1"] = plain["1.1.2"] + b"module"
    full, small_difference = package("full", {0: 1000, 1: 1000}), package("differential", {0: 10, 1: 10}, "1.1.1")
    with_module = package("full", {0: 1000, 1: 1000, 2: 20}), package("incremental", {2: 20}, "1.1.2")
    manifests = [
        manifest("1.1.1", "ab", copy.deepcopy(full)),
        manifest("1.1.2", "cd", full, small_difference, predecessor="1.1.1"),
        manifest("1.2.1", "cde", *with_module, predecessor="1.1.2"),
    ]
    releases: list[Release] = []
    for described, attempt in zip(manifests, (None, REFUSED, GRANTED), strict=True):
        version = described["version"]
        source = tmp_path / version
        source.write_bytes(plain[version])
        variant = {"name": "v", "files": [{"path": "f", "source": str(source)}]}
        table = {"model": MODEL, "version": version, "notes": {"en": version}, "variants": [variant]}
        named = tuple(each.table["version"] for each in releases[-1:])
        report = {"already_published": False}
        releases.append(Release(table, named, attempt, report, described, f"sha {version}"))
    return Line({MODEL: releases}, [], {MODEL: [record_of(each) for each in releases]})


def record_of(release: Release) -> Json:
    source = release.sources("v")["f"]
    file = {"path": "f", "size_bytes": source.stat().st_size, "digest": blake3_hash(source)}
    return {
        "version": release.table["version"],
        "predecessor": release.manifest["predecessor"],
        "manifest_digest": release.sha256,
        "notes": release.table["notes"],
        "device_models": [],
        "released_at": release.manifest["released_at"],
        "variants": [{"name": "v", "files": [file]}],
    }


def arrival(line: Line, version: str, mode: str, planned: int, held: tuple[str, ...], **changes: Any) -> Arrival:
    fields: Json = {"served_bytes": planned, "outcome": {}, "identical": True}
    return Arrival(line.release(MODEL, version), held, {"offer": plan_of(mode, planned)}, **{**fields, **changes})


def plan_of(mode: str, planned: int) -> Json:
    return {"mode": mode, "planned_bytes": planned, "full_bytes": 2000, "to_variant": "v", "from_variant": "v"}


def way_back(line: Line, version: str, *, kept: bool) -> Return:
    return Return(
        release=line.release(MODEL, version),
        held=("1.1.2", "1.2.1"),
        kept=kept,
        offer=None if kept else {"direction": "rollback", "to_version": version, **plan_of("full", 2000)},
        bytes_before_decision=0,
        served_bytes=0 if kept else 2000,
        seconds=1.0,
        status=0,
        active=version,
        serves=version,
        identical=True,
        left_over=[],
    )


def journey(line: Line) -> Travels:
    arrivals = [
        arrival(line, "1.1.1", "full", 2000, ()),
        arrival(line, "1.1.2", "differential", 20, ("1.1.1",)),
        arrival(line, "1.2.1", "incremental", 20, ("1.1.1", "1.1.2")),
    ]
    returns = [way_back(line, "1.1.2", kept=True), way_back(line, "1.1.1", kept=False)]
    return Travels({MODEL: arrivals}, {MODEL: returns})


def stage(line: Line, travels: Travels | None = None) -> Told:
    return Told(published_line=line, travels=travels or journey(line))


# -- 5.2.1-a


def packages_of(line: Line, version: str) -> list[Json]:
    found: list[Json] = line.release(MODEL, version).manifest["variants"][0]["packages"]
    return found


def publish_too_large(line: Line) -> None:
    packages_of(line, "1.1.2").append(package("incremental", {0: 1000, 1: 1000}, "1.1.1"))


def hide_a_small_one(line: Line) -> None:
    packages_of(line, "1.2.1").pop()


def understate(line: Line) -> None:
    packages_of(line, "1.2.1")[1]["size_bytes"] = 1


def take_the_demand(line: Line) -> None:
    line.release(MODEL, "1.1.2").demanded = GRANTED


def refuse_for_another_reason(line: Line) -> None:
    line.release(MODEL, "1.1.2").demanded = Attempt("", True, "version-exists")


def damage_a_pack(line: Line) -> None:
    line.broken_packs.append("p")


def leave_the_pack(line: Line) -> None:
    packages_of(line, "1.2.1")[1]["routes"][0][3] = 4990


@pytest.mark.parametrize(
    "spoil",
    [
        publish_too_large,
        hide_a_small_one,
        understate,
        take_the_demand,
        refuse_for_another_reason,
        damage_a_pack,
        leave_the_pack,
    ],
)
def test_incremental_packages(line: Line, spoil: Callable[[Line], None]) -> None:
    """One too many, one too few, a wrong size, a demand that is granted or refused for nothing: each is noticed."""
    assert outcome(clause_5_2_packages.incremental, stage(line)) == ("passed", "")
    spoil(line)
    assert outcome(clause_5_2_packages.incremental, stage(line))[0] == "failed"


@pytest.mark.parametrize(
    ("mode", "planned", "served"),
    [
        ("incremental", 21, 21),  # more than what is lacking
        ("mixed", 20, 20),  # no mode at all
        ("differential", 20, 20),  # no such package from what is here
        ("full", 2020, 2020),  # more than all
        ("full", 2000, 2000),  # not the cheapest
        ("incremental", 20, 2020),  # not what was served
    ],
)
def test_plans(line: Line, mode: str, planned: int, served: int) -> None:
    """A plan of no published package, a dear one, and one that is not kept to are noticed."""
    travels = journey(line)
    travels.arrivals[MODEL][2] = arrival(line, "1.2.1", mode, planned, ("1.1.1", "1.1.2"), served_bytes=served)
    assert outcome(clause_5_2_packages.incremental, stage(line, travels))[0] == "failed"


def test_plans_without_a_package(line: Line) -> None:
    """What the device holds makes an incremental plan, whatever is published; above 30 % it is noticed."""
    travels = journey(line)
    back = travels.returns[MODEL][1]
    back.held, back.served_bytes, back.offer = ("1.1.1", "1.2.1"), 0, plan_of("incremental", 0)
    assert outcome(clause_5_2_packages.incremental, stage(line, travels)) == ("passed", "")
    back.held = ("1.1.2", "1.2.1")  # they have nothing of it, but something else is kept
    for planned, status in ((600, "passed"), (601, "failed"), (2000, "failed")):
        back.served_bytes, back.offer = planned, plan_of("incremental", planned)
        assert outcome(clause_5_2_packages.incremental, stage(line, travels))[0] == status


@pytest.mark.parametrize(("more_bytes", "status"), [(1024, "passed"), (1025, "failed")])
def test_a_simpler_mode_may_cost_a_little(line: Line, more_bytes: int, status: str) -> None:
    """An incremental plan may stand where a difference would save a kilobyte, not where it would save more."""
    packages_of(line, "1.2.1")[0]["routes"][0][4] = 1_000_000
    packages_of(line, "1.2.1")[0]["size_bytes"] = 1_001_020
    module = 10 + more_bytes
    for each in packages_of(line, "1.2.1"):
        each["size_bytes"] += module - 20
        each["routes"][-1][4] = module
    packages_of(line, "1.2.1").append(package("differential", {2: 10}, "1.1.2"))
    line.release(MODEL, "1.2.1").manifest["packs"][0]["size_bytes"] = 2_000_000
    travels = journey(line)
    travels.arrivals[MODEL][2] = arrival(line, "1.2.1", "incremental", module, ("1.1.1", "1.1.2"))
    assert outcome(clause_5_2_packages.incremental, stage(line, travels))[0] == status


def test_shares_in_a_repository(line: Line) -> None:
    """A published incremental package above 30 % is noticed from outside; without any there is nothing to measure."""

    manifests = [release.manifest for release in line.releases[MODEL]]
    repository: Any = SimpleNamespace(manifests=manifests)  # all that the check reads
    row = small(repository).row("5.2.1-a", "en")
    assert (row.status, row.figure, row.limit) == ("passed", 0.99, 30)
    publish_too_large(line)
    assert small(repository).row("5.2.1-a", "en").status == "failed"
    del manifests[1:]
    with pytest.raises(Unmeasurable):
        small(repository)


# -- 5.2.3-a


def drop_the_difference(line: Line) -> None:
    packages_of(line, "1.1.2").pop()


def swell_the_difference(line: Line) -> None:
    packages_of(line, "1.1.2")[1] = package("differential", {0: 900, 1: 900}, "1.1.1")


def save_nothing(line: Line) -> None:
    packages_of(line, "1.1.2")[1] = package("differential", {0: 1000, 1: 1000}, "1.1.1")


@pytest.mark.parametrize("spoil", [drop_the_difference, swell_the_difference, save_nothing])
def test_differential_packages(line: Line, spoil: Callable[[Line], None]) -> None:
    """A pair without a package that zstd would save bytes for, and one that zstd alone would beat, are noticed."""
    hide = Told(published_line=line, travels=journey(line))
    assert "1.1.1 to 1.1.2" not in outcome(clause_5_2_packages.differential, hide)[1]
    spoil(line)
    assert "1.1.1 to 1.1.2" in outcome(clause_5_2_packages.differential, hide)[1]


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"skipped": "not-below-full", "size_bytes": 2000}, True),
        ({"skipped": "not-below-full", "size_bytes": 1999}, False),
        ({"skipped": "not-smaller", "size_bytes": 2000}, False),
        ({}, False),
    ],
)
def test_a_named_pair_without_a_package(line: Line, told: Json, said: bool) -> None:
    """Where nothing is to be saved the publisher may leave it out, if it says so with the figure."""
    release = line.release(MODEL, "1.1.2")
    packages_of(line, "1.1.2").pop()
    release.sources("v")["f"].write_bytes(random.Random(1).randbytes(2000))
    entry = {"mode": "differential", "base_version": "1.1.1", **told}
    release.report = {"variants": [{"name": "v", "packages": [entry] if told else []}]}
    reason = outcome(clause_5_2_packages.differential, Told(published_line=line, travels=journey(line)))[1]
    assert ("1.1.1 to 1.1.2" not in reason) == said


def test_what_a_difference_makes_is_compared(line: Line) -> None:
    """A file that is not its source, and a line in which no difference was used, are noticed."""
    travels = journey(line)
    travels.arrivals[MODEL][1].identical = False
    assert "bit-identically" in outcome(clause_5_2_packages.differential, stage(line, travels))[1]
    travels = journey(line)
    travels.arrivals[MODEL][1].offer["mode"] = "full"
    assert "installed-by-difference" in outcome(clause_5_2_packages.differential, stage(line, travels))[1]


# -- 5.2.3-b, 6.2-a


@pytest.mark.parametrize(
    ("index", "field", "value"),
    [
        (0, "served_bytes", 1),
        (0, "active", "1.2.1"),
        (0, "serves", None),
        (1, "seconds", 301.0),
        (1, "bytes_before_decision", 1),
        (1, "offer", None),
        (1, "identical", False),
        (1, "status", 1),
    ],
)
def test_ways_back(line: Line, index: int, field: str, value: object) -> None:
    """A byte fetched for a kept slot, or unasked; a wrong version; five minutes: each is noticed."""
    assert outcome(clause_5_2_packages.way_back, stage(line)) == ("passed", "")
    travels = journey(line)
    setattr(travels.returns[MODEL][index], field, value)
    assert outcome(clause_5_2_packages.way_back, stage(line, travels))[0] == "failed"


def test_a_baseline_that_was_left_out(line: Line) -> None:
    """Every baseline has to be reached, not some."""
    travels = journey(line)
    travels.returns[MODEL].pop()
    assert outcome(clause_5_2_packages.way_back, stage(line, travels))[0] == "failed"


@pytest.mark.parametrize("check", [clause_5_2_packages.way_back, clause_6.traceable])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda line: line.releases[MODEL][2].manifest.update(predecessor="1.1.1"),
        lambda line: line.history[MODEL][1].update(predecessor=None),
        lambda line: line.history[MODEL][1].update(manifest_digest="other"),
        lambda line: line.history[MODEL].pop(0),
    ],
)
def test_lineage(line: Line, check: Callable[[Any], Examination], spoil: Callable[[Line], object]) -> None:
    """A gap in the lineage, another history than was signed, a manifest it does not name: each is noticed."""
    assert outcome(check, stage(line)) == ("passed", "")
    spoil(line)
    assert outcome(check, stage(line))[0] == "failed"


@pytest.mark.parametrize(
    ("field", "value", "claim"),
    [
        ("notes", {}, "notes"),
        ("device_models", ["x"], "device-models"),
        ("released_at", "2026-01-02T00:00:00Z", "release-time"),
        ("variants", [], "contents"),
        ("provenance", {"base_model": "x"}, "development"),
    ],
)
def test_records(line: Line, field: str, value: object, claim: str) -> None:
    """A record that does not say what the description said is noticed."""
    line.history[MODEL][0][field] = value
    assert f"{MODEL} 1.1.1-{claim}" in outcome(clause_6.traceable, stage(line))[1]


# -- 7.1.2-b, 7.2-b


def done(status: int = 0, out: str = "", code: str | None = None) -> Done:
    error = f'{{"error": {{"code": "{code}", "params": {{}}}}}}' if code else ""
    return Done((), status, out or error, "")


def damage(**changes: Any) -> Damage:
    found = '{"slots": [{"version": "1.1.1", "damaged": [{"path": "f"}]}, {"version": "1.1.2", "damaged": []}]}'
    fields: Json = {
        "file": "f",
        "answer": Answer(409, {"code": "slot-damaged"}),
        "status": {},
        "texts": {},
        "found": done(65, found),
        "asked": done(1, code="decision-required"),
        "offer": {"direction": "repair", "planned_bytes": 10, "full_bytes": 100},
        "bytes_before_decision": 0,
        "repair_bytes": 10,
        "repaired": done(),
        "identical": True,
        "clean": done(),
        "serves": Answer(200, {"version": "1.1.1"}),
    }
    return Damage(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "noticed"),
    [
        ({}, False),
        ({"found": done()}, True),
        ({"found": done(65, '{"slots": [{"version": "1.1.2", "damaged": [{"path": "f"}]}]}')}, True),
        ({"asked": done()}, True),
        ({"bytes_before_decision": 10}, True),
        ({"repair_bytes": 100}, True),
        ({"offer": {"direction": "repair", "planned_bytes": 100, "full_bytes": 100}, "repair_bytes": 100}, True),
        ({"offer": None}, True),
        ({"repaired": done(1)}, True),
        ({"identical": False}, True),
        ({"clean": done(65)}, True),
        ({"serves": Answer(409, {"code": "slot-damaged"})}, True),
    ],
)
def test_repairs(changes: Json, noticed: bool) -> None:
    """Damage that is not found, a repair unasked, of too much, or of nothing: each is noticed."""
    seen = Examination()
    clause_7._claim_repaired(seen, damage(**changes), "1.1.1")
    assert (seen.row("x", "en").status == "failed") is noticed


def bad_release() -> BadRelease:
    return BadRelease(
        outcome={"result": "failed"},
        status_texts={},
        tree_before="",
        tree_after="",
        current="",
        log=[],
        leftovers=[],
        left_over=[],
        offered_again=False,
        serves=Answer(200, {}),
    )


@pytest.mark.parametrize(
    ("chapter", "spoil"),
    [
        ("second_update", lambda told: told.left_over.append("x")),
        ("bad_release", lambda told: told.left_over.append("x")),
        ("travels", lambda told: told.returns[MODEL][0].left_over.append("x")),
        ("crashes", lambda told: told[0].left_over.append("x")),
        ("crashes", lambda told: told[0].outcome.update(result="failed")),
        ("crashes", lambda told: told.pop()),
        ("answers", lambda told: told.seen["cancel"].update(left_in_staging=1)),
    ],
)
def test_tidiness(line: Line, chapter: str, spoil: Callable[[Any], object]) -> None:
    """A name too many after any end, or a kind of end that was not tried, is noticed."""
    chapters = {
        "first_install": Installation({"version": "1.1.1"}, {}),
        "second_update": Installation({"version": "1.1.2"}, {}),
        "bad_release": bad_release(),
        "answers": SimpleNamespace(seen={"cancel": {"result": "cancelled", "left_in_staging": 0}}),
        "travels": journey(line),
        "crashes": [Crash(f"point-{died}", died, {"result": "done"}, []) for died in (True, False)],
    }
    assert outcome(clause_7.tidy, Told(**chapters)) == ("passed", "")
    spoil(chapters[chapter])
    assert outcome(clause_7.tidy, Told(**chapters))[0] == "failed"
