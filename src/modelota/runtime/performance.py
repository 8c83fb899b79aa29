"""Measuring speed and memory of one engine, or of two in turn (A B A B …) so that both meet the same circumstances."""

from __future__ import annotations

import os
from collections.abc import Callable
from statistics import median
from typing import Final

import msgspec

from modelota.clock import Clock
from modelota.errors import TryLater
from modelota.runtime.bounds import Bound, ratios
from modelota.runtime.client import EngineClient
from modelota.runtime.engine import Engine
from modelota.spec.selftest import PerformanceTest
from modelota.telemetry.load import processor_time, share_of_others
from modelota.telemetry.memory import tree_memory

ROUNDS: Final = 5
OTHERS_MAX: Final = 0.2  # of all processors' time: beyond it a device is too busy to condemn a version by its speed


class Contender:
    """One engine and its samples, one per round."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._client = EngineClient(engine.socket_path, label=engine.label, clock=clock)
        self.speeds: list[float] = []
        self.first_tokens: list[float] = []
        self.memories: list[float] = []
        self.residents: list[float] = []

    async def warm_up(self, test: PerformanceTest) -> None:
        """Ask once without counting: the first answer reads weights from the disk."""
        await self._client.chat(test.prompt, max_tokens=test.tokens, whole_length=True, fresh=True)

    async def run(self, test: PerformanceTest) -> None:
        """Ask once, note the figures that could be taken."""
        answer = await self._client.chat(test.prompt, max_tokens=test.tokens, whole_length=True, fresh=True)
        if answer.tokens_per_s is not None:
            self.speeds.append(answer.tokens_per_s)
        if answer.first_token_s is not None:
            self.first_tokens.append(answer.first_token_s)
        reading = tree_memory(self._engine.pid)
        if reading.pss_bytes is not None and reading.rss_bytes is not None:
            self.memories.append(float(reading.pss_bytes))
            self.residents.append(float(reading.rss_bytes))


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured.

    Attributes:
        bounds: every bound of the test that applies, with its samples.
        compared: the relative ones are among them.
        summary: medians by name: seconds, tokens per second, bytes; and `others_share`, the part of the processors'
            time that others took meanwhile.
    """

    bounds: tuple[Bound, ...]
    compared: bool
    summary: dict[str, float]


async def measure(
    test: PerformanceTest,
    candidate: Contender,
    current: Contender | None,
    *,
    rounds: int,
    on_round: Callable[[], None],
) -> Figures:
    """Measure `candidate` and, in turn with it, `current`.

    A rival that breaks down drops out with what is relative to it; the candidate's breakdown is raised.

    Raises:
        TryLater: as `EngineClient.chat`, of the candidate.
    """
    await candidate.warm_up(test)
    current = await _try(current, Contender.warm_up, test)
    began = processor_time(os.getpid())  # the engines are children of this process
    for _ in range(rounds):
        await candidate.run(test)
        current = await _try(current, Contender.run, test)
        on_round()
    others = share_of_others(began, processor_time(os.getpid()))
    busy = others is not None and others > OTHERS_MAX
    bounds = [
        _bound("max_first_token_s", test.max_first_token_s, candidate.first_tokens, disturbed=busy),
        _bound("min_tokens_per_s", test.min_tokens_per_s, candidate.speeds, at_least=True, disturbed=busy),
        # the highest reading, not the median: memory is bought for the peak
        _bound("max_memory_bytes", test.max_memory_bytes, [max(candidate.memories)] if candidate.memories else []),
    ]
    summary = _summary("", candidate)
    if current is not None:
        speeds = ratios(candidate.speeds, current.speeds)
        firsts = ratios(candidate.first_tokens, current.first_tokens)
        # Resident size, because another engine of the version in use may map the same weights, which halves its PSS.
        residents = ratios(candidate.residents, current.residents)
        bounds += [
            _bound("min_speed_ratio", test.min_speed_ratio, speeds, at_least=True, disturbed=busy),
            _bound("max_first_token_ratio", test.max_first_token_ratio, firsts, disturbed=busy),
            _bound("max_memory_ratio", test.max_memory_ratio, residents),
        ]
        summary |= _summary("current_", current)
    if others is not None:
        summary["others_share"] = round(others, 3)
    return Figures(
        bounds=tuple(bound for bound in bounds if bound is not None), compared=current is not None, summary=summary
    )


async def _try(
    contender: Contender | None, step: Callable[[Contender, PerformanceTest], object], test: PerformanceTest
) -> Contender | None:
    if contender is None:
        return None
    try:
        await step(contender, test)  # type: ignore[misc]  # both steps are coroutines
    except TryLater:
        return None
    return contender


def _bound(
    name: str,
    limit: float | None,
    samples: list[float] | tuple[float, ...],
    *,
    at_least: bool = False,
    disturbed: bool = False,
) -> Bound | None:
    if limit is None:
        return None
    return Bound(name=name, limit=limit, samples=tuple(samples), at_least=at_least, disturbed=disturbed)


def _summary(prefix: str, contender: Contender) -> dict[str, float]:
    samples = {
        "tokens_per_s": contender.speeds,
        "first_token_s": contender.first_tokens,
        "memory_bytes": contender.memories,
        "resident_bytes": contender.residents,
    }
    return {prefix + name: round(median(values), 4) for name, values in samples.items() if values}
