"""Fetch the frames of a plan: bounded in memory, in bytes and in patience.

What has arrived is never asked for again: frames that the sink has are skipped, and a broken request goes on from the
byte where it broke. The ceiling is hard: a request that could pass it is not sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import msgspec

from modelota.clock import Clock, SystemClock
from modelota.delivery.objects import ObjectStore
from modelota.delivery.paths import pack_path
from modelota.delivery.planner import Range, coalesce
from modelota.errors import AskPerson, RefuseContent, TryLater
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB
from modelota.spec.offer import PlannedFrame

REQUEST_MAX_BYTES: Final = CHUNK_MAX_BYTES  # of small frames asked for together; one sealed frame may be a little more
ATTEMPTS: Final = 6  # of one request without getting anywhere
_PROGRESS_BYTES: Final = 64 * KIB  # an attempt that brought so much was worth it and is not counted
_BACKOFF_FIRST_S: Final = 1.0
_BACKOFF_MAX_S: Final = 30.0
_PASSING_STATUS: Final = frozenset({408, 425, 429})  # and every 5xx


class FrameSink(Protocol):
    """Where frames go. Called on the event loop's thread, one call at a time."""

    def has(self, frame: PlannedFrame) -> bool:
        """Whether the frame is there, whole and durable."""
        ...

    def put(self, frame: PlannedFrame, sealed: bytes) -> None:
        """Verify the sealed frame and make it durable.

        Raises:
            RefuseContent: the frame is bad; it is fetched once more.
        """
        ...


class FetchReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a fetch cost.

    Attributes:
        received_bytes: payload received, repeated parts included.
        requests: how many were sent.
    """

    received_bytes: int
    requests: int


async def fetch(
    store: ObjectStore,
    frames: Sequence[PlannedFrame],
    sink: FrameSink,
    *,
    connections: int = 4,
    ceiling_bytes: int,
    on_progress: Callable[[int], None],
    proceed: Callable[[], Awaitable[None]],
    clock: Clock | None = None,
    on_received: Callable[[int], None] = lambda _: None,
    max_bytes_per_s: int = 0,
) -> FetchReport:
    """Fetch all `frames` that `sink` lacks.

    Args:
        store: the repository.
        frames: of a plan, in reading order.
        sink: takes each frame as soon as it is complete.
        connections: the most requests in flight; memory is at most this times one request (4 MiB).
        ceiling_bytes: the most payload bytes that this call may receive, repeated ones included.
        on_progress: told the sealed bytes of each frame once the sink has it; first of those it had already. The sum of
            all calls ends at the sum of the frames' lengths.
        proceed: awaited before each request. Pausing is not returning from it, cancelling is raising from it.
        clock: for waiting between attempts.
        on_received: told payload bytes as they arrive, repeated ones included.
        max_bytes_per_s: of all connections together, on average over a few seconds; 0: as fast as it goes.

    Raises:
        AskPerson: `ceiling-exceeded`, before the request that could pass it.
        TryLater: as `ObjectStore`, after `ATTEMPTS` fruitless attempts with growing waits.
        RefuseContent: as `ObjectStore`, or what `sink.put` raised twice for one frame.
    """
    missing = [frame for frame in frames if not sink.has(frame)]
    present_bytes = sum(frame.length_bytes for frame in frames) - sum(frame.length_bytes for frame in missing)
    if present_bytes:
        on_progress(present_bytes)
    clock = clock or SystemClock()
    pace = Pace(max_bytes_per_s, clock) if max_bytes_per_s else None
    run = _Run(store, sink, ceiling_bytes, on_progress, on_received, proceed, clock, pace)
    request_bytes = min(REQUEST_MAX_BYTES, max(max_bytes_per_s, _PROGRESS_BYTES)) if pace else REQUEST_MAX_BYTES
    ranges = deque(coalesce(missing, request_bytes, max_gap_bytes=0))
    run.check_room(sum(one.length_bytes for one in ranges))

    async def work() -> None:
        while ranges:
            await run.obtain(ranges.popleft())

    workers = [asyncio.create_task(work()) for _ in range(max(1, min(connections, len(ranges))))]
    try:
        await asyncio.gather(*workers)
    finally:
        # The first error, or the caller's cancellation, ends everybody; nothing of ours runs on after this returns.
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return FetchReport(received_bytes=run.received_bytes, requests=run.requests)


class Pace:
    """Keeps requests below a rate: each waits until what was asked for before would have arrived at that rate.

    Args:
        bytes_per_s: the rate.
        clock: the time.
    """

    def __init__(self, bytes_per_s: int, clock: Clock) -> None:
        self._bytes_per_s = bytes_per_s
        self._clock = clock
        self._free_at = clock.monotonic()

    async def take(self, size_bytes: int) -> None:
        """Wait for the turn of a request of `size_bytes`."""
        now = self._clock.monotonic()
        turn = max(now, self._free_at)
        self._free_at = turn + size_bytes / self._bytes_per_s
        if turn > now:
            await self._clock.sleep(turn - now)


class _Run:
    """One call of `fetch`: its budget and its counts."""

    def __init__(
        self,
        store: ObjectStore,
        sink: FrameSink,
        ceiling_bytes: int,
        on_progress: Callable[[int], None],
        on_received: Callable[[int], None],
        proceed: Callable[[], Awaitable[None]],
        clock: Clock,
        pace: Pace | None,
    ) -> None:
        self._pace = pace
        self._store = store
        self._sink = sink
        self._ceiling_bytes = ceiling_bytes
        self._on_progress = on_progress
        self._on_received = on_received
        self._proceed = proceed
        self._clock = clock
        self._reserved_bytes = 0  # asked for and not yet received
        self.received_bytes = 0
        self.requests = 0

    def check_room(self, length_bytes: int) -> None:
        need_bytes = self.received_bytes + self._reserved_bytes + length_bytes
        if need_bytes > self._ceiling_bytes:
            raise AskPerson("ceiling-exceeded", ceiling_bytes=self._ceiling_bytes, need_bytes=need_bytes)

    async def obtain(self, wanted: Range) -> None:
        place = self._store.preferred
        body = await self._read(wanted)
        for frame in wanted.frames:
            start = frame.offset - wanted.offset
            sealed = bytes(memoryview(body)[start : start + frame.length_bytes])
            try:
                self._sink.put(frame, sealed)
            except RefuseContent:
                # Damaged on the way, or at the source? Asking once more tells, elsewhere if there is another place.
                self._store.distrust(place)
                again = await self._read(coalesce([frame], frame.length_bytes, 0)[0])
                self._sink.put(frame, bytes(again))
            self._on_progress(frame.length_bytes)

    async def _read(self, wanted: Range) -> bytearray:
        body = bytearray()
        fruitless = 0
        while True:
            await self._proceed()
            before = len(body)
            try:
                await self._request(wanted, body)
            except TryLater as error:
                gained = len(body) - before
                fruitless = 0 if gained >= _PROGRESS_BYTES else fruitless + 1
                if fruitless >= ATTEMPTS or not _passing(error):
                    raise
                await self._clock.sleep(min(_BACKOFF_FIRST_S * 2 ** max(fruitless - 1, 0), _BACKOFF_MAX_S))
            else:
                return body

    async def _request(self, wanted: Range, body: bytearray) -> None:
        before = len(body)
        rest_bytes = wanted.length_bytes - before
        if self._pace is not None:
            await self._pace.take(rest_bytes)
        self.check_room(rest_bytes)
        self._reserved_bytes += rest_bytes
        self.requests += 1
        try:
            path = pack_path(wanted.pack)
            await self._store.aread_into(body, path, wanted.offset + before, rest_bytes, self._on_received)
        finally:
            self._reserved_bytes -= rest_bytes
            self.received_bytes += len(body) - before


def _passing(error: TryLater) -> bool:
    """Whether waiting a few seconds may help."""
    if error.code in {"network-unreachable", "network-interrupted"}:
        return True
    status = error.params.get("status")
    return error.code == "server-error" and isinstance(status, int) and (status >= 500 or status in _PASSING_STATUS)
