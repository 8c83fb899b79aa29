"""Anchors: what is kept of a deployed file so that its copies can be told later, when the file itself is gone.

For every file: its size, its BLAKE3 digest, the digest of its first 4 KiB, and 16 bytes for each 4 KiB block: a weak
key of the block's first 16 bytes, by which the block is looked for at any byte offset, and 12 bytes of its digest, by
which it is proven. Of a large file only every n-th block has an anchor, and each run of n blocks (a span) has a digest
of 16 bytes besides, so that a truncated copy is still proven completely. That is at most 4 MiB for a file of any size.

A block that repeats itself (zeros, padding) is common to many files: it gets no key, and is never looked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from modelota.content.digest import Octets, digest_bytes
from modelota.spec.limits import MIB

BLOCK_BYTES: Final = 4096
HEAD_BYTES: Final = 4096
SPANS_MAX: Final = 1 << 17  # of one file: every block of a file of 512 MiB
KEYED_BYTES: Final = 16  # of a block, from which its weak key is made
_ENTRY_BYTES: Final = 16
_DIGEST_BYTES: Final = 12
_SAMPLED: Final = 16  # words of a block that are compared with each other
_DISTINCT_MIN: Final = 8
_PIECE_BYTES: Final = 4 * MIB
_ENTRY: Final = np.dtype([("key", "<u4"), ("digest", "u1", (_DIGEST_BYTES,))])
_FACTORS: Final = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))  # odd, bits well mixed

Keys = NDArray[np.uint32]
Words = NDArray[np.uint64]


class Anchors(msgspec.Struct, frozen=True, kw_only=True):
    """What is kept of one file.

    Attributes:
        size_bytes: of the file.
        digest: BLAKE3 of the file, 64 hexadecimal digits.
        head: the first 16 bytes of the BLAKE3 digest of its first `HEAD_BYTES`.
        stride_blocks: blocks in a span; the first block of each span has an anchor.
        blocks: the anchors; then, where a span has several blocks, the digests of the whole spans.
    """

    size_bytes: int
    digest: str
    head: bytes
    stride_blocks: int
    blocks: bytes

    @property
    def span_bytes(self) -> int:
        """Bytes in a span."""
        return self.stride_blocks * BLOCK_BYTES

    @property
    def is_sound(self) -> bool:
        """Whether the lengths agree with each other; what was read from a file may say anything."""
        if self.size_bytes < 0 or self.stride_blocks != stride_of(self.size_bytes) or len(self.head) != _ENTRY_BYTES:
            return False
        spans = self.size_bytes // self.span_bytes if self.stride_blocks > 1 else 0
        return len(self.blocks) == _ENTRY_BYTES * (_anchored(self.size_bytes, self.stride_blocks) + spans)

    def entries(self) -> NDArray[np.void]:
        """The anchors as records of `key` (0 for a block that is not looked for) and `digest`, one for each span."""
        count = _anchored(self.size_bytes, self.stride_blocks)
        return np.frombuffer(self.blocks, dtype=_ENTRY, count=count)

    def proves(self, span: int, data: Octets) -> bool:
        """Whether `data`, of `span_bytes`, is the whole span number `span` of the file."""
        if len(data) != self.span_bytes or (span + 1) * self.span_bytes > self.size_bytes:
            return False
        if self.stride_blocks == 1:
            start = span * _ENTRY_BYTES
            return self.blocks[start + 4 : start + _ENTRY_BYTES] == block_digest(data)
        start = (_anchored(self.size_bytes, self.stride_blocks) + span) * _ENTRY_BYTES
        return self.blocks[start : start + _ENTRY_BYTES] == head_digest(data)


def stride_of(size_bytes: int) -> int:
    """Blocks in a span of a file of this size: 1 up to 512 MiB."""
    blocks = -(-size_bytes // BLOCK_BYTES)
    return max(1, -(-blocks // SPANS_MAX))


def _anchored(size_bytes: int, stride: int) -> int:
    """How many blocks have an anchor: the first of each span, where it is whole."""
    blocks = size_bytes // BLOCK_BYTES
    return -(-blocks // stride)


def block_digest(block: Octets) -> bytes:
    """The 12 bytes by which a block is proven."""
    return blake3(block).digest(length=_DIGEST_BYTES)


def head_digest(head: Octets) -> bytes:
    """The 16 bytes by which a head, or a span, is told."""
    return blake3(head).digest(length=_ENTRY_BYTES)


def keys_at(words: Words, following: Words) -> Keys:
    """Weak keys of places from their first eight bytes and the eight after; never 0.

    Args:
        words: little-endian, one for each place.
        following: of the same shape.
    """
    mixed = words * _FACTORS[0] + following * _FACTORS[1]
    keys = (mixed >> np.uint64(32)).astype(np.uint32)
    return np.maximum(keys, np.uint32(1))


class AnchorMaker:
    """Makes the anchors of a file while its bytes stream by.

    Memory: one span and the result, whatever the file's size. One thread; not to be shared.

    Args:
        size_bytes: of the whole file.
    """

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        self._stride = stride_of(size_bytes)
        self._span_bytes = self._stride * BLOCK_BYTES
        self._carry = bytearray()
        self._head = bytearray()
        self._anchors = bytearray()
        self._spans = bytearray()
        self._fed_bytes = 0

    def update(self, data: Octets) -> None:
        """Feed the next piece."""
        view = memoryview(data).cast("B")
        self._fed_bytes += view.nbytes
        if len(self._head) < HEAD_BYTES:
            self._head += view[: HEAD_BYTES - len(self._head)]
        if self._carry:
            taken = min(self._span_bytes - len(self._carry), view.nbytes)
            self._carry += view[:taken]
            view = view[taken:]
            if len(self._carry) < self._span_bytes:
                return
            self._take(memoryview(bytes(self._carry)))
            self._carry.clear()
        whole = view.nbytes // self._span_bytes * self._span_bytes
        run_bytes = max(1, _PIECE_BYTES // self._span_bytes) * self._span_bytes
        for start in range(0, whole, run_bytes):
            self._take(view[start : min(start + run_bytes, whole)])
        self._carry += view[whole:]

    def _take(self, spans: memoryview) -> None:
        """Add the anchors of whole spans."""
        firsts = [spans[start : start + BLOCK_BYTES] for start in range(0, spans.nbytes, self._span_bytes)]
        self._anchors += _entries(firsts)
        if self._stride > 1:
            for start in range(0, spans.nbytes, self._span_bytes):
                self._spans += head_digest(spans[start : start + self._span_bytes])

    def finish(self, digest: str) -> Anchors:
        """The anchors of the file, whose digest the caller has.

        Raises:
            ValueError: another number of bytes was fed than announced.
        """
        if self._fed_bytes != self._size_bytes:
            raise ValueError(f"{self._fed_bytes} bytes were fed, {self._size_bytes} announced")
        anchors = bytes(self._anchors)
        if len(self._carry) >= BLOCK_BYTES:
            anchors += _entries([memoryview(bytes(self._carry[:BLOCK_BYTES]))])
        return Anchors(
            size_bytes=self._size_bytes,
            digest=digest,
            head=head_digest(bytes(self._head)),
            stride_blocks=self._stride,
            blocks=anchors + bytes(self._spans),
        )


def _entries(blocks: Sequence[memoryview]) -> bytes:
    entries = np.zeros(len(blocks), dtype=_ENTRY)
    words = np.frombuffer(b"".join(blocks), dtype="<u8").reshape(len(blocks), -1)
    sampled = np.sort(words[:, :: words.shape[1] // _SAMPLED], axis=1)
    distinct = 1 + (sampled[:, 1:] != sampled[:, :-1]).sum(axis=1)
    entries["key"] = np.where(distinct >= _DISTINCT_MIN, keys_at(words[:, 0], words[:, 1]), np.uint32(0))
    digests = b"".join(block_digest(block) for block in blocks)
    entries["digest"] = np.frombuffer(digests, dtype="u1").reshape(len(blocks), _DIGEST_BYTES)
    return entries.tobytes()


def anchors_of(data: Octets) -> Anchors:
    """The anchors of a file that is in memory."""
    maker = AnchorMaker(len(data))
    maker.update(data)
    return maker.finish(digest_bytes(data))
