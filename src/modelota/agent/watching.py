"""The watch: how the version in use does, against the version before it (requirement 6.3-a).

Counted at the gateway and sampled from `/proc`; kept per slot, so that a version has figures to be compared with when
its successor takes over. Deciding is pure (`judge`); what follows is the state machine's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import count
from typing import Any, Final, NamedTuple

import msgspec

from modelota.agent.config import WatchWindow
from modelota.agent.service_table import ServiceTable
from modelota.agent.serving import Serving
from modelota.agent.states import State, WatchBroken
from modelota.clock import Clock
from modelota.errors import ModelotaError
from modelota.runtime.meter import AnswerFigures
from modelota.spec.api import ErrorBody
from modelota.telemetry.memory import tree_memory

CALM: Final = 10  # outside the watch window the figures are sampled this much more rarely
TOKENS_MIN: Final = 200  # a speed over fewer tokens says nothing


class Baseline(NamedTuple):
    """What the version before did: share of failed answers, tokens per second, resident bytes; None is unknown."""

    error_share: float
    tokens_per_s: float | None
    memory_bytes: int | None


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How a version did since it came into use.

    Attributes:
        requests: answers of its engine.
        errors: of them, those that failed.
        tokens: generated in answers whose time is known.
        generating_s: that time.
        memory_bytes: resident size of the engine's process tree, blended over the samples; None before the first.
    """

    requests: int = 0
    errors: int = 0
    tokens: int = 0
    generating_s: float = 0.0
    memory_bytes: int | None = None

    @property
    def error_share(self) -> float:
        """Share of failed answers."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Speed over all counted answers; None before there are enough tokens."""
        return self.tokens / self.generating_s if self.tokens >= TOKENS_MIN and self.generating_s > 0 else None

    def baseline(self, min_requests: int) -> Baseline:
        """What a later version is compared with; fewer answers than `min_requests` excuse no failures of that one."""
        error_share = self.error_share if self.requests >= min_requests else 0.0
        return Baseline(error_share, self.tokens_per_s, self.memory_bytes)

    def with_answer(self, answer: AnswerFigures) -> ServiceFigures:
        """The figures after one more answer."""
        return msgspec.structs.replace(
            self,
            requests=self.requests + 1,
            errors=self.errors + answer.failed,
            tokens=self.tokens + answer.tokens,
            generating_s=self.generating_s + answer.generating_s,
        )

    def with_memory(self, memory_bytes: int) -> ServiceFigures:
        """The figures after one more sample: half old, half new, so that a single peak decides nothing."""
        known = self.memory_bytes
        return msgspec.structs.replace(
            self, memory_bytes=memory_bytes if known is None else (known + memory_bytes) // 2
        )


def judge(now: ServiceFigures, before: Baseline, settings: WatchWindow) -> ErrorBody | None:
    """Why the watched version should not stay; None when nothing speaks against it. Pure.

    Args:
        now: of the watched version.
        before: of the version before it.
        settings: the bounds.

    Returns:
        `watch-errors` (share_percent, before_percent), `watch-slower` (tokens_per_s, before) or `watch-memory`
        (memory_bytes, before_bytes).
    """
    if now.requests >= settings.min_requests:
        if now.error_share > settings.max_error_share and now.error_share > 2 * before.error_share:
            params = {
                "share_percent": round(100 * now.error_share),
                "before_percent": round(100 * before.error_share),
            }
            return ErrorBody(code="watch-errors", params=params)
        speed, speed_before = now.tokens_per_s, before.tokens_per_s
        if speed is not None and speed_before is not None and speed < settings.min_speed_ratio * speed_before:
            return ErrorBody(
                code="watch-slower", params={"tokens_per_s": round(speed, 1), "before": round(speed_before, 1)}
            )
    memory, memory_before = now.memory_bytes, before.memory_bytes
    if memory is not None and memory_before and memory > settings.max_memory_ratio * memory_before:
        return ErrorBody(code="watch-memory", params={"memory_bytes": memory, "before_bytes": memory_before})
    return None


