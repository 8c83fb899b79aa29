"""Self-tests in the real engine: a candidate proves itself before it is used (clause 5.3-d, design decision 8)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Final, Literal

import msgspec

from modelota.clock import Clock, iso
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.runtime.answers import satisfies
from modelota.runtime.bounds import Bound, Verdict, worst
from modelota.runtime.client import EngineClient
from modelota.runtime.contract import contract_breaches
from modelota.runtime.engine import Engine, start_engine
from modelota.runtime.messages import plain
from modelota.runtime.performance import ROUNDS, Contender, measure
from modelota.runtime.protocol import PERPLEXITY, EngineSpec, runtime_of
from modelota.spec.api import ErrorBody
from modelota.spec.selftest import FunctionalTest, PerformanceTest, PerplexityTest, SelfTests
from modelota.telemetry.circumstances import Circumstances, circumstances
from modelota.telemetry.memory import MemoryReading, tree_memory

Kind = Literal["functional", "contract", "perplexity", "performance"]
OnProgress = Callable[[int, int], None]

_FOUND_MAX_CHARS: Final = 300
_CRASH_NOTICE_S: Final = 2.0  # after a broken connection: how long to wait for the child's status
_START_TIMEOUT_S: Final = 300.0


class TestResult(msgspec.Struct, frozen=True, kw_only=True):
    """One self-test.

    Attributes:
        id: of the functional test; `contract`; `perplexity`; or `performance.<bound>`.
        verdict: how it ended.
        expected: what was promised.
        found: what came, cut to a few hundred characters; None when nothing did.
        figures: measured numbers by name, in seconds, bytes, tokens per second, or ratios.
        reason: a code or a few words why it is not `passed`, or None.
    """

    # pytest collects classes by this prefix; this one is no test of this code.
    __test__ = False

    id: str
    kind: Kind
    verdict: Verdict
    expected: str
    found: str | None = None
    figures: dict[str, float] = {}
    reason: str | None = None


class SelfTestRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a run of self-tests showed. Holds nothing of the device's user: prompts are the manifest's.

    Attributes:
        verdict: `passed` only if every test is.
        results: one per test, in the order they ran.
        candidate: label of the slot that was tested.
        current: label of the slot it was compared with, or None.
        compared: relative bounds were measured; False on a first install, or when the version in use could not run.
        runtime: name of the runtime.
        runtime_version: its version, or None.
        error: why the candidate could not be started or ended early, or None.
        circumstances: before the first test.
        memory: of the candidate's process tree, at its highest reading.
        started_at: when.
        duration_s: how long all of it took.
    """

    verdict: Verdict
    results: tuple[TestResult, ...]
    candidate: str
    current: str | None
    compared: bool
    runtime: str
    runtime_version: str | None
    error: ErrorBody | None
    circumstances: Circumstances
    memory: MemoryReading
    started_at: str
    duration_s: float

    def problem(self) -> ModelotaError | None:
        """The error that the verdict amounts to, or None if it is `passed`.

        Returns:
            RefuseContent `self-test-failed` or `self-test-not-run`, TryLater `self-test-inconclusive` (test, detail),
            naming the first test with that verdict.
        """
        if self.verdict == "passed":
            return None
        first = next((result for result in self.results if result.verdict == self.verdict), None)
        detail = None if first is None else first.reason or f"expected {first.expected}, found {first.found}"
        if self.error is not None:
            detail = self.error.code
        test = None if first is None else first.id
        if self.verdict == "inconclusive":
            return TryLater("self-test-inconclusive", test=test, detail=detail)
        return RefuseContent(f"self-test-{self.verdict}", test=test, detail=detail)


async def run_self_tests(
    tests: SelfTests,
    candidate: EngineSpec,
    current: EngineSpec | None,
    *,
    clock: Clock,
    on_progress: OnProgress | None = None,
    rounds: int = ROUNDS,
    start_timeout_s: float = _START_TIMEOUT_S,
    on_started: Callable[[Engine], None] = lambda _: None,
    contract: bool = False,
) -> SelfTestRecord:
    """Run every test of `tests` against an engine started for it.

    The candidate's failures, crashes included, are verdicts and not exceptions. An engine that is not healthy in time
    is inconclusive: the device may be busy.

    Args:
        tests: of the variant.
        candidate: the slot to test.
        current: the slot in use, for relative bounds: an engine of its own is started for it as well, so its socket,
            log and working directory differ from those of the engine that serves. None on a first install.
        clock: what is waited and measured with.
        on_progress: called with (done, total) before the first and after each step.
        rounds: repetitions of the performance test.
        start_timeout_s: for each engine to become healthy.
        on_started: called with each engine that became healthy.
        contract: check the contract of the endpoint that other applications use, too (clause 5.1-b).

    Raises:
        AskPerson: `runtime-missing`, `root-not-private`, `permission-denied`, `no-space`: the device, not the release.
        TryLater: `disk-error`, likewise.
    """
    run = _Run(tests, candidate, current, clock, on_progress, rounds, start_timeout_s, on_started, contract=contract)
    return await run.record()


