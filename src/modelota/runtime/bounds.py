"""Judging repeated measurements against a bound. Pure.

A bound is kept or broken by the median. When it is broken by less than the repeated runs differ among themselves, the
measurement cannot tell: inconclusive, which is measured again later and never a reason to go back. Nor can it tell
about speed while others kept the processors busy.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Final, Literal

import msgspec

Verdict = Literal["passed", "failed", "not-run", "inconclusive"]

# The worst verdict of several is that of the whole; what could not be run blocks, but a failure says more.
_WORST_FIRST: tuple[Verdict, ...] = ("failed", "not-run", "inconclusive", "passed")


LOAD_EXPLAINS: Final = 30  # times as slow: two threads that wait for each other on a full machine came to eleven


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """One bound of a performance test and what was measured for it.

    Attributes:
        name: of the bound, as in `spec.selftest.PerformanceTest`.
        limit: what it says.
        samples: one per run, in the bound's unit; empty when the quantity could not be measured.
        at_least: the limit is a minimum; otherwise a maximum.
        disturbed: others took so much of the processors meanwhile that a bound broken by less than `LOAD_EXPLAINS`
            says nothing.
    """

    name: str
    limit: float
    samples: tuple[float, ...]
    at_least: bool
    disturbed: bool = False

    @property
    def measured(self) -> float | None:
        """The median, or None without samples."""
        return median(self.samples) if self.samples else None

    @property
    def spread(self) -> float:
        """Largest difference between two runs."""
        return max(self.samples) - min(self.samples) if self.samples else 0.0

    def verdict(self) -> Verdict:
        """Whether it is kept."""
        if self.measured is None:
            return "not-run"
        broken_by = self.limit - self.measured if self.at_least else self.measured - self.limit
        if broken_by <= 0:
            return "passed"
        explained = self.disturbed and not self._is_missed_beyond_load()
        return "inconclusive" if explained or self.spread > broken_by else "failed"

    def _is_missed_beyond_load(self) -> bool:
        """Whether no load explains by how much the bound is missed."""
        assert self.measured is not None
        larger, smaller = (self.limit, self.measured) if self.at_least else (self.measured, self.limit)
        return larger > LOAD_EXPLAINS * max(smaller, 0.0)


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict of several; of none, `not-run`: nothing was proven."""
    return next((verdict for verdict in _WORST_FIRST if verdict in verdicts), "not-run")


def ratios(candidate: Sequence[float], current: Sequence[float]) -> tuple[float, ...]:
    """Run by run, candidate over current: what disturbs a pair of neighbouring runs disturbs both."""
    return tuple(new / old for new, old in zip(candidate, current, strict=False) if old > 0)
