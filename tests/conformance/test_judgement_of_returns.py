"""Checks of the watch, of ways back and of sealed slots notice a product that does wrong."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from modelota.conformance.chapters.attempts import Attempt
from modelota.conformance.chapters.kept import LongWayBack, SealedWayBack, WaysBack
from modelota.conformance.chapters.main_story import WayBack
from modelota.conformance.chapters.sealed import SealedSlot
from modelota.conformance.chapters.watched import TRIALS, Provoked, Watched, Wish
from modelota.conformance.checks import clause_6_3, clause_7
from modelota.conformance.commands import Done
from modelota.conformance.row import Examination
from modelota.conformance.socket_client import Answer

OK = Done((), 0, "", "")
ASKS = Done((), 64, '{"error": {"code": "decision-required"}}', "")
SLOWER = next(trial for trial in TRIALS if trial.trigger == "slower")
PROMISE = next(trial for trial in TRIALS if trial.before_use)
TEXTS = {
    "zh": "发生了什么 新版本的表现比原来的版本差很多，设备已经自动回到了原来的版本，"
    "无需任何操作，仍可照常使用，若有疑问请联系该模型的发布者 [{code}]",
    "en": "What happened [{code}]\nThe device went back to the version before by itself",
}


class Told:
    """A stage whose chapters are already known."""

    family = SimpleNamespace(first={"version": "1.1.1"})

    def __init__(self, **chapters: Any) -> None:
        self._chapters = chapters

    def chapter(self, tell: Callable[..., Any]) -> Any:
        return self._chapters[tell.__name__]


def status(check: Callable[[Any], Examination], stage: Any) -> str:
    return check(stage).row("x", "en").status


# -- 6.3-a: what sends a device back


def provoked(trial: Any = SLOWER, **changes: Any) -> Provoked:
    fields: dict[str, Any] = {
        "trial": trial,
        "came_into_use": not trial.before_use,
        "outcome": {"result": "failed", "error": {"code": trial.code}},
        "seconds": 1.0,
        "texts": {language: text.format(code=trial.code) for language, text in TEXTS.items()},
        "active": "1.1.1",
        "serves": "1.1.1",
        "offered": None,
    }
    return Provoked(**{**fields, **changes})


def wish(**changes: Any) -> Wish:
    fields: dict[str, Any] = {
        "status": 0,
        "seconds": 1.0,
        "asked_by": ["uid:0"],
        "active": "1.1.1",
        "serves": "1.1.1",
        "offered": None,
    }
    return Wish(**{**fields, **changes})


@pytest.mark.parametrize(
    ("trial", "changes", "expected"),
    [
        (SLOWER, {}, "passed"),
        (PROMISE, {}, "passed"),
        (PROMISE, {"inconclusive": True, "outcome": {"result": "cancelled", "error": None}}, "not measured yet"),
        (PROMISE, {"inconclusive": True, "active": PROMISE.version}, "failed"),
        (SLOWER, {"active": SLOWER.version}, "failed"),
        (SLOWER, {"serves": None}, "failed"),
        (SLOWER, {"offered": SLOWER.version}, "failed"),
        (SLOWER, {"came_into_use": False}, "failed"),
        (PROMISE, {"came_into_use": True}, "failed"),
        (SLOWER, {"outcome": {"result": "done", "error": None}}, "failed"),
        (SLOWER, {"outcome": {"result": "failed", "error": {"code": "engine-crashed"}}}, "failed"),
        (SLOWER, {"texts": dict.fromkeys(("zh", "en"), TEXTS["en"].format(code=SLOWER.code))}, "failed"),
    ],
)
def test_triggers(trial: Any, changes: dict[str, Any], expected: str) -> None:
    """A worse version that stays, comes again, or goes without a word is noticed."""
    told = Watched([provoked(trial, **changes)], wish())
    assert status(clause_6_3.triggered, Told(watched=told)) == expected


@pytest.mark.parametrize(
    "changes",
    [{"status": 1}, {"active": "1.1.7"}, {"serves": None}, {"offered": "1.1.7"}, {"asked_by": []}, {"asked_by": ["?"]}],
)
def test_the_user_s_wish(changes: dict[str, Any]) -> None:
    """A way back that does not happen, has no author, or is undone by the next check is noticed."""
    assert status(clause_6_3.triggered, Told(watched=Watched([], wish(**changes)))) == "failed"


# -- 6.3-b: ways back


def sealed_way(**changes: Any) -> SealedWayBack:
    fields: dict[str, Any] = {
        "state": "sealed",
        "kept_bytes": 40_000,
        "plain_windows": 0,
        "asked": ASKS,
        "view": {"offer": {"direction": "rollback", "planned_bytes": 0}, "estimate_s": 1.0},
        "requests": 1,
        "served_bytes": 0,
        "done": OK,
        "seconds": 2.0,
        "active": "1.1.2",
        "serves": "1.1.2",
        "identical": True,
    }
    return SealedWayBack(**{**fields, **changes})


def long_way(**changes: Any) -> LongWayBack:
    refused = Attempt("", True, "return-takes-long", 0, "offered")
    fields: dict[str, Any] = {
        "asked": ASKS,
        "view": {"offer": {"direction": "rollback", "planned_bytes": 1 << 20}, "estimate_s": 540.0},
        "texts": {"zh": "约 9 分钟", "en": "about 9 minutes"},
        "refused": [refused, refused],
        "chosen": OK,
        "active": "1.1.1",
    }
    return LongWayBack(**{**fields, **changes})


def ways(seconds: float = 1.0, sealed: dict[str, Any] | None = None, long: dict[str, Any] | None = None) -> Told:
    serves = Answer(200, {"version": "1.1.1"})
    back = WayBack("1.1.2", seconds, OK, {"active_version": "1.1.1"}, (None, None), serves, 0)  # type: ignore[arg-type]
    return Told(rollback=back, ways_back=WaysBack(long_way(**(long or {})), sealed_way(**(sealed or {}))))


TAKEN = Attempt("", False, None, 0, "fetching")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (ways(), "passed"),
        (ways(300.1), "failed"),
        (ways(sealed={"seconds": 301.0}), "failed"),
        (ways(sealed={"served_bytes": 1}), "failed"),
        (ways(sealed={"plain_windows": 1}), "failed"),
        (ways(sealed={"state": "kept"}), "failed"),
        (ways(sealed={"identical": False}), "failed"),
        (ways(sealed={"view": {"offer": {"direction": "rollback", "planned_bytes": 9}, "estimate_s": 1.0}}), "failed"),
        (ways(sealed={"view": {"offer": {"direction": "rollback", "planned_bytes": 0}, "estimate_s": None}}), "failed"),
        (ways(long={"refused": [TAKEN]}), "failed"),
        (ways(long={"refused": []}), "failed"),
        (ways(long={"texts": {"zh": "约 9 分钟", "en": "some time"}}), "failed"),
        (ways(long={"chosen": ASKS}), "failed"),
        (ways(long={"view": {"offer": {"planned_bytes": 9}, "estimate_s": 200.0}}), "failed"),
    ],
)
def test_ways_back(told: Told, expected: str) -> None:
    """A second too long, a byte fetched, an estimate untold, a choice that is not asked for: each is noticed."""
    assert status(clause_6_3.quick_way_back, told) == expected


# -- 7.1.2-b: the sealed slot


def sealed_slot(**changes: Any) -> SealedSlot:
    fields: dict[str, Any] = {
        "answers": ["I am 1.1.1", "I am 1.1.1"],
        "plain_windows": (0, 0),
        "searched_bytes": 1000,
        "control_windows": 400,
        "in_memory": ["/memfd:modelota (deleted)"],
        "damaged": Answer(409, {"code": "slot-damaged"}),
        "asked": ASKS,
        "repaired": OK,
        "looks_plain": False,
        "serves": "1.1.1",
        "backup_bytes": 100,
        "backup_windows": 0,
    }
    return SealedSlot(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"answers": ["I am 1.1.1", ""]},
        {"plain_windows": (1, 0)},
        {"plain_windows": (0, 1)},
        {"control_windows": 0},
        {"looks_plain": True},
        {"in_memory": []},
        {"damaged": Answer(200, {"version": "1.1.1"})},
        {"repaired": ASKS},
        {"serves": None},
        {"backup_windows": 1},
    ],
)
def test_sealed_slot(changes: dict[str, Any]) -> None:
    """Plaintext on the disk, a damaged file that is loaded, a repair that does not hold: each is noticed."""
    seen = Examination()
    clause_7._claim_sealed_slot(seen, sealed_slot())
    assert seen.row("x", "en").status == "passed"
    spoiled = Examination()
    clause_7._claim_sealed_slot(spoiled, sealed_slot(**changes))
    assert spoiled.row("x", "en").status == "failed"
