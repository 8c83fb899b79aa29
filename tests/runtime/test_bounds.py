"""Judging repeated measurements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.runtime.bounds import Bound, ratios, worst

SAMPLES = st.lists(st.floats(0.01, 1e6), min_size=1, max_size=9)


@pytest.mark.parametrize(
    ("samples", "limit", "at_least", "verdict"),
    [
        ((10.0, 11.0, 12.0), 11.0, True, "passed"),
        ((10.0, 11.0, 12.0), 11.5, True, "inconclusive"),
        ((10.0, 11.0, 12.0), 14.0, True, "failed"),
        ((1.0, 1.1, 1.2), 1.1, False, "passed"),
        ((1.0, 1.1, 1.2), 1.05, False, "inconclusive"),
        ((1.0, 1.1, 1.2), 0.5, False, "failed"),
        ((5.0,), 6.0, True, "failed"),
        ((), 6.0, True, "not-run"),
    ],
)
def test_verdicts(samples: tuple[float, ...], limit: float, at_least: bool, verdict: str) -> None:
    """Kept by the median; broken only beyond what runs differ by; nothing measured proves nothing."""
    assert Bound(name="x", limit=limit, samples=samples, at_least=at_least).verdict() == verdict


@given(SAMPLES, st.floats(0.01, 1e6), st.booleans())
def test_a_failure_is_never_within_the_noise(samples: list[float], limit: float, at_least: bool) -> None:
    """Whatever fails is on the wrong side by at least the largest difference between two runs."""
    bound = Bound(name="x", limit=limit, samples=tuple(samples), at_least=at_least)
    if bound.verdict() == "failed":
        assert bound.measured is not None
        assert abs(bound.measured - limit) >= bound.spread


def test_the_worst_verdict_is_the_whole_and_none_is_not_run() -> None:
    """A failure says most; an empty set of tests proves nothing."""
    assert worst(["passed", "inconclusive", "not-run", "failed"]) == "failed"
    assert worst(["passed", "inconclusive", "not-run"]) == "not-run"
    assert worst(["passed", "inconclusive"]) == "inconclusive"
    assert worst(["passed"]) == "passed"
    assert worst([]) == "not-run"


def test_ratios_pair_neighbouring_runs() -> None:
    """A disturbance that hits a pair cancels; a round that only one side finished does not count."""
    assert ratios([1.0, 10.0, 3.0], [2.0, 20.0]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("measured", "limit", "at_least", "verdict"),
    [
        (10.0, 100.0, True, "inconclusive"),
        (3.0, 100.0, True, "failed"),
        (0.0, 100.0, True, "failed"),
        (10.0, 1.0, False, "inconclusive"),
        (31.0, 1.0, False, "failed"),
        (100.0, 100.0, True, "passed"),
    ],
)
def test_load_explains_a_lot_and_not_everything(*, measured: float, limit: float, at_least: bool, verdict: str) -> None:
    """On a busy device a bound missed by some factor says nothing; one missed beyond what load can do is missed."""
    bound = Bound(name="x", limit=limit, samples=(measured,) * 3, at_least=at_least, disturbed=True)
    assert bound.verdict() == verdict
