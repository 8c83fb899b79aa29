"""Recognition: which of the known files a piece of content comes from, whatever its name, place or byte offset."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import numpy as np

from modelota.content.anchors import BLOCK_BYTES, KEYED_BYTES, Anchors, block_digest, keys_at

ENTRIES_MAX: Final = 1 << 20  # in one index: 24 MiB; of more, every n-th is kept
_FILTER_BITS: Final = 22
_WINDOW_MAX_BYTES: Final = 4 << 20

Read = Callable[[int, int], bytes]  # offset, length; short at the end of the file


class Hit(NamedTuple):
    """A block of a known file at some place of the content looked at.

    Attributes:
        source: number of the known file, in the order of the index's input.
        at: offset in the content.
        source_offset: offset in the known file.
    """

    source: int
    at: int
    source_offset: int


class BlockIndex:
    """Finds blocks of known files at any byte offset.

    Memory: 24 bytes for each of at most `ENTRIES_MAX` anchors, and 4 MiB.

    Args:
        sources: anchors of the known files; each is read once and not kept.
        count: how many anchors they hold together.
    """

    def __init__(self, sources: Iterable[Anchors], count: int) -> None:
        thin = max(1, -(-count // ENTRIES_MAX))
        keys, checks, owners, offsets = [], [], [], []
        self.window_bytes = 2 * BLOCK_BYTES
        for number, anchors in enumerate(sources):
            entries = anchors.entries()[::thin]
            chosen = np.flatnonzero(entries["key"])
            keys.append(entries["key"][chosen])
            checks.append(np.ascontiguousarray(entries["digest"][chosen, :8]).view("<u8").ravel())
            owners.append(np.full(len(chosen), number, dtype=np.uint32))
            offsets.append(chosen.astype(np.uint64) * np.uint64(thin * anchors.span_bytes))
            # a run of this length has the start of an anchored block in it, wherever it was cut out
            self.window_bytes = max(self.window_bytes, thin * anchors.span_bytes + BLOCK_BYTES)
        self.window_bytes = min(self.window_bytes, _WINDOW_MAX_BYTES)
        all_keys = np.concatenate(keys) if keys else np.empty(0, np.uint32)
        order = np.argsort(all_keys, kind="stable")
        self._keys = all_keys[order]
        self._checks = (np.concatenate(checks) if checks else np.empty(0, np.uint64))[order]
        self._owners = (np.concatenate(owners) if owners else np.empty(0, np.uint32))[order]
        self._offsets = (np.concatenate(offsets) if offsets else np.empty(0, np.uint64))[order]
        self._filter = np.zeros(1 << _FILTER_BITS, dtype=np.bool_)
        self._filter[self._keys >> np.uint32(32 - _FILTER_BITS)] = True

    def __len__(self) -> int:
        return len(self._keys)

    def search(self, window: bytes, at: int) -> Hit | None:
        """The first block of a known file that begins in `window`, which lies at offset `at` of the content."""
        places = len(window) - BLOCK_BYTES + 1
        if places < 1 or not len(self._keys):
            return None
        words = _words_everywhere(window, places + KEYED_BYTES // 2)
        keys = keys_at(words[:places], words[8 : places + 8])
        for place in np.flatnonzero(self._filter[keys >> np.uint32(32 - _FILTER_BITS)]):
            hit = self._at(keys[place], window[place : place + BLOCK_BYTES], at + int(place))
            if hit is not None:
                return hit
        return None

    def _at(self, key: np.uint32, block: bytes, at: int) -> Hit | None:
        first, last = np.searchsorted(self._keys, key, "left"), np.searchsorted(self._keys, key, "right")
        if first == last:
            return None
        check = np.frombuffer(block_digest(block), dtype="<u8", count=1)[0]
        for number in first + np.flatnonzero(self._checks[first:last] == check):
            return Hit(int(self._owners[number]), at, int(self._offsets[number]))
        return None


def _words_everywhere(window: bytes, count: int) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    """The little-endian word of eight bytes at each of the first `count` offsets."""
    padded = window + bytes(8)
    words = np.empty(count + 8, dtype=np.uint64)
    for shift in range(8):
        part = np.frombuffer(padded, dtype="<u8", offset=shift, count=(len(padded) - shift) // 8)
        taken = words[shift::8]
        length = min(len(part), len(taken))
        taken[:length] = part[:length]
        taken[length:] = 0
    return words[:count]


def proven_prefix(anchors: Anchors, size_bytes: int, read: Read) -> int:
    """How many of the first bytes of a file are proven to be those of a known file: whole spans, in order.

    Args:
        anchors: of the known file.
        size_bytes: of the file looked at; less than the known file's.
        read: reads it.
    """
    span, span_bytes = 0, anchors.span_bytes
    run = max(1, (1 << 20) // span_bytes)
    while (span + 1) * span_bytes <= size_bytes:
        data = memoryview(read(span * span_bytes, run * span_bytes))
        for start in range(0, len(data) - span_bytes + 1, span_bytes):
            if (span + 1) * span_bytes > size_bytes:
                break
            if not anchors.proves(span, data[start : start + span_bytes]):
                return span * span_bytes
            span += 1
        if len(data) < span_bytes:
            break
    return span * span_bytes


def look_inside(index: BlockIndex, size_bytes: int, read: Read, *, probes: int) -> list[Hit]:
    """Look at `probes` places spread over a file; those in which a block of a known file begins.

    Stops after the first quarter when nothing was found there, so that foreign files cost little.
    """
    found: list[Hit] = []
    window = min(index.window_bytes, size_bytes)
    room = size_bytes - window
    order = sorted(range(probes), key=lambda number: (number % 4 != 1, number))  # every fourth place first
    for done, number in enumerate(order):
        if done >= -(-probes // 4) and not found:
            break
        at = room * (2 * number + 1) // (2 * probes)
        hit = index.search(read(at, window), at)
        if hit is not None:
            found.append(hit)
    return found
