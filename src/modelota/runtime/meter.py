"""What an answer that passes the gateway tells about the engine: failed or not, how many tokens in which time.

Nothing of what was asked or answered is kept: only the last bytes of an answer are looked at, for the two numbers that
llama-server puts there (`timings.predicted_n`, `timings.predicted_ms`); of an engine that puts none there, the events
of a streamed answer are counted instead.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, NamedTuple

_TAIL_BYTES: Final = 2048
_EVENT: Final = b"data: {"
_TOKENS: Final = re.compile(rb'"predicted_n":\s*(\d{1,7})\b')
_MILLISECONDS: Final = re.compile(rb'"predicted_ms":\s*(\d{1,9}(?:\.\d{1,9})?)')


class AnswerFigures(NamedTuple):
    """One answer of an engine.

    Attributes:
        failed: the engine answered with 5xx or broke off; what the application did wrong does not count.
        tokens: generated, or 0 when that can't be told.
        generating_s: the time they took.
    """

    failed: bool
    tokens: int
    generating_s: float


Measured = Callable[[str, str, AnswerFigures], None]  # model, name of the slot, figures


class Meter:
    """Looks at one answer as it passes.

    Args:
        now: a monotonic clock, in seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._tail = b""
        self._events = 0
        self._first: float | None = None
        self._last = 0.0

    def passed(self, piece: bytes) -> None:
        """A piece of the answer's body."""
        self._last = self._now()
        self._first = self._last if self._first is None else self._first
        self._events += piece.count(_EVENT)
        self._tail = (self._tail + piece)[-_TAIL_BYTES:]

    def figures(self, status: int, *, whole: bool) -> AnswerFigures:
        """What the answer told; `whole`: it came to its end."""
        tokens, milliseconds = _TOKENS.search(self._tail), _MILLISECONDS.search(self._tail)
        failed = status >= 500 or not whole
        if tokens is not None and milliseconds is not None:
            return AnswerFigures(failed, int(tokens[1]), float(milliseconds[1]) / 1000)
        if self._events > 2 and self._first is not None:
            return AnswerFigures(failed, self._events - 1, self._last - self._first)
        return AnswerFigures(failed, 0, 0.0)
