"""The supervisor's own work: looking for news now and then."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from modelota.agent import supervisor as module
from modelota.agent.config import Checks, Config
from modelota.agent.journal import Journal
from modelota.agent.states import State
from modelota.agent.supervisor import CHECK_FIRST_S, CHECK_JITTER, Supervisor
from modelota.errors import TryLater
from modelota.spec.slot import SlotId
from modelota.testing.clock import ManualClock

MODEL = "acme/assistant"
DAY_S = 86_400


class Enough(BaseException):
    """Ends the endless loop."""


async def waits(
    place: Path, monkeypatch: pytest.MonkeyPatch, *, last_check_s: float | None, every_s: int = DAY_S
) -> list[float]:
    """How long the supervisor waits before its first and its second check; every check fails."""
    clock = ManualClock()
    journal = Journal(place / "agent.db", clock)
    if last_check_s is not None:
        clock.set(clock.now() - timedelta(seconds=last_check_s))
        journal.note(MODEL, "checked", {})
        clock.set(clock.now() + timedelta(seconds=last_check_s))
    checks = 0

    async def check(*_: Any, **__: Any) -> None:
        nonlocal checks
        checks += 1
        await asyncio.sleep(0)
        if checks == 2:
            raise Enough
        raise TryLater("network-unreachable", url="", detail="")

    monkeypatch.setattr(module.asking, "check", check)
    core: Any = SimpleNamespace(
        config=Config(checks=Checks(every_s=every_s)), journal=journal, models={MODEL: SimpleNamespace(state=State())}
    )
    try:
        with pytest.raises(Enough):
            await Supervisor(core).check_now_and_then(clock)
    finally:
        journal.close()
    return clock.slept


async def test_a_device_that_is_often_off_is_checked_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time since the last check counts over restarts; what is due comes soon after the start."""
    first, second = await waits(tmp_path, monkeypatch, last_check_s=0.75 * DAY_S)
    assert first <= (0.25 + CHECK_JITTER) * DAY_S
    assert (1 - CHECK_JITTER) * DAY_S <= second <= (1 + CHECK_JITTER) * DAY_S


@pytest.mark.parametrize("last_check_s", [None, 30 * DAY_S])
async def test_a_check_that_is_due_leaves_the_device_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last_check_s: float | None
) -> None:
    """A device that was never checked, or not for long, checks a minute after the start."""
    assert (await waits(tmp_path, monkeypatch, last_check_s=last_check_s))[0] == CHECK_FIRST_S


async def test_a_clock_that_was_set_back_does_not_put_checks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A last check in the future counts as one just now."""
    first, _ = await waits(tmp_path, monkeypatch, last_check_s=-3650 * DAY_S)
    assert first <= (1 + CHECK_JITTER) * DAY_S


async def test_short_intervals_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interval shorter than that moment is not made longer by it."""
    assert max(await waits(tmp_path, monkeypatch, last_check_s=None, every_s=1)) <= 1 + CHECK_JITTER


@pytest.mark.parametrize("is_installed", [True, False])
async def test_models_without_a_version_do_not_make_a_scrub_due(tmp_path: Path, *, is_installed: bool) -> None:
    """What was read an hour ago is not read again at every start because another model was never installed."""
    clock = ManualClock()
    journal = Journal(tmp_path / "agent.db", clock)
    slot = SlotId("1.1.1", "q8")
    installed = SimpleNamespace(state=State(current=slot, slots=(slot,)))
    absent = SimpleNamespace(state=State(uninstalled=True))
    models = {MODEL: installed if is_installed else absent, "acme/other": absent}
    core: Any = SimpleNamespace(config=Config(), journal=journal, models=models)
    journal.note(MODEL, "scrubbed", {})
    scrubbing = asyncio.create_task(Supervisor(core).scrub_now_and_then(clock))
    while not clock.slept:  # noqa: ASYNC110  a clock whose sleeps end at once has no event to wait for
        await asyncio.sleep(0)
    scrubbing.cancel()
    await asyncio.gather(scrubbing, return_exceptions=True)
    journal.close()
    assert clock.slept[0] > 5 * DAY_S
