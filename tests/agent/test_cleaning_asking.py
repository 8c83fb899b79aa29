"""Cleaning through the socket: one at a time, over restarts, in pages, and never without a confirmation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from modelota.agent.cleaning.plan import CleaningPlan, CleaningProof, Evidence, Finding, Removal, SparedFinding
from modelota.agent.cleaning_asking import CleaningDesk
from modelota.agent.cleaning_jobs import findings_pages, removals_pages, system_within
from modelota.agent.hub import Hub
from modelota.agent.journal import Journal
from modelota.agent.worker_link import WorkerLink
from modelota.errors import AskPerson, TryLater
from modelota.spec.api import Event, EventKind
from modelota.spec.api_cleaning import CleaningResult, CleaningView
from modelota.spec.api_owner import CleaningAccept, CleaningRequest
from modelota.spec.api_query import PageQuery
from modelota.testing.clock import ManualClock

RESULT = CleaningResult(removed=1, gone=0, refused=0, removed_bytes=5, began_at="", ended_at="")


def plan(certain: int, probable: int = 0, spared: int = 0) -> CleaningPlan:
    """A plan of so many findings."""
    kinds = [*["certain"] * certain, *["probable"] * probable]
    return CleaningPlan(
        deep=True,
        findings=tuple(
            Finding(
                path=f"/x/{number}", kind="file", certainty=cast("Any", kind), size_bytes=5, evidence=Evidence(by="tag")
            )
            for number, kind in enumerate(kinds)
        ),
        spared=tuple(
            SparedFinding(path=f"/y/{number}", kind="file", size_bytes=1, reason="in-use") for number in range(spared)
        ),
    )


class Worker:
    """Carries a job out when it is told to; keeps what it was asked for."""

    def __init__(self, journal: Journal, found: CleaningPlan) -> None:
        self.journal = journal
        self.found = found
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.may_end = asyncio.Event()
        self.begun = asyncio.Event()
        self.error: Exception | None = None

    async def run(self, kind: str, arguments: dict[str, Any], on_progress: Any) -> bytes:
        self.asked.append((kind, arguments))
        for done in range(50):
            on_progress(done, None)
        self.begun.set()
        await self.may_end.wait()
        if self.error is not None:
            raise self.error
        if kind == "cleaning-apply":
            return msgspec.json.encode(RESULT)
        self.journal.cleaning.keep_findings(findings_pages(self.found))
        certain = sum(each.certainty == "certain" for each in self.found.findings)
        return msgspec.json.encode(
            CleaningView(
                state="found",
                plan_digest=self.found.digest,
                certain=certain,
                probable=len(self.found.findings) - certain,
            )
        )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    """A new database."""
    journal = Journal(tmp_path / "agent.db", ManualClock())
    yield journal
    journal.close()


class Bench:
    """A desk, its worker and its events."""

    def __init__(self, journal: Journal, found: CleaningPlan) -> None:
        self.hub = Hub(ManualClock())
        self.worker = Worker(journal, found)
        self.desk = CleaningDesk(journal, self.hub, cast("WorkerLink", self.worker), ManualClock())

    async def until(self, *states: str) -> CleaningView:
        """Wait until the cleaning is in one of the states."""
        async for event in self.hub.listen(0):
            if event.kind == "cleaning" and self.desk.view().state in states:
                return self.desk.view()
        raise AssertionError("the hub was closed")

    async def events(self) -> list[Event]:
        """All that are kept."""
        self.hub.close()
        return [event async for event in self.hub.listen(0)]


async def scanned(journal: Journal, found: CleaningPlan) -> Bench:
    bench = Bench(journal, found)
    bench.desk.scan(CleaningRequest(deep=True), authority="uid:1")
    bench.worker.may_end.set()
    await bench.until("found")
    return bench


async def test_scan_confirm_remove(journal: Journal) -> None:
    """What is found waits for its owner; what they confirm is removed; all of it is in the journal."""
    bench = await scanned(journal, plan(2, probable=1))
    view = bench.desk.view()
    assert (view.certain, view.probable) == (2, 1)
    page = bench.desk.findings(PageQuery())
    (probable,) = [each.id for each in page.findings if each.certainty == "probable"]
    request = CleaningAccept(plan_digest=page.plan_digest, probable=(probable,), channel="host")
    assert bench.desk.remove(request, authority="uid:1").state == "removing"
    assert (await bench.until("done")).result == RESULT
    assert journal.cleaning.load().accepted == (probable,), (
        "what was named is in the database, where the worker reads it"
    )
    assert [kind for kind, _ in bench.worker.asked] == ["cleaning-scan", "cleaning-apply"]
    assert [entry.event for entry in journal.log(None, 0, 99)] == ["cleaning-found", "cleaning-confirmed", "cleaned"]
    kept = [event.data["state"] for event in await bench.events()]
    assert kept == ["done"], "of a cleaning the newest event is enough"


async def test_one_at_a_time(journal: Journal) -> None:
    """While one runs nothing else begins, and a removal is not stopped."""
    bench = Bench(journal, plan(1))
    bench.desk.scan(CleaningRequest(), authority="uid:1")
    for ask in (
        lambda: bench.desk.scan(CleaningRequest(), authority="uid:2"),
        lambda: bench.desk.remove(CleaningAccept(plan_digest="5a"), authority="uid:2"),
    ):
        with pytest.raises(AskPerson, match="cleaning-in-progress"):
            ask()
    bench.worker.may_end.set()
    view = await bench.until("found")
    bench.worker.may_end.clear()
    bench.desk.remove(CleaningAccept(plan_digest=view.plan_digest or ""), authority="uid:1")
    with pytest.raises(AskPerson, match="cleaning-in-progress"):
        await bench.desk.stop(authority="uid:1")
    await bench.desk.aclose()


async def test_a_scan_can_be_stopped_and_a_finding_put_away(journal: Journal) -> None:
    """Stopping ends the worker's job at once; nothing is left to confirm."""
    bench = Bench(journal, plan(1))
    bench.desk.scan(CleaningRequest(), authority="uid:1")
    await bench.worker.begun.wait()
    assert (await bench.desk.stop(authority="uid:1")) == CleaningView()
    bench = await scanned(journal, plan(1))
    assert (await bench.desk.stop(authority="uid:1")).plan_digest is None
    with pytest.raises(AskPerson, match="no-plan"):
        bench.desk.findings(PageQuery())


