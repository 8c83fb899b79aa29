"""Version numbers (clause 6.1): `major.minor.patch`, each a positive integer.

Positive means at least 1, so the first version of a model is 1.1.1. When a higher part increases, lower parts restart
at 1.
"""

from __future__ import annotations

import re
from functools import total_ordering
from typing import Final, Literal, NamedTuple, Self

from modelota.errors import AskPerson

Step = Literal["major", "minor", "patch"]

_FORM: Final = re.compile(r"(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})\.(0|[1-9][0-9]{0,8})", re.ASCII)
_LOOSE: Final = re.compile(r"[0-9]{1,99}\.[0-9]{1,99}\.[0-9]{1,99}", re.ASCII)


@total_ordering
class Version(NamedTuple):
    """One version number; ordered by major, then minor, then patch."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `text`.

        Raises:
            AskPerson: `version-invalid`, with the rule that `text` breaks as `detail`: `form`, `leading-zero`,
                `too-large` or `not-positive`.
        """
        match = _FORM.fullmatch(text)
        if match is None:
            detail = "form"
            if _LOOSE.fullmatch(text):
                padded = any(part != "0" and part.startswith("0") for part in text.split("."))
                detail = "leading-zero" if padded else "too-large"
            raise AskPerson("version-invalid", text=text[:80], detail=detail)
        parts = tuple(int(part) for part in match.groups())
        if min(parts) < 1:
            raise AskPerson("version-invalid", text=text, detail="not-positive")
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    def next(self, step: Step) -> Version:
        """The version one `step` up, with lower parts restarted at 1."""
        if step == "major":
            return Version(self.major + 1, 1, 1)
        if step == "minor":
            return Version(self.major, self.minor + 1, 1)
        return Version(self.major, self.minor, self.patch + 1)

    def step_from(self, older: Version) -> Step:
        """Which part increased from `older` to this version.

        Raises:
            AskPerson: `version-invalid` (detail `not-newer`, or `restart` when a lower part did not restart at 1).
        """
        if self <= older:
            raise AskPerson("version-invalid", text=str(self), detail="not-newer")
        if self.major > older.major:
            step: Step = "major"
            restarted = (self.minor, self.patch) == (1, 1)
        elif self.minor > older.minor:
            step = "minor"
            restarted = self.patch == 1
        else:
            return "patch"
        if not restarted:
            raise AskPerson("version-invalid", text=str(self), detail="restart")
        return step


FIRST: Final = Version(1, 1, 1)