def performance_figures(record: dict[str, Any]) -> dict[str, float]:
    """Medians of the performance self-test by name, out of a record; none when it was not run."""
    results: list[dict[str, Any]] = record.get("results", [])
    return next((result.get("figures", {}) for result in results if result.get("id") == "performance"), {})


class Watcher:
    """Follows the version in use of one model.

    Args:
        model: its name.
        settings: the watch's.
        table: keeps the figures of each slot.
        serving: the engine in use.
        clock: the time.
        self_tests: the kept self-test records of a model: slot, time, record.
        state: the model's state.
        post: posts an event to the machine.
    """

    def __init__(
        self,
        model: str,
        settings: WatchWindow,
        table: ServiceTable,
        serving: Serving,
        clock: Clock,
        *,
        self_tests: Callable[[str], list[tuple[str, str, dict[str, Any]]]],
        state: Callable[[], State],
        post: Callable[[WatchBroken], Awaitable[bool]],
    ) -> None:
        self._model = model
        self._settings = settings
        self._table = table
        self._serving = serving
        self._clock = clock
        self._self_tests = self_tests
        self._state = state
        self._post = post
        self._figures: dict[str, ServiceFigures] = {}
        self._unwritten: set[str] = set()

    def answered(self, slot: str, answer: AnswerFigures) -> None:
        """An engine of `slot` answered an application."""
        with suppress(ModelotaError):  # a database that can't be read costs a figure, not the application its answer
            self._figures[slot] = self.figures(slot).with_answer(answer)
            self._unwritten.add(slot)

    def figures(self, slot: str) -> ServiceFigures:
        """The figures of a slot so far."""
        if slot not in self._figures:
            found = self._table.figures(self._model, slot)
            self._figures[slot] = ServiceFigures(**found) if found else ServiceFigures()
        return self._figures[slot]

    def _baseline(self, watched: str, before: str) -> Baseline:
        """Of the version before; memory that was never sampled comes from the self-test, which measured both."""
        baseline = self.figures(before).baseline(self._settings.min_requests)
        if baseline.memory_bytes is not None:
            return baseline
        measured = [record for slot, _, record in self._self_tests(self._model) if slot == watched]
        figures = {} if not measured else performance_figures(measured[-1])
        resident = figures.get("current_resident_bytes")
        return baseline._replace(memory_bytes=None if resident is None else int(resident))

    def begin(self, slot: str) -> None:
        """A slot is about to come into use: its figures start anew, also if the agent is killed now."""
        self._figures[slot] = ServiceFigures()
        self._unwritten.add(slot)
        self._keep()

    async def run(self) -> None:
        """Sample, keep and judge until cancelled."""
        for number in count(1):
            await self._clock.sleep(self._settings.sample_s)
            if self._state().watch is not None or number % CALM == 0:
                await self.look()

    def sample(self) -> None:
        """Take one sample of the engine in use, and keep what is known of every version."""
        engine = self._serving.engine
        if engine is not None:
            reading = tree_memory(engine.pid)
            if reading.rss_bytes is not None:
                self._figures[engine.label] = self.figures(engine.label).with_memory(reading.rss_bytes)
                self._unwritten.add(engine.label)
        self._keep()

    def _keep(self) -> None:
        with suppress(ModelotaError):  # a full disk costs figures of a minute, not the engine; they are written later
            for slot in tuple(self._unwritten):
                self._table.keep(self._model, slot, msgspec.structs.asdict(self._figures[slot]))
                self._unwritten.discard(slot)

    async def look(self) -> None:
        """Take one sample, and go back if the bounds say so."""
        self.sample()
        state = self._state()
        if state.watch is None or state.previous is None or state.watch.version != state.current:
            return
        watched = state.watch.version.name
        found = judge(self.figures(watched), self._baseline(watched, state.previous.name), self._settings)
        if found is not None:
            with suppress(ModelotaError):  # the journal can't be written now: the next look tries again
                await self._post(WatchBroken(error=found))
