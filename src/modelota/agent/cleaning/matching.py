"""Telling by its content whether a file is a copy of something that was deployed: whole, truncated, or a part."""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Final, Literal, NamedTuple

from modelota.agent.cleaning.knowledge import Knowledge
from modelota.agent.cleaning.reach import digest_of_open
from modelota.content.anchors import HEAD_BYTES, head_digest
from modelota.content.recognition import BlockIndex, Read, look_inside, proven_prefix
from modelota.spec.limits import KIB, MIB

PROBES: Final = 16
SLICE_SHARE: Final = 4  # of the places looked at, one in this many must hold a block of ours
_COMPARED_BYTES: Final = MIB

Kind = Literal["whole copy", "truncated copy", "slice"]


class Match(NamedTuple):
    """What a file was found to be.

    Attributes:
        kind: a whole copy, a truncated one, or something with a part of ours in it.
        file: number of the deployed file.
        proven_bytes: how many of its bytes are proven by anchors; from its start, but for a slice.
        matched: of a slice, in how many of `PROBES` places a block of ours lay.
        digest: BLAKE3 of the file looked at; None for a slice, which may be very large.
    """

    kind: Kind
    file: int
    proven_bytes: int
    matched: int = 0
    digest: str | None = None


class Matcher:
    """Tells copies of deployed files.

    Memory: the block index (at most 28 MiB) and the anchors of two files.

    Args:
        knowledge: what was deployed.

    Attributes:
        main: numbers of the files whose content alone tells whose they are.
        smallest_bytes: a smaller file is no copy of anything, unless its size is that of a deployed file.
    """

    def __init__(self, knowledge: Knowledge) -> None:
        self._files = knowledge.files
        self.main = knowledge.main_files()
        self._load = lru_cache(maxsize=2)(knowledge.load)
        self._sizes: dict[int, list[int]] = {}
        self._heads: dict[bytes, list[int]] = {}
        seen: set[str] = set()
        self._distinct: list[int] = []
        for number, file in enumerate(self._files):
            if file.digest in seen or not file.size_bytes:
                continue  # the same content under another version's name: one of them is enough
            seen.add(file.digest)
            self._sizes.setdefault(file.size_bytes, []).append(number)
            self._heads.setdefault(file.head, []).append(number)
            if number in self.main:
                self._distinct.append(number)
        main_sizes = [self._files[number].size_bytes for number in self._distinct]
        least = min(main_sizes, default=0)
        self.smallest_bytes = min(max(least // 64, 4 * KIB), 64 * KIB) if main_sizes else 1 << 62
        self._slice_bytes = min(max(least // 16, 16 * KIB), MIB) if main_sizes else 1 << 62
        counts = sum(-(-file.size_bytes // (file.stride_blocks * 4 * KIB)) for file in self._files)
        self._index = BlockIndex((self._load(number) for number in self._distinct), counts)

    def wants(self, size_bytes: int) -> bool:
        """Whether a file of this size may be a copy."""
        return size_bytes >= self.smallest_bytes or size_bytes in self._sizes

    def match(self, descriptor: int, size_bytes: int) -> Match | None:
        """What the open file of `size_bytes` is; None when nothing of ours is found in it.

        Raises:
            OSError: it cannot be read.
        """
        head = os.pread(descriptor, HEAD_BYTES, 0)
        numbers = self._heads.get(head_digest(head), [])
        same_size = [number for number in numbers if self._files[number].size_bytes == size_bytes]
        if same_size:
            digest = digest_of_open(descriptor)
            for number in same_size:
                if self._files[number].digest == digest:
                    return Match("whole copy", number, size_bytes, digest=digest)
        for number in numbers:
            if number in self.main and self.smallest_bytes <= size_bytes < self._files[number].size_bytes:
                match = self._truncated(number, descriptor, size_bytes)
                if match is not None:
                    return match
        return self._slice(descriptor, size_bytes) if size_bytes >= self._slice_bytes else None

    def _truncated(self, number: int, descriptor: int, size_bytes: int) -> Match | None:
        anchors = self._load(number)
        proven = proven_prefix(anchors, size_bytes, _reader(descriptor))
        if not proven or size_bytes - proven >= anchors.span_bytes:
            return None
        return Match("truncated copy", number, proven, digest=digest_of_open(descriptor))

    def _slice(self, descriptor: int, size_bytes: int) -> Match | None:
        hits = look_inside(self._index, size_bytes, _reader(descriptor), probes=PROBES)
        if len(hits) * SLICE_SHARE < PROBES:
            return None
        return Match("slice", self._distinct[hits[0].source], 0, matched=len(hits))


def same_bytes(one: int, other: int, start: int, end: int) -> bool:
    """Whether two open files have the same bytes from `start` to `end`.

    Raises:
        OSError: one of them cannot be read.
    """
    while start < end:
        length = min(_COMPARED_BYTES, end - start)
        first = os.pread(one, length, start)
        if not first or first != os.pread(other, len(first), start):
            return False
        start += len(first)
    return True


def _reader(descriptor: int) -> Read:
    def read(offset: int, length: int) -> bytes:
        """Up to `length` bytes; pread(2) may give fewer before the end."""
        data = os.pread(descriptor, length, offset)
        while 0 < len(data) < length and (more := os.pread(descriptor, length - len(data), offset + len(data))):
            data += more
        return data

    return read
