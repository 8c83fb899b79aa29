"""`modelota.content.chunking`."""

from __future__ import annotations

import io
from itertools import accumulate, count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import chunking
from modelota.errors import OurBug
from modelota.spec.limits import CHUNK_MAX_BYTES, MIB


@given(st.binary(max_size=100), st.lists(st.integers(0, 120)).map(sorted), st.integers(1, 30))
def test_chunks_rejoin_and_respect_boundaries(data: bytes, boundaries: list[int], limit_bytes: int) -> None:
    """Chunks give the stream, none is empty or too long, every boundary is an edge, and no other cut is early."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "CHUNK_MAX_BYTES", limit_bytes)
        chunks = list(chunking.cut(io.BytesIO(data), boundaries))
    assert b"".join(chunks) == data
    assert all(1 <= len(chunk) <= limit_bytes for chunk in chunks)
    edges = list(accumulate(map(len, chunks)))
    assert {boundary for boundary in boundaries if 0 < boundary < len(data)} <= set(edges)
    for edge, chunk in zip(edges, chunks, strict=True):
        assert len(chunk) == limit_bytes or edge in {*boundaries, len(data)}


def test_fixed_size_without_boundaries() -> None:
    """Without a format's boundaries every chunk but the last is of the largest size."""
    sizes = [len(chunk) for chunk in chunking.cut(io.BytesIO(bytes(2 * CHUNK_MAX_BYTES + 5)))]
    assert sizes == [CHUNK_MAX_BYTES, CHUNK_MAX_BYTES, 5]
    assert list(chunking.cut(io.BytesIO())) == []


def test_short_reads(trickle: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that gives a few bytes at a time is cut as if it gave all at once."""
    monkeypatch.setattr(chunking, "CHUNK_MAX_BYTES", 10)
    assert list(chunking.cut(trickle(b"0123456789abcdef"), [4])) == [b"0123", b"456789abcd", b"ef"]


def test_starts_where_the_stream_stands() -> None:
    """What was read before is not part of the chunks."""
    stream = io.BytesIO(b"header body")
    stream.seek(7)
    assert list(chunking.cut(stream, [2])) == [b"bo", b"dy"]


def test_boundaries_are_consumed_lazily(monkeypatch: pytest.MonkeyPatch) -> None:
    """An endless series of boundaries does no harm."""
    monkeypatch.setattr(chunking, "CHUNK_MAX_BYTES", 10)
    assert list(chunking.cut(io.BytesIO(b"01234567"), count(3, 3))) == [b"012", b"345", b"67"]


def test_descending_boundaries() -> None:
    """A format that yields boundaries out of order has a bug, and hears of it."""
    with pytest.raises(OurBug):
        list(chunking.cut(io.BytesIO(b"0123456789"), [5, 3, 8]))


def test_bounded_memory(zeros: Any, peak_below: Any) -> None:
    """A stream of 128 MiB is cut in the memory of about two chunks."""
    with peak_below(2 * CHUNK_MAX_BYTES + MIB):
        total = sum(len(chunk) for chunk in chunking.cut(zeros(128 * MIB)))
    assert total == 128 * MIB