class _Run:
    """State of one run."""

    def __init__(
        self,
        tests: SelfTests,
        candidate: EngineSpec,
        current: EngineSpec | None,
        clock: Clock,
        on_progress: OnProgress | None,
        rounds: int,
        start_timeout_s: float,
        on_started: Callable[[Engine], None],
        *,
        contract: bool,
    ) -> None:
        self._tests = tests
        self._candidate = candidate
        self._current = current
        self._clock = clock
        self._on_progress = on_progress
        self._rounds = rounds
        self._start_timeout_s = start_timeout_s
        self._on_started = on_started
        self._contract = contract
        self._results: list[TestResult] = []
        self._error: ModelotaError | None = None
        self._memory = MemoryReading(reason="not started")
        self._compared = False
        self._done = 0
        self._total = len(tests.functional) + contract + (tests.perplexity is not None)
        self._total += rounds if tests.performance is not None else 0

    async def record(self) -> SelfTestRecord:
        started_at, started = iso(self._clock.now()), self._clock.monotonic()
        before = circumstances()
        self._tell()
        async with AsyncExitStack() as engines:
            try:
                engine = await self._start(self._candidate, engines)
                await self._test(engine, engines)
            except AskPerson:
                raise
            except ModelotaError as error:
                if error.code == "disk-error":  # the device's trouble, which says nothing about the candidate
                    raise
                self._error = error
                self._not_run(error.code)
        verdict = worst([result.verdict for result in self._results])
        if self._error is not None:
            verdict = "inconclusive" if self._error.code == "engine-timeout" else "failed"
        return SelfTestRecord(
            verdict=verdict,
            results=tuple(self._results),
            candidate=self._candidate.label,
            current=None if self._current is None else self._current.label,
            compared=self._compared,
            runtime=self._candidate.runtime,
            runtime_version=runtime_of(self._candidate).version(),
            error=None if self._error is None else _error_body(self._error),
            circumstances=before,
            memory=self._memory,
            started_at=started_at,
            duration_s=round(self._clock.monotonic() - started, 3),
        )

    async def _start(self, spec: EngineSpec, engines: AsyncExitStack) -> Engine:
        engine = await start_engine(spec, clock=self._clock, timeout_s=self._start_timeout_s)
        engines.push_async_callback(engine.stop)
        self._on_started(engine)
        return engine

    async def _test(self, engine: Engine, engines: AsyncExitStack) -> None:
        """Run the tests; a candidate that ends meanwhile ends them.

        Raises:
            TryLater: `engine-crashed`.
        """
        client = EngineClient(engine.socket_path, label=engine.label, clock=self._clock)
        for test in self._tests.functional:
            self._results.append(await self._functional(test, engine, client))
            self._step(engine)
        if self._contract:
            self._results.append(await self._endpoint(engine))
            self._step(engine)
        if self._tests.perplexity is not None:
            self._results.append(await self._perplexity(self._tests.perplexity, engine, client))
            self._step(engine)
        if self._tests.performance is not None:
            await self._performance(self._tests.performance, engine, engines)

    async def _functional(self, test: FunctionalTest, engine: Engine, client: EngineClient) -> TestResult:
        expected = f"{test.check.kind}: {' | '.join(test.check.values)}"[:_FOUND_MAX_CHARS]
        try:
            answer = await client.chat(test.prompt, max_tokens=test.max_tokens)
        except TryLater as error:
            await _raise_if_crashed(engine)
            return TestResult(id=test.id, kind="functional", verdict="failed", expected=expected, reason=error.code)
        holds = satisfies(answer.text, test.check)
        figures = {"duration_s": round(answer.duration_s, 4), "tokens": float(answer.tokens)}
        if answer.first_token_s is not None:
            figures["first_token_s"] = round(answer.first_token_s, 4)
        return TestResult(
            id=test.id,
            kind="functional",
            verdict="passed" if holds else "failed",
            expected=expected,
            found=answer.text[:_FOUND_MAX_CHARS],
            figures=figures,
            reason=None if holds else "answer",
        )

    async def _endpoint(self, engine: Engine) -> TestResult:
        expected = "what applications do through the gateway"
        try:
            checked, broken = await contract_breaches(engine, self._candidate)
        except TryLater as error:
            await _raise_if_crashed(engine)
            checked, broken = 0, [error.code]
        verdict: Verdict = "failed" if broken else "passed"
        reason = ", ".join(broken) or None
        figures = {"checked": float(checked)}
        return TestResult(
            id="contract", kind="contract", verdict=verdict, expected=expected, reason=reason, figures=figures
        )

    async def _perplexity(self, test: PerplexityTest, engine: Engine, client: EngineClient) -> TestResult:
        expected = f"<= {test.max:g}"
        if PERPLEXITY not in runtime_of(self._candidate).capabilities:
            reason = "the runtime cannot tell perplexity"
            return TestResult(id="perplexity", kind="perplexity", verdict="not-run", expected=expected, reason=reason)
        try:
            value = await client.perplexity(test.text)
        except TryLater as error:
            await _raise_if_crashed(engine)
            return TestResult(
                id="perplexity", kind="perplexity", verdict="not-run", expected=expected, reason=error.code
            )
        return TestResult(
            id="perplexity",
            kind="perplexity",
            # not `value > max`: what is not a number must not pass
            verdict="passed" if value <= test.max else "failed",
            expected=expected,
            found=f"{value:.4g}",
            figures={"perplexity": value},
            reason=None if value <= test.max else "perplexity",
        )

    async def _performance(self, test: PerformanceTest, engine: Engine, engines: AsyncExitStack) -> None:
        contender = Contender(engine, self._clock)
        rival: Contender | None = None
        reason: str | None = None
        if self._current is not None and _is_relative(test):
            try:
                rival = Contender(await self._start(self._current, engines), self._clock)
            except (TryLater, RefuseContent) as error:
                # A version in use that cannot run must not keep its repair out: only the absolute bounds count then.
                reason = error.code
        try:
            figures = await measure(test, contender, rival, rounds=self._rounds, on_round=lambda: self._step(engine))
        except TryLater as error:
            await _raise_if_crashed(engine)
            self._results.append(
                TestResult(
                    id="performance", kind="performance", verdict="failed", expected="an answer", reason=error.code
                )
            )
            return
        self._compared = figures.compared
        for bound in figures.bounds:
            verdict = bound.verdict()
            measured = bound.measured
            self._results.append(
                TestResult(
                    id=f"performance.{bound.name}",
                    kind="performance",
                    verdict=verdict,
                    expected=f"{'>=' if bound.at_least else '<='} {bound.limit:g}",
                    found=None if measured is None else f"{measured:.4g}",
                    figures={} if measured is None else {"median": measured, "spread": bound.spread},
                    reason=_reason_of(verdict, bound),
                )
            )
        summary = {**figures.summary}
        self._results.append(
            TestResult(
                id="performance",
                kind="performance",
                verdict="passed",
                expected="measured",
                found="measured",
                figures=summary,
                reason=reason,
            )
        )

    def _step(self, engine: Engine) -> None:
        reading = tree_memory(engine.pid)
        if (self._memory.pss_bytes or 0) <= (reading.pss_bytes or 0):
            self._memory = reading
        self._done += 1
        self._tell()

    def _tell(self) -> None:
        if self._on_progress is not None:
            self._on_progress(min(self._done, self._total), self._total)

    def _not_run(self, reason: str) -> None:
        """Note every test that did not come to run."""
        ran = {result.id for result in self._results}
        for test in self._tests.functional:
            if test.id not in ran:
                self._results.append(_missed(test.id, "functional", reason))
        if self._tests.perplexity is not None and "perplexity" not in ran:
            self._results.append(_missed("perplexity", "perplexity", reason))
        if self._tests.performance is not None and "performance" not in ran:
            self._results.append(_missed("performance", "performance", reason))


def _reason_of(verdict: Verdict, bound: Bound) -> str | None:
    if verdict == "inconclusive":
        return "busy" if bound.disturbed else "spread"
    return {"passed": None, "not-run": "not measured"}.get(verdict, "bound")


async def _raise_if_crashed(engine: Engine) -> None:
    """After a request broke: was it because the engine ended?

    Raises:
        TryLater: `engine-crashed` (slot, status).
    """
    try:
        async with asyncio.timeout(_CRASH_NOTICE_S):
            status = await engine.wait()
    except TimeoutError:
        return
    raise TryLater("engine-crashed", slot=engine.label, status=status)


def _is_relative(test: PerformanceTest) -> bool:
    return (test.min_speed_ratio, test.max_first_token_ratio, test.max_memory_ratio) != (None, None, None)


def _missed(test_id: str, kind: Kind, reason: str) -> TestResult:
    return TestResult(id=test_id, kind=kind, verdict="not-run", expected="to run", reason=reason)


def _error_body(error: ModelotaError) -> ErrorBody:
    params: dict[str, Any] = plain(error.params)
    return ErrorBody(code=error.code, params=params)
