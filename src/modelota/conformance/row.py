"""A row of the report, and how a check arrives at one: by claims that hold or do not, and figures within limits or not.

A check cannot return a status of its own choice. It states claims with what was seen; the status follows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import msgspec

from modelota.errors import OurBug
from modelota.i18n import Language

Status = Literal["passed", "failed", "not measured yet", "unmeasurable here", "simulated", "organisational"]


class Text(NamedTuple):
    """A sentence in both languages of the standard's readers."""

    zh: str
    en: str

    def said(self, language: Language) -> str:
        """The sentence in `language`."""
        return self.zh if language == "zh-CN" else self.en


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """One requirement and what was found; the JSON form has exactly these keys.

    Attributes:
        id: of the requirement.
        status: what the measurement amounts to.
        figure: what was measured, when it is a number.
        limit: what is allowed.
        unit: of both.
        reason: why there is no measurement, or what did not hold, in the language of the run.
        evidence: what was done and seen, by name; enough to repeat it.
    """

    id: str
    status: Status
    figure: float | None = None
    limit: float | None = None
    unit: str | None = None
    reason: str | None = None
    evidence: dict[str, Any] = {}


class Unmeasurable(Exception):
    """This machine, or this target, lacks what a check needs.

    Args:
        reason: what it lacks.
    """

    def __init__(self, reason: Text) -> None:
        super().__init__(reason.en)
        self.reason: Final = reason


class Unreached(Exception):
    """The product did not come to the point where something could be measured: that is a failure of the product.

    Args:
        what: what was waited for or asked, and what came instead.
    """


@dataclass
class Examination:
    """What a check collects: claims, figures, evidence.

    Attributes:
        evidence: what was done and seen.
    """

    evidence: dict[str, Any] = field(default_factory=dict)
    _claims: int = 0
    _broken: list[str] = field(default_factory=list)
    _figure: tuple[float, float | None, str] | None = None
    _missing: Text | None = None

    def claim(self, name: str, holds: bool, seen: object = None) -> None:  # noqa: FBT001  the claim is the argument
        """State that something holds.

        Args:
            name: of the claim, in words-with-hyphens.
            holds: whether it does.
            seen: what was seen; goes into the evidence, whether it holds or not.

        Raises:
            OurBug: `invariant-broken`: the name is taken; evidence would be lost.
        """
        if name in self.evidence:
            raise OurBug("invariant-broken", detail=f"claim {name} is made twice")
        self._claims += 1
        self.evidence[name] = holds if seen is None else seen
        if not holds:
            self._broken.append(name)

    def at_most(self, name: str, figure: float, limit: float, unit: str) -> None:
        """Measure something that has an upper limit; the first such figure is the row's."""
        self._figure = self._figure or (figure, limit, unit)
        self.claim(name, figure <= limit, {"figure": figure, "limit": limit, "unit": unit})

    def still_missing(self, what: Text) -> None:
        """Part of the demand can't be measured yet: whatever the rest shows, the row is not passed."""
        self._missing = what

    def row(self, requirement: str, language: Language) -> Row:
        """The row that follows from the claims.

        Raises:
            OurBug: `invariant-broken`: nothing was claimed, so nothing was measured.
        """
        if not self._claims:
            raise OurBug("invariant-broken", detail=f"check {requirement} measured nothing")
        status: Status = "passed"
        reason: Text | None = None
        if self._broken:
            names = ", ".join(self._broken)
            status, reason = "failed", Text(f"不成立：{names}", f"does not hold: {names}")
        elif self._missing is not None:
            status, reason = "not measured yet", self._missing
        figure, limit, unit = self._figure or (None, None, None)
        return Row(
            id=requirement,
            status=status,
            figure=figure,
            limit=limit,
            unit=unit,
            reason=reason.said(language) if reason else None,
            evidence=self.evidence,
        )
