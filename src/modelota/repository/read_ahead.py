"""Sealed frames in the order of their use: neighbours in one request, and the next requests while these are used.

A chunk by itself is a request by itself, and an object store takes tens of milliseconds to answer one: most of the
time that a comparison with a release of thousands of chunks would take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Final

from modelota.delivery import paths
from modelota.delivery.objects import ObjectStore
from modelota.delivery.planner import Range, coalesce
from modelota.spec.limits import KIB, MIB
from modelota.spec.offer import PlannedFrame

RANGE_MAX_BYTES: Final = 16 * MIB  # of one request; there are `REQUESTS_MAX` and the one in use in memory
GAP_MAX_BYTES: Final = 256 * KIB  # unwanted bytes that are read because another request would take longer
REQUESTS_MAX: Final = 2  # in flight


def read_ahead(store: ObjectStore, frames: Sequence[PlannedFrame]) -> Generator[memoryview]:
    """The sealed bytes of each frame, in order. To be closed by whoever does not read it to its end.

    Holds at most `REQUESTS_MAX` + 1 ranges of `RANGE_MAX_BYTES` in memory.

    Args:
        store: the repository.
        frames: best in the order in which they lie in their packs.

    Raises:
        RefuseContent, TryLater, AskPerson: as `ObjectStore.get_range`, when the frames before were taken.
    """
    ranges = iter(coalesce(frames, RANGE_MAX_BYTES, GAP_MAX_BYTES))
    coming: deque[tuple[Range, Future[bytes]]] = deque()
    with ThreadPoolExecutor(REQUESTS_MAX, thread_name_prefix="read-ahead") as pool:

        def ask(count: int) -> None:
            for span in islice(ranges, count):
                answer = pool.submit(store.get_range, paths.pack_path(span.pack), span.offset, span.length_bytes)
                coming.append((span, answer))

        try:
            ask(REQUESTS_MAX)
            while coming:
                span, answer = coming.popleft()
                data = memoryview(answer.result())
                ask(1)
                for frame in span.frames:
                    start = frame.offset - span.offset
                    yield data[start : start + frame.length_bytes]
        finally:
            for _, answer in coming:
                answer.cancel()