@pytest.mark.parametrize("state", ["scanning", "removing"])
async def test_a_restart_goes_on(journal: Journal, state: str) -> None:
    """What was under way when the agent ended is done anew by the next one, until it is done."""
    bench = await scanned(journal, plan(1))
    bench.worker.may_end.clear()
    if state == "scanning":
        bench.desk.scan(CleaningRequest(within="/srv"), authority="uid:1")
    else:
        bench.desk.remove(CleaningAccept(plan_digest=bench.desk.view().plan_digest or ""), authority="uid:1")
    await bench.desk.aclose()
    after = Bench(journal, plan(1))
    assert after.desk.view().state == state
    after.desk.go_on()
    after.desk.go_on()
    after.worker.may_end.set()
    await after.until("found", "done")
    assert [kind for kind, _ in after.worker.asked] == ["cleaning-scan" if state == "scanning" else "cleaning-apply"]
    if state == "scanning":
        assert after.worker.asked[0][1]["within"] == "/srv"


async def test_what_a_newer_agent_left_is_no_obstacle(journal: Journal) -> None:
    """A state that is not understood is idle: an agent that was taken back to an older version starts."""
    journal.set_fact("cleaning", b'{"view": {"state": "of-tomorrow"}}')
    assert Bench(journal, plan(1)).desk.view() == CleaningView()
    await scanned(journal, plan(1))


async def test_a_failure_is_told_and_can_be_tried_again(journal: Journal) -> None:
    """Whatever ends the job is in the view; the plan that was confirmed can be confirmed again."""
    bench = await scanned(journal, plan(1))
    confirmed = CleaningAccept(plan_digest=bench.desk.view().plan_digest or "")
    for error, code in (
        (TryLater("worker-crashed", job="x", status=9), "worker-crashed"),
        (ValueError("?"), "unexpected"),
    ):
        bench.worker.error = error
        bench.desk.remove(confirmed, authority="uid:1")
        view = await bench.until("failed")
        assert view.error is not None
        assert view.error.code == code
        assert journal.cleaning.load().view.state == "failed"
    bench.worker.error = None
    bench.desk.remove(confirmed, authority="uid:1")
    await bench.until("done")


