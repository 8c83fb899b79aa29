"""Self-tests: verdicts for what engines do, with the scripted engine, and with real weights."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.runtime.conftest import MakeSpec
from tests.runtime.processes import all_gone, command_line, is_alive, until

from modelota import faults
from modelota.clock import SystemClock
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.runtime import performance
from modelota.runtime.answers import satisfies
from modelota.runtime.selftest import SelfTestRecord, run_self_tests
from modelota.spec.selftest import Check, FunctionalTest, PerformanceTest, PerplexityTest, SelfTests
from modelota.telemetry.memory import process_tree

CLOCK = SystemClock()
WHO = FunctionalTest(id="who", prompt="Who are you?", check=Check(kind="contains", values=("Assistant",)))
HELLO = FunctionalTest(id="hello", prompt="Hello", check=Check(kind="absent", values=("rude",)))


def verdicts(record: SelfTestRecord) -> dict[str, str]:
    return {result.id: result.verdict for result in record.results}


@pytest.fixture(autouse=True)
def undisturbed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else this machine does, the tests measure as on a quiet one."""
    monkeypatch.setattr(performance, "share_of_others", lambda *_: 0.0)


async def run(tests: SelfTests, candidate: Any, current: Any = None, **options: Any) -> SelfTestRecord:
    record = await run_self_tests(tests, candidate, current, clock=CLOCK, start_timeout_s=30, **options)
    assert not [pid for pid in process_tree(os.getpid())[1:] if is_alive(pid) and b"_child" in command_line(pid)]
    return record


async def test_a_good_candidate_passes_and_tells_how_far_it_is(make_fake: MakeSpec) -> None:
    """Progress runs from 0 to the end; the record names what was measured, where, and under what circumstances."""
    progress: list[tuple[int, int]] = []
    tests = SelfTests(functional=(WHO, HELLO), performance=PerformanceTest(tokens=4, max_memory_bytes=1 << 30))
    candidate = make_fake("new", answers={"Who are you?": "I am Assistant " + "x" * 500})
    record = await run(tests, candidate, on_progress=lambda done, total: progress.append((done, total)), rounds=3)
    assert record.verdict == "passed"
    assert record.problem() is None
    assert progress == [(done, 5) for done in range(6)]
    assert verdicts(record)["performance.max_memory_bytes"] == "passed"
    assert record.memory.pss_bytes is not None
    assert record.circumstances.cores >= 1
    assert (record.circumstances.temperature_c is None) == (record.circumstances.temperature_reason is not None)
    assert (record.runtime, record.runtime_version, record.compared) == ("command", "1.0", False)
    assert len(record.results[0].found or "") <= 300
    assert msgspec.json.decode(msgspec.json.encode(record), type=SelfTestRecord) == record


async def test_a_wrong_answer_fails_and_the_rest_still_runs(make_fake: MakeSpec) -> None:
    """The record shows what was expected and what came; the error names the test."""
    record = await run(SelfTests(functional=(WHO, HELLO)), make_fake("new", default="I am nobody"))
    assert record.verdict == "failed"
    assert verdicts(record) == {"who": "failed", "hello": "passed"}
    assert (record.results[0].expected, record.results[0].found) == ("contains: Assistant", "I am nobody")
    problem = record.problem()
    assert isinstance(problem, RefuseContent)
    assert (problem.code, problem.params["test"]) == ("self-test-failed", "who")


async def test_a_disk_that_fails_says_nothing_about_the_candidate(make_fake: MakeSpec) -> None:
    """An engine that can't be started because of the device's disk is no verdict: it is tried again later."""
    faults.arm("engine.start@1=EIO")
    try:
        with pytest.raises(TryLater, match="disk-error"):
            await run(SelfTests(functional=(WHO,)), make_fake("new"))
    finally:
        faults.arm("")


async def test_no_tests_prove_nothing(make_fake: MakeSpec) -> None:
    """An empty set of self-tests does not pass."""
    assert (await run(SelfTests(), make_fake("new"))).verdict == "not-run"


async def test_a_test_that_cannot_run_blocks(make_fake: MakeSpec) -> None:
    """Perplexity on a runtime that cannot tell it is not run, with the reason, and that blocks."""
    tests = SelfTests(functional=(HELLO,), perplexity=PerplexityTest(text="x", max=10))
    record = await run(tests, make_fake("new"))
    assert record.verdict == "not-run"
    problem = record.problem()
    assert isinstance(problem, RefuseContent)
    assert (problem.code, problem.params["test"]) == ("self-test-not-run", "perplexity")


