"""The watch: figures of versions and the verdict on the new one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from modelota.agent import states as s
from modelota.agent.config import WatchWindow
from modelota.agent.journal import Journal
from modelota.agent.watching import Baseline, ServiceFigures, Watcher, judge
from modelota.clock import SystemClock
from modelota.errors import AskPerson
from modelota.runtime.meter import AnswerFigures
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
OLD, NEW = SlotId("1.1.1", "q8"), SlotId("1.1.2", "q8")
SETTINGS = WatchWindow()
BEFORE = Baseline(error_share=0.01, tokens_per_s=20.0, memory_bytes=1_000_000)
GOOD = ServiceFigures(requests=100, errors=1, tokens=2000, generating_s=100.0, memory_bytes=1_000_000)


def code(now: ServiceFigures, before: Baseline = BEFORE) -> str | None:
    """Code of the verdict."""
    found = judge(now, before, SETTINGS)
    return found.code if found else None


def changed(**fields: Any) -> ServiceFigures:
    """Good figures with some changed."""
    import msgspec

    return msgspec.structs.replace(GOOD, **fields)


def test_each_bound_can_break() -> None:
    """Errors, speed and memory each end a watch; figures within the bounds do not."""
    assert code(GOOD) is None
    assert code(changed(errors=30)) == "watch-errors"
    assert code(changed(generating_s=201.0)) == "watch-slower"
    assert code(changed(generating_s=199.0)) is None
    assert code(changed(memory_bytes=1_500_001)) == "watch-memory"
    assert code(changed(memory_bytes=1_500_000)) is None


def test_what_the_version_before_did_as_badly_counts_nothing_against_the_new_one() -> None:
    """A device on which every version fails a third of its answers is not helped by going back."""
    assert code(changed(errors=30), BEFORE._replace(error_share=0.3)) is None


def test_too_few_answers_say_nothing() -> None:
    """Shares and speeds count from a number of answers on."""
    assert code(ServiceFigures(requests=19, errors=19)) is None
    assert code(ServiceFigures(requests=20, errors=20)) == "watch-errors"
    assert code(changed(tokens=150, generating_s=150.0)) is None


def test_unknown_is_no_verdict() -> None:
    """Without a baseline neither speed nor memory is judged."""
    assert code(changed(generating_s=1e6, memory_bytes=10**12), Baseline(0.0, None, None)) is None


def test_too_few_answers_of_the_version_before_excuse_nothing() -> None:
    """One failure in two answers is no share that a version which fails most of hundreds is measured by."""
    few = ServiceFigures(requests=2, errors=1)
    assert code(changed(errors=60), few.baseline(SETTINGS.min_requests)) == "watch-errors"
    many = changed(errors=40).baseline(SETTINGS.min_requests)
    assert code(changed(errors=60), many) is None


class _Serving:
    engine = None


@pytest.fixture
def journal(tmp_path: Path) -> Any:
    """An empty journal."""
    journal = Journal(tmp_path / "agent.db", SystemClock())
    yield journal
    journal.close()


def watcher(journal: Journal, state: s.State, posted: list[s.WatchBroken]) -> Watcher:
    """A watcher of `state` that collects what it posts."""

    async def post(event: s.WatchBroken) -> bool:
        posted.append(event)
        return True

    return Watcher(
        MODEL,
        SETTINGS,
        journal.service,
        _Serving(),  # type: ignore[arg-type]  # no engine runs
        SystemClock(),
        self_tests=journal.self_tests,
        state=lambda: state,
        post=post,
    )


async def test_a_watched_version_that_fails_is_told_once_looked_at(journal: Journal) -> None:
    """Figures survive a restart of the agent, and the verdict is posted only within the watch."""
    posted: list[s.WatchBroken] = []
    watch = s.Watch(version=NEW, until="2026-01-02T00:00:00Z")
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW), watch=watch)
    first = watcher(journal, state, posted)
    first.begin(NEW.name)
    for number in range(20):
        first.answered(NEW.name, AnswerFigures(failed=number % 2 == 0, tokens=5, generating_s=0.1))
    calm = watcher(journal, s.State(current=NEW, previous=OLD, slots=(OLD, NEW)), posted)
    await first.look()
    assert [event.error.code for event in posted] == ["watch-errors"]
    assert calm.figures(NEW.name).requests == 20
    await calm.look()
    assert len(posted) == 1


async def test_memory_of_the_version_before_comes_from_the_self_test(journal: Journal) -> None:
    """A version whose predecessor was never sampled is compared with what the self-test measured of both in turn."""
    posted: list[s.WatchBroken] = []
    record = b'{"results":[{"id":"performance","figures":{"current_resident_bytes":1000000.0}}]}'
    journal.keep_self_test(MODEL, NEW, record)
    watch = s.Watch(version=NEW, until="2026-01-02T00:00:00Z")
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW), watch=watch)
    watching = watcher(journal, state, posted)
    journal.service.keep(
        MODEL,
        NEW.name,
        {"requests": 0, "errors": 0, "tokens": 0, "generating_s": 0.0, "memory_bytes": 1_600_000},
    )
    await watching.look()
    assert [event.error.code for event in posted] == ["watch-memory"]


async def test_figures_of_an_earlier_use_are_gone_before_it_is_in_use_again(journal: Journal) -> None:
    """A kill right after the activation does not have the version judged by what it did long ago."""
    posted: list[s.WatchBroken] = []
    figures = {"requests": 50, "errors": 50, "tokens": 0, "generating_s": 0.0, "memory_bytes": None}
    journal.service.keep(MODEL, NEW.name, figures)
    watch = s.Watch(version=NEW, until="2026-01-02T00:00:00Z")
    state = s.State(current=NEW, previous=OLD, slots=(OLD, NEW), watch=watch)
    watcher(journal, state, posted).begin(NEW.name)
    await watcher(journal, state, posted).look()
    assert posted == []


async def test_an_answer_is_not_lost_for_a_figure(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that can't be read breaks no application's answer off."""

    def unreadable(*_: object) -> None:
        raise AskPerson("database-unreadable", path="agent.db", detail="")

    monkeypatch.setattr(journal.service, "figures", unreadable)
    state = s.State(current=NEW, slots=(NEW,))
    watcher(journal, state, []).answered(NEW.name, AnswerFigures(failed=False, tokens=5, generating_s=0.1))


async def test_a_watch_that_begins_is_looked_at_soon(journal: Journal) -> None:
    """The pace of calm days does not go on into the watch window; without a watch most turns do nothing."""
    states = [s.State(current=OLD, slots=(OLD,))] * 4
    states += [s.State(current=NEW, previous=OLD, slots=(OLD, NEW), watch=s.Watch(version=NEW, until=""))] * 2
    clock, looks = ManualClock(), list[float]()

    async def post(_: s.WatchBroken) -> bool:
        return True

    def state() -> s.State:
        if not states:
            raise _EnoughError
        return states.pop(0)

    watching = Watcher(
        MODEL,
        SETTINGS,
        journal.service,
        _Serving(),  # type: ignore[arg-type]  # no engine runs
        clock,
        self_tests=journal.self_tests,
        state=state,
        post=post,
    )

    async def look() -> None:
        looks.append(sum(clock.slept))

    watching.look = look  # type: ignore[method-assign]  # when, not what
    with pytest.raises(_EnoughError):
        await watching.run()
    assert looks == [5 * SETTINGS.sample_s, 6 * SETTINGS.sample_s]


class _EnoughError(Exception):
    """Ends a loop that has no end."""