async def test_only_what_was_shown_is_removed(journal: Journal) -> None:
    """A digest of something else, or an id that is no probable finding's, removes nothing."""
    bench = Bench(journal, plan(1))
    with pytest.raises(AskPerson, match="no-plan"):
        bench.desk.remove(CleaningAccept(plan_digest="5a"), authority="uid:1")
    bench = await scanned(journal, plan(1, probable=1))
    page = bench.desk.findings(PageQuery())
    with pytest.raises(AskPerson, match="plan-changed"):
        bench.desk.remove(CleaningAccept(plan_digest="5a"), authority="uid:1")
    for named in ("nothing", page.findings[0].id):
        with pytest.raises(AskPerson, match="unknown-finding"):
            bench.desk.remove(CleaningAccept(plan_digest=page.plan_digest, probable=(named,)), authority="uid:1")
    assert bench.desk.view().state == "found"
    assert len(bench.worker.asked) == 1


@pytest.mark.parametrize("limit", [1, 7, 150, 200, 10_000])
async def test_pages_hold_everything_once(journal: Journal, limit: int) -> None:
    """Whatever the limit, following `next` gives each finding, each spared one and each removal once, in order."""
    found = plan(205, probable=150, spared=410)
    bench = await scanned(journal, found)
    ids, spared, after = [], [], 0
    while True:
        page = bench.desk.findings(PageQuery(after=after, limit=limit))
        ids += [each.id for each in page.findings]
        spared += [(each.path, each.kind, each.size_bytes, each.reason) for each in page.spared]
        if page.next is None:
            break
        after = page.next
    assert ids == [each.id for each in found.findings]
    assert spared == [(each.path, each.kind, each.size_bytes, each.reason) for each in found.spared]
    assert bench.desk.findings(PageQuery(after=100_000)).findings == ()
    removals = tuple(
        Removal(id=each.id, path=each.path, kind=each.kind, size_bytes=5, result="removed") for each in found.findings
    )
    proof = CleaningProof(
        plan_digest=found.digest, accepted=(), removals=removals, free_space=(), reloaded=(), began_at="", ended_at=""
    )
    with pytest.raises(AskPerson, match="no-plan"):
        bench.desk.removals(PageQuery())
    bench.desk.remove(CleaningAccept(plan_digest=found.digest), authority="uid:1")
    await bench.until("done")
    journal.cleaning.keep_removals(removals_pages(proof))
    gone, step = [], bench.desk.removals(PageQuery(limit=limit))
    while True:
        gone += [each.id for each in step.removals]
        if step.next is None:
            break
        step = bench.desk.removals(PageQuery(after=step.next, limit=limit))
    assert gone == ids
    assert bench.desk.removals(PageQuery(after=100_000)).removals == ()


async def test_progress_wakes_nobody_ten_times_a_second(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fifty reports at once are one event; the view has the newest figure all the same."""
    bench = Bench(journal, plan(1))
    publish, told = bench.hub.publish, list[int]()

    def count(kind: EventKind, model: str, data: dict[str, Any]) -> Event:
        told.append(data["done"])
        return publish(kind, model, data)

    monkeypatch.setattr(bench.hub, "publish", count)
    bench.desk.scan(CleaningRequest(), authority="uid:1")
    await bench.worker.begun.wait()
    assert bench.desk.view().done == 49
    assert len(told) == 2, "that it began, and the first of the reports"
    await bench.desk.aclose()


@pytest.mark.parametrize("within", ["relative", "", "/does/not/exist", "/\0"])
async def test_a_place_is_a_directory_of_this_device(journal: Journal, within: str) -> None:
    """Nothing else is looked at."""
    with pytest.raises(AskPerson, match="argument-invalid"):
        system_within(within)
    if not within.startswith("/"):
        with pytest.raises(AskPerson, match="argument-invalid"):
            Bench(journal, plan(1)).desk.scan(CleaningRequest(within=within), authority="uid:1")