async def test_a_crash_is_a_failure_and_not_an_exception(make_fake: MakeSpec) -> None:
    """An engine that dies in the middle fails with `engine-crashed`; what was left is not run."""
    record = await run(SelfTests(functional=(WHO, HELLO)), make_fake("new", crash_after=1, default="Assistant"))
    assert record.verdict == "failed"
    assert record.error is not None
    assert (record.error.code, record.error.params["status"]) == ("engine-crashed", 128 + signal.SIGKILL)
    assert verdicts(record) == {"who": "passed", "hello": "not-run"}
    problem = record.problem()
    assert problem is not None
    assert problem.params["detail"] == "engine-crashed"


@pytest.mark.parametrize(("script", "code"), [({"exit_at_start": 1}, "engine-start-failed"), (None, "slot-damaged")])
async def test_a_candidate_that_cannot_start_fails(
    make_fake: MakeSpec, script: dict[str, Any] | None, code: str
) -> None:
    """So does one whose files are damaged; every test counts as not run."""
    candidate = make_fake("new", **(script or {}))
    if script is None:
        Path(candidate.entry).write_bytes(b"damaged")
    record = await run(SelfTests(functional=(WHO,)), candidate)
    assert record.verdict == "failed"
    assert record.error is not None
    assert record.error.code == code
    assert verdicts(record) == {"who": "not-run"}


async def test_a_candidate_that_is_late_is_inconclusive(make_fake: MakeSpec) -> None:
    """A busy device is no reason to go back."""
    candidate = make_fake("new", unhealthy=True)
    record = await run_self_tests(SelfTests(functional=(WHO,)), candidate, None, clock=CLOCK, start_timeout_s=0.3)
    assert record.verdict == "inconclusive"
    assert isinstance(record.problem(), TryLater)


async def test_a_missing_runtime_asks_a_person(make_fake: MakeSpec) -> None:
    """What the device lacks is not the release's failure."""
    spec = msgspec.structs.replace(make_fake("new"), runtime="absent")
    with pytest.raises(AskPerson, match="runtime-missing"):
        await run(SelfTests(functional=(WHO,)), spec)


async def test_speed_is_compared_with_the_version_in_use(make_fake: MakeSpec) -> None:
    """A candidate several times slower than the version in use fails the relative bound, and only that."""
    test = PerformanceTest(tokens=5, min_speed_ratio=0.5, max_first_token_ratio=50, max_memory_ratio=2)
    current = make_fake("old", token_delay_s=0.002)
    candidate = make_fake("new", token_delay_s=0.04)
    record = await run(SelfTests(performance=test), candidate, current, rounds=3)
    assert record.compared
    found = verdicts(record)
    assert found["performance.min_speed_ratio"] == "failed"
    assert found["performance.max_memory_ratio"] == "passed"
    summary = record.results[-1].figures
    assert summary["current_tokens_per_s"] > 2 * summary["tokens_per_s"]


async def test_memory_is_compared_with_the_version_in_use(make_fake: MakeSpec) -> None:
    """A candidate that takes 200 MB more fails an absolute and a relative bound."""
    test = PerformanceTest(tokens=2, max_memory_bytes=150 << 20, max_memory_ratio=2)
    record = await run(
        SelfTests(performance=test), make_fake("new", ballast_bytes=200 << 20), make_fake("old"), rounds=2
    )
    found = verdicts(record)
    assert found["performance.max_memory_bytes"] == "failed"
    assert found["performance.max_memory_ratio"] == "failed"
    assert record.memory.pss_bytes is not None
    assert record.memory.pss_bytes > 200 << 20


async def test_a_first_install_skips_relative_bounds(make_fake: MakeSpec) -> None:
    """There is nothing to compare with, and that is no obstacle."""
    record = await run(SelfTests(performance=PerformanceTest(tokens=2, min_speed_ratio=99)), make_fake("new"), rounds=1)
    assert (record.verdict, record.compared) == ("passed", False)


