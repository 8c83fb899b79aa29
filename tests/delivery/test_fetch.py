"""Tests of modelota.delivery.fetch, against a server that counts."""

import asyncio
import contextlib
import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelota.delivery import fetch as fetching
from modelota.delivery.fetch import FetchReport, fetch
from modelota.delivery.paths import pack_path
from modelota.delivery.stores import open_store
from modelota.errors import AskPerson, ModelotaError, RefuseContent, TryLater
from modelota.spec.limits import CHUNK_MAX_BYTES, MIB
from modelota.spec.offer import PlannedFrame
from modelota.testing.clock import ManualClock
from modelota.testing.network import Cut, Fault, Garble, IgnoreRange, InstrumentedServer, Stall, Status

PACK = "ab" * 32


class Sink:
    """Keeps verified frames in memory."""

    def __init__(self, digests: dict[PlannedFrame, str]) -> None:
        self.digests = digests
        self.frames: dict[PlannedFrame, bytes] = {}
        self.bad = 0

    def has(self, frame: PlannedFrame) -> bool:
        return frame in self.frames

    def put(self, frame: PlannedFrame, sealed: bytes) -> None:
        if hashlib.sha256(sealed).hexdigest() != self.digests[frame]:
            self.bad += 1
            raise RefuseContent("pack-tampered", pack=frame.pack, frame=frame.frame)
        self.frames[frame] = sealed


class World:
    """A pack on a server, its frames, a sink, a clock, and what fetch reported."""

    def __init__(self, server: InstrumentedServer, frames: list[PlannedFrame], sink: Sink) -> None:
        self.server = server
        self.frames = frames
        self.sink = sink
        self.clock = ManualClock()
        self.progress: list[int] = []
        self.total_bytes = sum(frame.length_bytes for frame in frames)
        self.asked = 0

    async def proceed(self) -> None:
        self.asked += 1

    async def run(self, **options: int) -> FetchReport:
        return await fetch(
            open_store(self.server.url),
            self.frames,
            self.sink,
            **({"ceiling_bytes": self.total_bytes} | options),
            on_progress=self.progress.append,
            proceed=self.proceed,
            clock=self.clock,
        )

    def script(self, fault: Fault, *, nth: int = 1, times: int | None = None) -> None:
        self.server.script("packs/*", fault, nth=nth, times=times)

    @property
    def sent_bytes(self) -> int:
        return self.server.sent_bytes("packs/*")


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Frames of many sizes, 9 MiB in all."""
    dice = random.Random(7)
    sizes = [dice.randint(16, 5000) for _ in range(100)] + [CHUNK_MAX_BYTES + 16, 3 * MIB, 2 * MIB - 7]
    dice.shuffle(sizes)
    frames, digests, body = [], {}, bytearray(dice.randbytes(32))
    for number, size in enumerate(sizes):
        frame = PlannedFrame(pack=PACK, frame=number, offset=len(body), length_bytes=size, codec="raw", chunk=number)
        sealed = dice.randbytes(size)
        digests[frame] = hashlib.sha256(sealed).hexdigest()
        frames.append(frame)
        body += sealed
    file = tmp_path / pack_path(PACK)
    file.parent.mkdir(parents=True)
    file.write_bytes(body)
    with InstrumentedServer(tmp_path) as server:
        yield World(server, frames, Sink(digests))


async def test_fetches_everything_once(world: World) -> None:
    """All frames arrive, no byte is sent twice, small frames share requests, and progress adds up."""
    report = await world.run()
    assert world.sink.frames.keys() == set(world.frames)
    assert report.received_bytes == world.total_bytes == world.sent_bytes
    assert report.requests == len(world.server.requests("packs/*")) == world.asked < 10
    assert sum(world.progress) == world.total_bytes
    largest = max(request.sent_bytes for request in world.server.requests("packs/*"))
    assert largest <= CHUNK_MAX_BYTES + 64 * 1024


async def test_only_what_is_missing(world: World) -> None:
    """A second run fetches nothing; one with a hole fetches the hole."""
    await world.run()
    world.server.forget()
    world.progress.clear()
    assert await world.run(ceiling_bytes=0) == FetchReport(received_bytes=0, requests=0)
    assert world.progress == [world.total_bytes]
    hole = world.frames[3:6]
    for frame in hole:
        del world.sink.frames[frame]
    report = await world.run()
    assert report.received_bytes == sum(frame.length_bytes for frame in hole) == world.sent_bytes


async def test_goes_on_where_it_broke(world: World) -> None:
    """Connections that break at any point cost no byte twice; waiting is through the clock."""
    world.script(Cut(after_bytes=100_000), times=5)
    report = await world.run()
    assert world.sink.frames.keys() == set(world.frames)
    assert report.received_bytes == world.total_bytes
    assert world.clock.slept


async def test_gives_up(world: World) -> None:
    """A server that never gets anywhere is tried a bounded number of times with growing waits."""
    world.script(Status(503))
    with pytest.raises(TryLater) as caught:
        await world.run(connections=1)
    assert (caught.value.code, caught.value.params["status"]) == ("server-error", 503)
    assert world.clock.slept == [1, 2, 4, 8, 16]
    assert len(world.server.requests()) == fetching.ATTEMPTS


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Status(404), "object-missing"), (Status(403), "server-error"), (IgnoreRange(), "server-ignores-ranges")],
    ids=repr,
)
async def test_does_not_retry_what_waiting_cannot_help(world: World, fault: Fault, code: str) -> None:
    """Refusals end the fetch at once."""
    world.script(fault)
    with pytest.raises(ModelotaError) as caught:
        await world.run(connections=1)
    assert caught.value.code == code
    assert world.clock.slept == []


async def test_a_bad_frame_is_fetched_once_more(world: World) -> None:
    """A frame damaged on the way is asked for again alone; its neighbours are kept."""
    victim = next(frame for frame in world.frames if frame.length_bytes < 5000)
    world.script(Garble(victim.offset + 3), times=1)
    report = await world.run(ceiling_bytes=2 * world.total_bytes, connections=1)
    assert world.sink.bad == 1
    assert world.sink.frames.keys() == set(world.frames)
    assert report.received_bytes == world.total_bytes + victim.length_bytes


async def test_a_frame_bad_at_the_source(world: World) -> None:
    """A frame that is bad twice ends the fetch with the sink's refusal; what was good is kept."""
    victim = world.frames[-1]
    world.script(Garble(victim.offset))
    with pytest.raises(RefuseContent) as caught:
        await world.run(ceiling_bytes=3 * world.total_bytes, connections=1)
    assert (caught.value.code, caught.value.params["frame"]) == ("pack-tampered", victim.frame)
    assert world.sink.frames.keys() == set(world.frames[:-1])


