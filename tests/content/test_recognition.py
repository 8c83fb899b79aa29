"""Recognition: which known file a piece of content comes from, at any byte offset."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import anchors as anchors_module
from modelota.content import recognition
from modelota.content.anchors import BLOCK_BYTES, anchors_of
from modelota.content.recognition import BlockIndex, Read, look_inside, proven_prefix

FILES = [random.Random(seed).randbytes(size * BLOCK_BYTES + 100) for seed, size in ((1, 300), (2, 200))]
INDEX = BlockIndex((anchors_of(data) for data in FILES), 500)


def reader(data: bytes) -> Read:
    """Reads from memory."""
    return lambda offset, length: data[offset : offset + length]


@given(st.integers(0, 1), st.integers(0, 100 * BLOCK_BYTES), st.integers(0, 600))
def test_a_part_is_found_wherever_it_was_cut_and_put(number: int, start: int, before: int) -> None:
    """Every window that lies in a part of ours has a hit, at the right offset of the right file."""
    data = bytes(before) + FILES[number][start : start + 80 * BLOCK_BYTES]
    hits = look_inside(INDEX, len(data), reader(data), probes=16)
    assert len(hits) >= 15
    assert {(hit.source, hit.source_offset - hit.at) for hit in hits} == {(number, start - before)}


def test_foreign_content_has_no_hit() -> None:
    """Random content, zeros, text, and content too short for a block are nobody's."""
    for data in (random.Random(3).randbytes(1 << 20), bytes(1 << 20), b"model " * 100_000, b"", FILES[0][:100]):
        assert look_inside(INDEX, len(data), reader(data), probes=16) == []


def test_a_foreign_file_costs_a_quarter_of_the_probes() -> None:
    """Most files are foreign, so they are given up early."""
    data, reads = random.Random(3).randbytes(1 << 20), []

    def counting(offset: int, length: int) -> bytes:
        reads.append(offset)
        return data[offset : offset + length]

    look_inside(INDEX, len(data), counting, probes=16)
    assert len(reads) == 4


def test_large_files_and_many_files_are_found_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stride, and with a thinned index, the windows are long enough for every cut."""
    monkeypatch.setattr(anchors_module, "SPANS_MAX", 60)
    monkeypatch.setattr(recognition, "ENTRIES_MAX", 50)
    made = [anchors_of(data) for data in FILES]
    index = BlockIndex(iter(made), sum(len(each.entries()) for each in made))
    assert len(index) <= 50
    for start in (12_345, 40 * BLOCK_BYTES + 1):
        data = FILES[0][start : start + 180 * BLOCK_BYTES]
        hits = look_inside(index, len(data), reader(data), probes=8)
        assert len(hits) >= 7
        assert {hit.source_offset - hit.at for hit in hits} == {start}


@pytest.mark.parametrize(
    ("kept", "tail", "proven"),
    [
        (10 * BLOCK_BYTES, b"", 10),
        (10 * BLOCK_BYTES + 9, b"", 10),
        (10 * BLOCK_BYTES, b"x" * BLOCK_BYTES, 10),
        (5, b"", 0),
    ],
)
def test_a_prefix_is_proven_block_by_block(kept: int, tail: bytes, proven: int) -> None:
    """Whole blocks from the start are proven, up to the first that differs."""
    data = FILES[0][:kept] + tail
    assert proven_prefix(anchors_of(FILES[0]), len(data), reader(data)) == proven * BLOCK_BYTES


def test_a_file_that_shrinks_while_it_is_read_ends_the_proof() -> None:
    """A short read is no endless loop."""
    assert proven_prefix(anchors_of(FILES[0]), 20 * BLOCK_BYTES, reader(FILES[0][: 3 * BLOCK_BYTES])) == 3 * BLOCK_BYTES


def test_an_empty_index_finds_nothing() -> None:
    """Before anything was deployed there is nothing to find."""
    index = BlockIndex(iter(()), 0)
    assert len(index) == 0
    assert index.search(FILES[0][: 2 * BLOCK_BYTES], 0) is None