async def test_a_version_in_use_that_cannot_run_does_not_keep_its_repair_out(make_fake: MakeSpec) -> None:
    """Then only absolute bounds count, and the record says why."""
    tests = SelfTests(performance=PerformanceTest(tokens=2, min_speed_ratio=99))
    record = await run(tests, make_fake("new"), make_fake("old", exit_at_start=1), rounds=1)
    assert (record.verdict, record.compared) == ("passed", False)
    assert record.results[-1].reason == "engine-start-failed"


async def test_cancelling_ends_the_engines(make_fake: MakeSpec) -> None:
    """A cancelled update leaves no engine running."""
    others = set(process_tree(os.getpid()))  # multiprocessing's resource tracker, say, once another test used a pool
    candidate = make_fake("new", first_token_delay_s=60)
    task = asyncio.ensure_future(run_self_tests(SelfTests(functional=(WHO,)), candidate, None, clock=CLOCK))
    await until(Path(candidate.socket_path).exists)
    tree = [pid for pid in process_tree(os.getpid()) if pid not in others]
    assert tree
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await all_gone(tree, 5) < 5


@pytest.mark.parametrize(
    ("check", "answer", "holds"),
    [
        (Check(kind="contains", values=("a", "b")), "xbx", True),
        (Check(kind="contains", values=("a", "b")), "xyz", False),
        (Check(kind="contains_all", values=("a", "b")), "ab", True),
        (Check(kind="contains_all", values=("a", "b")), "a", False),
        (Check(kind="equals", values=("yes", "no")), " yes\n", True),
        (Check(kind="equals", values=("yes",)), "yes!", False),
        (Check(kind="absent", values=("a",)), "xyz", True),
        (Check(kind="absent", values=("A",)), "a", True),
        (Check(kind="absent", values=("A",), ignore_case=True), "a", False),
        (Check(kind="contains", values=("STRASSE",), ignore_case=True), "straße", True),
        (Check(kind="contains", values=("北京",)), "中国的首都是北京。", True),
        (Check(kind="contains", values=(".*",)), "anything", False),
    ],
)
def test_checks(check: Check, answer: str, holds: bool) -> None:
    """Texts are looked for as they are; nothing in a check is a pattern."""
    assert satisfies(answer, check) is holds


@pytest.mark.engine
async def test_a_real_model_proves_itself(make_llama: MakeSpec, family: Path) -> None:
    """Perplexity and interleaved speed with real weights: the same file against itself is never a failure."""
    model = family / "1.1.1" / "assistant-q8.gguf"
    tests = SelfTests(
        functional=(FunctionalTest(id="any", prompt="Hello!", check=Check(kind="absent", values=("\0",))),),
        perplexity=PerplexityTest(text="The capital of France is Paris.", max=1e6),
        performance=PerformanceTest(tokens=16, min_speed_ratio=0.3, max_memory_ratio=1.3, max_memory_bytes=1 << 30),
    )
    record = await run(tests, make_llama("new", model), make_llama("old", model), rounds=3)
    assert record.verdict in {"passed", "inconclusive"}
    assert record.compared
    found = verdicts(record)
    assert found["perplexity"] == "passed"
    assert found["performance.max_memory_ratio"] == "passed"


@pytest.mark.engine
async def test_a_model_that_finds_its_text_surprising_fails(make_llama: MakeSpec, family: Path) -> None:
    """Well-formed weights that are bad at language do not pass."""
    tests = SelfTests(perplexity=PerplexityTest(text="The capital of France is Paris.", max=1.01))
    record = await run(tests, make_llama("new", family / "1.1.1" / "assistant-q8.gguf"))
    assert verdicts(record) == {"perplexity": "failed"}


async def test_a_busy_device_condemns_no_version_by_its_speed(
    make_fake: MakeSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While others keep the processors busy a broken bound of speed is inconclusive; one of memory is not."""
    monkeypatch.setattr(performance, "share_of_others", lambda *_: 0.5)
    slow = make_fake("new", token_delay_s=0.05)  # at most twenty tokens a second
    test = PerformanceTest(tokens=3, min_tokens_per_s=100, max_memory_bytes=1)
    record = await run(SelfTests(performance=test), slow, rounds=1)
    found = {result.id: (result.verdict, result.reason) for result in record.results}
    assert found["performance.min_tokens_per_s"] == ("inconclusive", "busy")
    assert found["performance.max_memory_bytes"] == ("failed", "bound")
    assert next(result for result in record.results if result.id == "performance").figures["others_share"] == 0.5