async def test_ceiling_before_the_first_byte(world: World) -> None:
    """A plan that cannot stay below the ceiling asks a person before anything is sent."""
    with pytest.raises(AskPerson) as caught:
        await world.run(ceiling_bytes=world.total_bytes - 1)
    assert caught.value.code == "ceiling-exceeded"
    assert caught.value.params == {"ceiling_bytes": world.total_bytes - 1, "need_bytes": world.total_bytes}
    assert world.server.requests() == ()


async def test_ceiling_counts_repeated_bytes(world: World) -> None:
    """Fetching a bad frame again may not pass the ceiling: the request is not sent."""
    victim = world.frames[-1]
    world.script(Garble(victim.offset), times=100)
    with pytest.raises(AskPerson) as caught:
        await world.run(ceiling_bytes=world.total_bytes + victim.length_bytes - 1, connections=1)
    assert caught.value.code == "ceiling-exceeded"
    assert world.sent_bytes <= world.total_bytes


@pytest.mark.parametrize("connections", [1, 3])
async def test_connections_are_bounded(world: World, connections: int) -> None:
    """Never more requests are open than allowed."""
    active = most = 0
    store = open_store(world.server.url)
    read_into = store.aread_into

    async def counted(received: bytearray, path: str, offset: int, length_bytes: int, *told: object) -> None:
        nonlocal active, most
        active += 1
        most = max(most, active)
        await read_into(received, path, offset, length_bytes, *told)  # type: ignore[arg-type]
        active -= 1

    store.aread_into = counted  # type: ignore[method-assign]  # watched from outside
    await fetch(
        store,
        world.frames,
        world.sink,
        connections=connections,
        ceiling_bytes=world.total_bytes,
        on_progress=world.progress.append,
        proceed=world.proceed,
    )
    assert most == connections


async def test_cancelled_by_the_caller(world: World) -> None:
    """What `proceed` raises ends the fetch; nothing runs on, and what has arrived is kept."""

    async def proceed() -> None:
        await World.proceed(world)
        if world.asked == 3:
            raise AskPerson("cancelled-by-user", action="fetch")

    world.proceed = proceed  # type: ignore[method-assign]  # the caller's part
    with pytest.raises(AskPerson) as caught:
        await world.run(connections=1)
    assert caught.value.code == "cancelled-by-user"
    assert 0 < len(world.sink.frames) < len(world.frames)
    assert len(asyncio.all_tasks()) == 1


async def test_task_cancellation(world: World) -> None:
    """Cancelling the task ends requests in flight."""
    gate = asyncio.Event()

    async def proceed() -> None:
        gate.set()

    world.proceed = proceed  # type: ignore[method-assign]  # the caller's part
    world.script(Stall(after_bytes=10, until=threading.Event()))
    task = asyncio.create_task(world.run())
    await gate.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1


async def test_pausing(world: World) -> None:
    """While `proceed` does not return, nothing is asked for."""
    resume = asyncio.Event()
    waiting = asyncio.Event()

    async def proceed() -> None:
        waiting.set()
        await resume.wait()

    world.proceed = proceed  # type: ignore[method-assign]  # the caller's part
    task = asyncio.create_task(world.run())
    await waiting.wait()
    assert world.server.requests() == ()
    resume.set()
    report = await task
    assert report.received_bytes == world.total_bytes


@pytest.mark.parametrize("stop_at", range(1, 8))
async def test_bytes_fetched_twice_are_bounded(world: World, stop_at: int) -> None:
    """Stopped at any request and run again: at most what was in flight is sent twice."""
    connections = 3

    async def proceed() -> None:
        await World.proceed(world)
        if world.asked == stop_at:
            raise AskPerson("cancelled-by-user", action="fetch")

    world.proceed = proceed  # type: ignore[method-assign]  # the caller's part
    with contextlib.suppress(AskPerson):
        await world.run(connections=connections)
    world.asked = 100
    await world.run(connections=connections)
    assert world.sink.frames.keys() == set(world.frames)
    assert world.sent_bytes - world.total_bytes <= connections * (CHUNK_MAX_BYTES + 64 * 1024)


async def test_a_limited_rate_is_kept_on_average() -> None:
    """Requests take turns so that what was asked for before would have arrived at the limit, over all connections."""
    clock = ManualClock()
    pace = fetching.Pace(1000, clock)
    for _ in range(4):
        await pace.take(500)
    assert clock.slept == [0.5, 0.5, 0.5]
    clock.advance(seconds=60)
    await pace.take(500)
    assert len(clock.slept) == 3, "time that nothing was asked for in is no reason to wait"
