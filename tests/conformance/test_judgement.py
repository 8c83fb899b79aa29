"""Checks notice a product that does wrong: each claim is tried with what a bad product would have shown."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.conformance.owners_told import good_owner

from modelota.conformance.chapters.answers import Answers, Unasked
from modelota.conformance.chapters.attempts import Attempt
from modelota.conformance.chapters.conditions import Waited
from modelota.conformance.chapters.failures import Damaged, Failure, Failures
from modelota.conformance.chapters.interruptions import Interruptions
from modelota.conformance.chapters.main_story import Installation
from modelota.conformance.chapters.refusals import Demand, Versions
from modelota.conformance.checks import clause_5_1, clause_5_2, clause_5_3, clause_6, clause_7
from modelota.conformance.readings import Sampler
from modelota.conformance.row import Examination

MIB = 1 << 20
REFUSED = Attempt("tried", True, "refused-code", 0, "offered")
TEXTS = {
    "zh": "发生了什么 自检没有通过，设备回到了原来的版本，无需任何操作，"
    "仍可照常使用，若有疑问请联系该模型的发布者 [self-test-failed]",
    "en": "What happened [self-test-failed]\nThe device went back to the version before by itself",
}


class Told:
    """A stage whose chapters are already known."""

    sandbox = ("unshare",)

    def __init__(self, **chapters: Any) -> None:
        self._chapters = {"owners": good_owner(), **chapters}

    def chapter(self, tell: Callable[..., Any]) -> Any:
        return self._chapters[tell.__name__]


def status(check: Callable[[Any], Examination], stage: Told) -> tuple[str, str]:
    row = check(stage).row("x", "en")
    return row.status, row.reason or ""


def installation(version: str = "1.1.1") -> Installation:
    def entry(seq: int, event: str, **facts: Any) -> dict[str, Any]:
        return {"seq": seq, "event": event, "facts": {"to_version": version, **facts}}

    names = ("fetched", "verified", "deployed", "tests-passed", "activated")
    log = [entry(1, "decided", answer="accept"), *(entry(seq, name) for seq, name in enumerate(names, 2))]
    progress = [
        {"step": step, "done": done, "total": 10, "rate_per_s": 5.0, "left_s": 1.0}
        for step in ("fetching", "verifying", "deploying", "testing")
        for done in (0, 5, 10)
    ]
    events = [{"id": number, "kind": "progress", "data": data} for number, data in enumerate(progress)]
    return Installation(
        {"version": version}, {"digest": "d", "offer": {"urgency_reason": {"en": "why"}, "kind": "security"}},
        attempts=[REFUSED], log=log, events=events,
    )  # fmt: skip


# -- 5.2.2-b, 5.3-c: order and progress


def story(change: Callable[[Installation], None] = lambda _: None) -> Told:
    spoiled = installation("1.1.2")
    change(spoiled)
    return Told(first_install=installation(), second_update=spoiled)


def swap_log(seen: Installation) -> None:
    seen.log[4], seen.log[5] = seen.log[5], seen.log[4]


def drop_test(seen: Installation) -> None:
    del seen.log[4]


def test_order_of_the_journal() -> None:
    """Activation before the test, or without one, is noticed."""
    assert status(clause_5_2.proven_before_use, story())[0] == "passed"
    assert status(clause_5_2.proven_before_use, story(swap_log))[0] == "failed"
    assert status(clause_5_2.proven_before_use, story(drop_test))[0] == "failed"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda seen: seen.events[1]["data"].update(done=11),
        lambda seen: seen.events[4]["data"].update(done=99, total=100),
        lambda seen: seen.events[2]["data"].update(done=3),
        lambda seen: seen.events[11]["data"].update(done=9),
        lambda seen: seen.events.reverse(),
        lambda seen: seen.events.__delitem__(slice(3, 6)),
    ],
)
def test_progress(spoil: Callable[[Installation], None]) -> None:
    """Progress that goes back, overshoots, stops short, or leaves a step out is noticed."""
    assert status(clause_5_3.shows_progress, story())[0] == "passed"
    assert status(clause_5_3.shows_progress, story(spoil))[0] == "failed"


# -- 5.1-d, 5.2.1-b: consent and interruptions


def lost(**changes: Any) -> Interruptions:
    fields: dict[str, Any] = {
        "offer": {"planned_bytes": 24 * MIB, "ceiling_bytes": 32 * MIB, "peak_space_bytes": 48 * MIB},
        "served_bytes": 26 * MIB,
        "interrupted": ["network", "agent", "worker"],
        "served_after_loss_bytes": 30 * MIB,
        "loss_attempt": REFUSED,
        "after_check_attempt": REFUSED,
        "completed": True,
        "sampler": Sampler(lambda: 0, None),  # type: ignore[arg-type]
    }
    return Interruptions(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "passed"),
        ({"served_bytes": 24 * MIB + 2 * (4 * MIB + 65536)}, "passed"),
        ({"served_bytes": 24 * MIB + 2 * (4 * MIB + 65536) + 1}, "failed"),
        ({"served_bytes": 10 * MIB}, "failed"),
        ({"completed": False}, "failed"),
    ],
)
def test_bytes_served_twice(changes: dict[str, Any], expected: str) -> None:
    """One byte beyond what was in flight is one too many; and the package has to arrive."""
    assert status(clause_5_2.resumable, Told(interruptions=lost(**changes)))[0] == expected


@pytest.mark.parametrize(
    ("alone", "changes", "attempt", "expected"),
    [
        ({}, {}, REFUSED, "passed"),
        ({"content_bytes": 1}, {}, REFUSED, "failed"),
        ({"phase": "fetching"}, {}, REFUSED, "failed"),
        ({"checks": 0}, {}, REFUSED, "failed"),
        ({}, {}, REFUSED._replace(refused=False), "failed"),
        ({}, {}, REFUSED._replace(moved_bytes=1), "failed"),
        ({}, {}, REFUSED._replace(phase="rechecking"), "failed"),
        ({}, {"loss_attempt": REFUSED._replace(refused=False)}, REFUSED, "failed"),
        ({}, {"after_check_attempt": REFUSED._replace(refused=False)}, REFUSED, "failed"),
        ({}, {"served_after_loss_bytes": 60 * MIB}, REFUSED, "failed"),
    ],
)
def test_silent_updates(alone: dict[str, Any], changes: dict[str, Any], attempt: Attempt, expected: str) -> None:
    """Any attempt that gets somewhere, and any byte a lonely device fetches, is noticed."""
    quiet: dict[str, Any] = {"checks": 3, "offers_told": 1, "content_bytes": 0, "phase": "offered"}
    device = Unasked(attempts=[attempt._replace(name="option")], **{**quiet, **alone})
    stage = Told(
        first_install=installation(),
        second_update=installation("1.1.2"),
        unasked=device,
        interruptions=lost(**changes),
    )
    assert status(clause_5_1.never_silent, stage)[0] == expected


# -- 5.2.1-c, 5.3-e: damage and failures


def damage(place: str, result: str, active: str, *, identical: bool = True, mode: str = "differential") -> Damaged:
    return Damaged(place, mode, {"result": result, "error": None, "from_version": "1.1.1"}, identical, active)


STOPPED = damage("fetched", "failed", "1.1.1")
REPAIRED = [damage("written", "done", "2"), damage("finished", "done", "2")]


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [
        ([STOPPED, *REPAIRED], "passed"),
        ([damage("fetched", "done", "1.1.2"), *REPAIRED], "failed"),
        ([damage("fetched", "failed", "1.1.2"), *REPAIRED], "failed"),
        ([STOPPED, REPAIRED[0]], "failed"),
        ([STOPPED, damage("written", "done", "2", mode="full"), REPAIRED[1]], "failed"),
        ([STOPPED, damage("written", "done", "2", identical=False), REPAIRED[1]], "failed"),
    ],
)
def test_damage(damaged: list[Damaged], expected: str) -> None:
    """Damage that reaches a version in use, or a place that was not tried, is noticed."""
    assert status(clause_5_2.verified, Told(failures=Failures(damage=damaged)))[0] == expected


def failure(**changes: Any) -> Failure:
    error = {"code": "self-test-failed"}
    fields: dict[str, Any] = {
        "step": "testing",
        "before": "1.1.1",
        "outcome": {"result": "failed", "error": error},
        "status": {"active_version": "1.1.1", "paused": False, "error": None},
        "texts": TEXTS,
        "intact": True,
        "serves": True,
    }
    return Failure(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, []),
        ({"intact": False}, ["version-before-serves"]),
        ({"serves": False}, ["version-before-serves"]),
        ({"outcome": {"result": "done", "error": None}}, ["ends", "told-in-both-languages"]),
        ({"texts": {**TEXTS, "zh": TEXTS["en"]}}, ["told-in-both-languages"]),
        ({"texts": {**TEXTS, "en": "Something went wrong"}}, ["told-in-both-languages"]),
        ({"outcome": None}, ["waits", "told-in-both-languages"]),
    ],
)
def test_failures(changes: dict[str, Any], expected: list[str]) -> None:
    """A version that does not serve, an untold failure, a text in one language only: each is noticed."""
    seen = Examination()
    clause_5_3._claim_failure(seen, failure(**changes))
    reason = seen.row("x", "en").reason
    found = [
        name.removeprefix("failure-while-testing-") for name in (reason or ": ").split(": ")[1].split(", ") if name
    ]
    assert found == expected


# -- 5.3-b: answers


GOOD_ANSWERS: dict[str, dict[str, Any]] = {
    "decline": {"status": 200, "phase": "idle", "offer_stands": False, "content_bytes": 0},
    "later": {"status": 200, "phase": "offered", "offer_stands": True, "content_bytes": 0},
    "accept": {"status": 200, "fetches": True},
    "pause": {"status": 200, "paused": True, "waits_for": ["person"], "content_bytes": 0},
    "resume": {"status": 200, "goes_on": True},
    "cancel": {"status": 200, "result": "cancelled", "active_version": None, "left_in_staging": 0, "content_bytes": 0},
    "skip": {"status": 200, "version": "2", "offered": None, "content_bytes": 0},
}


@pytest.mark.parametrize(
    ("answer", "field", "value"),
    [
        ("decline", "offer_stands", True),
        ("later", "phase", "fetching"),
        ("later", "content_bytes", 1),
        ("pause", "content_bytes", 1),
        ("pause", "paused", False),
        ("resume", "goes_on", False),
        ("cancel", "left_in_staging", 1),
        ("cancel", "active_version", "1.1.1"),
        ("skip", "offered", "2"),
    ],
)
def test_answers(answer: str, field: str, value: object) -> None:
    """An answer that has another effect than its own is noticed."""
    log = [{"event": "decided", "facts": {"answer": each}} for each in ("decline", "accept", "skip")]
    seen = Answers({}, copy.deepcopy(GOOD_ANSWERS), log)
    assert status(clause_5_3.answered, Told(answers=seen, waited=waiting()))[0] == "passed"
    seen.seen[answer][field] = value
    assert status(clause_5_3.answered, Told(answers=seen, waited=waiting()))[0] == "failed"


THEN = datetime(2026, 11, 24, 6, tzinfo=UTC)


def waiting(**changes: Any) -> Waited:
    held = ["inhibitor:os-updater", "charging", "unmetered", "parked"]
    fields: dict[str, Any] = {
        "before": [*held, "time"],
        "opened": [(name, [*held[number:], "time"]) for number, name in enumerate(held, 1)],
        "held": [{"holder": "os-updater", "reason": "writes slot b"}],
        "told": {name: {"holds": True} for name in held[1:]},
        "bytes_waiting": 0,
        "not_before": THEN,
        "went_on_at": THEN,
        "outcome": {"result": "done"},
        "refused": {"condition": "request-invalid", "time": "argument-invalid"},
    }
    return Waited(**{**fields, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"before": ["charging", "time"]},
        {"bytes_waiting": 1},
        {"held": []},
        {"opened": [("inhibitor:os-updater", []), ("charging", []), ("unmetered", []), ("parked", [])]},
        {"told": {name: {"holds": None} for name in ("charging", "unmetered", "parked")}},
        {"went_on_at": THEN - timedelta(seconds=1)},
        {"outcome": {"result": "failed"}},
        {"refused": {"condition": None, "time": "argument-invalid"}},
    ],
)
def test_conditions(changes: dict[str, Any]) -> None:
    """An update that does not wait for what was named, fetches meanwhile, or goes on too early is noticed."""
    log = [{"event": "decided", "facts": {"answer": each}} for each in ("decline", "accept", "skip")]
    seen = Answers({}, copy.deepcopy(GOOD_ANSWERS), log)
    assert status(clause_5_3.answered, Told(answers=seen, waited=waiting(**changes)))[0] == "failed"


# -- 6.1, 7.1.1: versions and demands


def versions(**changes: Any) -> Versions:
    bad = {"code": "version-invalid", "detail": "not-positive"}
    fields: dict[str, Any] = {
        "refused": {"1.0.0": bad},
        "accepted": {"1.1.1": None},
        "skipped": {"1.2.2": bad},
        "followed": {"1.1.2": None},
        "other_content": Attempt("", True, "version-exists"),
        "other_version": Attempt("", True, "version-content-conflict"),
        "unchanged": True,
    }
    return Versions(**{**fields, **changes})


@pytest.mark.parametrize(
    ("check", "changes", "expected"),
    [
        (clause_6.positive_numbers, {}, "passed"),
        (clause_6.positive_numbers, {"refused": {"1.0.0": {"code": None, "detail": None}}}, "failed"),
        (clause_6.positive_numbers, {"refused": {"1.0.0": {"code": "version-invalid", "detail": "form"}}}, "failed"),
        (clause_6.positive_numbers, {"accepted": {"1.1.1": "version-invalid"}}, "failed"),
        (clause_6.positive_numbers, {"skipped": {"1.2.2": {"code": None}}}, "failed"),
        (clause_6.one_content, {}, "passed"),
        (clause_6.one_content, {"unchanged": False}, "failed"),
        (clause_6.one_content, {"other_content": Attempt("", False, None)}, "failed"),
        (clause_6.one_content, {"again": "version-exists"}, "failed"),
    ],
)
def test_versions(check: Callable[[Any], Examination], changes: dict[str, Any], expected: str) -> None:
    """A wrong number that is taken, a right one that is not, and a changed repository are noticed."""
    assert status(check, Told(versions=versions(**changes)))[0] == expected


def demand(**changes: Any) -> Demand:
    error = {"code": "requirement-not-met", "params": {"requirement": "os", "need": "linux >=9", "found": "linux 6"}}
    said = "linux >=9 [requirement-not-met] "
    fields: dict[str, Any] = {
        "requirement": "os",
        "refused": [error],
        "offered": False,
        "content_bytes": 0,
        "accept": REFUSED,
        "texts": {"zh": said + "升级系统", "en": said + "by upgrading"},
    }
    return Demand(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "passed"),
        ({"offered": True}, "failed"),
        ({"refused": []}, "failed"),
        ({"content_bytes": 1}, "failed"),
        ({"accept": REFUSED._replace(refused=False)}, "failed"),
        ({"texts": {"zh": "不行", "en": "no"}}, "failed"),
    ],
)
def test_demands(changes: dict[str, Any], expected: str) -> None:
    """An offer all the same, a byte fetched, a refusal without advice: each is noticed."""
    assert status(clause_7.fits_the_system, Told(demands=[demand(**changes)]))[0] == expected
