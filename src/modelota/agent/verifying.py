"""Read installed versions and say what of them is damaged; in the background at a pace that disturbs nobody."""

from __future__ import annotations

import time
from collections.abc import Callable

from modelota.agent.holdings import Holdings
from modelota.agent.journal import Journal
from modelota.spec.api_life import DamagedFile, SlotCheck
from modelota.spec.manifest import Manifest
from modelota.spec.slot import SlotId


class ReadingPace:
    """Keeps reading below a rate, on average since it began.

    Args:
        bytes_per_s: the rate.
        now: a monotonic clock, in seconds.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        bytes_per_s: int,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._now = now
        self._sleep = sleep
        self._began = now()
        self._read_bytes = 0

    def read(self, size_bytes: int) -> None:
        """So much was read: wait until that was not too fast."""
        self._read_bytes += size_bytes
        ahead_s = self._read_bytes / self._bytes_per_s - (self._now() - self._began)
        if ahead_s > 0:
            self._sleep(ahead_s)


def verify_slots(
    holdings: Holdings,
    journal: Journal,
    manifest_of: Callable[[str], Manifest],
    model: str,
    pace: ReadingPace | None = None,
) -> tuple[SlotCheck, ...]:
    """Read every chunk of every installed version, and note which are damaged nowhere whole.

    A version that is removed meanwhile, reading takes long, is not a damaged one.

    Args:
        holdings: the slots and their chunks.
        journal: where damage is noted.
        manifest_of: gives a pinned manifest by its digest.
        model: which.
        pace: None reads as fast as it goes.

    Returns:
        One check per slot that is there at the end; it says what is damaged in that slot, whether or not another slot
        can mend it.
    """
    checks: dict[SlotId, SlotCheck] = {}
    whole: set[str] = set()
    unread: dict[SlotId, set[str]] = {}
    for slot in holdings.slots(model):
        manifest = manifest_of(slot.manifest_digest)
        variant = manifest.variant(slot.slot.variant)
        alone = holdings.sources_of(model, [slot])
        damaged, unread[slot.slot] = [], set()
        for file in variant.files:
            bad_bytes = bad_chunks = 0
            for index in file.chunks:
                chunk = manifest.chunks[index]
                if alone.read(chunk.digest) is not None:
                    whole.add(chunk.digest)
                else:
                    unread[slot.slot].add(chunk.digest)
                    bad_chunks += 1
                    bad_bytes += chunk.size_bytes
                if pace is not None:
                    pace.read(chunk.size_bytes)
            if bad_chunks:
                damaged.append(DamagedFile(path=file.path, chunks=bad_chunks, damaged_bytes=bad_bytes))
        checks[slot.slot] = SlotCheck(
            version=slot.slot.version,
            variant=slot.slot.variant,
            checked_bytes=variant.size_bytes,
            damaged=tuple(damaged),
        )
    installed = holdings.slots(model)
    left = [slot.slot for slot in installed if slot.slot in checks]
    doubtful = set[str]().union(*(unread[slot] for slot in left))
    lost = holdings.sources_of(model, installed, kept=holdings.kept_if_any(model)).damaged(doubtful)
    journal.note_whole(model, (whole | doubtful) - lost)
    journal.note_damaged(model, lost)
    return tuple(checks[slot] for slot in left)
