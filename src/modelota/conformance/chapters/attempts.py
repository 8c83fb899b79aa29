"""Attempts that have to be refused, and what each of them moved."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from modelota.conformance.commands import Done
from modelota.conformance.row import Examination
from modelota.conformance.socket_client import Answer


class Attempt(NamedTuple):
    """One attempt.

    Attributes:
        name: what was tried.
        refused: whether the product said no.
        code: the code it gave.
        moved_bytes: content bytes served because of it.
        phase: of the model afterwards, where a device was involved.
    """

    name: str
    refused: bool
    code: str | None
    moved_bytes: int = 0
    phase: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """For the evidence."""
        return {"refused": self.refused, "code": self.code, "content_bytes": self.moved_bytes, "phase": self.phase}


def of_command(name: str, done: Done, moved_bytes: int = 0, phase: str | None = None) -> Attempt:
    """An attempt by a command: refused when it ends with an error and names a code."""
    return Attempt(name, done.status != 0 and done.code is not None, done.code, moved_bytes, phase)


def of_answer(name: str, answer: Answer, moved_bytes: int = 0, phase: str | None = None) -> Attempt:
    """An attempt through the socket: refused when it is answered with an error that has a code."""
    return Attempt(name, answer.status >= 400 and answer.code is not None, answer.code, moved_bytes, phase)


def claim_refused(examination: Examination, attempts: Iterable[Attempt]) -> None:
    """Claim of every attempt that it was refused and moved no content."""
    for attempt in attempts:
        idle = attempt.phase in {None, "idle", "offered", "watching"}
        examination.claim(attempt.name, attempt.refused and attempt.moved_bytes == 0 and idle, attempt.told)
