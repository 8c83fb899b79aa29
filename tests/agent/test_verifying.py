"""Reading installed versions for damage, while things go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.agent.test_holdings import ID, MODEL, ONE, TWO, Bench

from modelota.agent.states import State
from modelota.agent.verifying import ReadingPace, verify_slots
from modelota.spec.api_life import SlotCheck
from modelota.storage.kept import chunk_sizes


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A device with versions 1 (previous) and 2 (in use)."""
    made = Bench(tmp_path)
    yield made
    made.journal.close()


def verify(bench: Bench, pace: ReadingPace | None = None) -> tuple[SlotCheck, ...]:
    """Read everything."""
    holdings = bench.holdings()
    return verify_slots(holdings, bench.journal, holdings.manifest, MODEL, pace)


def damage(bench: Bench, version: str, path: str) -> None:
    """Have a file of a slot hold other bytes."""
    (bench.layout.model(MODEL).slot(ID[version].name) / "files" / path).write_bytes(b"")


def test_damage_is_found_where_it_is(bench: Bench) -> None:
    """A damaged file is told of its slot; its chunks are lost only if no other slot holds them."""
    damage(bench, "1.1.1", "sub/other.bin")
    checks = {check.version: check for check in verify(bench)}
    assert [file.path for file in checks["1.1.1"].damaged] == ["sub/other.bin"]
    assert checks["1.1.2"].damaged == ()
    assert bench.journal.damaged(MODEL) == frozenset()
    damage(bench, "1.1.2", "sub/other.bin")
    verify(bench)
    elsewhere = {ONE.chunks[index].digest for file in ONE.variants[0].files[:1] for index in file.chunks}
    assert bench.journal.damaged(MODEL) == chunk_sizes(TWO, "q8").keys() - elsewhere


def test_a_version_that_is_removed_meanwhile_is_not_damaged(bench: Bench) -> None:
    """A slow reading that an update or an uninstallation overtakes tells its owner of no damage."""

    class Overtaken(ReadingPace):
        """Removes version 1 as soon as something was read."""

        def read(self, size_bytes: int) -> None:
            bench.state(State(current=ID["1.1.2"], slots=(ID["1.1.2"],)))
            shutil.rmtree(bench.layout.model(MODEL).slot(ID["1.1.1"].name), ignore_errors=True)

    checks = verify(bench, Overtaken(1))
    assert [(check.version, check.damaged) for check in checks] == [("1.1.2", ())]
    assert bench.journal.damaged(MODEL) == frozenset()


def test_reading_keeps_to_its_pace() -> None:
    """What was read too fast is waited for."""
    slept: list[float] = []
    pace = ReadingPace(1000, now=lambda: 10.0, sleep=slept.append)
    pace.read(500)
    pace.read(1500)
    assert slept == [0.5, 2.0]
