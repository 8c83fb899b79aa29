"""Anchors: what is kept of a file, however its bytes stream by, and what that proves."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import anchors as module
from modelota.content.anchors import BLOCK_BYTES, AnchorMaker, anchors_of
from modelota.content.digest import digest_bytes

DATA = random.Random(1).randbytes(40 * BLOCK_BYTES + 77)


@pytest.fixture
def striding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than eight blocks are large."""
    monkeypatch.setattr(module, "SPANS_MAX", 8)


@given(st.lists(st.integers(min_value=0, max_value=3 * BLOCK_BYTES), max_size=60))
def test_the_pieces_do_not_matter(sizes: list[int]) -> None:
    """Fed in any pieces, a file has the same anchors."""
    maker, at = AnchorMaker(len(DATA)), 0
    for size in sizes:
        maker.update(DATA[at : at + size])
        at = min(at + size, len(DATA))
    maker.update(memoryview(DATA)[at:])
    assert maker.finish(digest_bytes(DATA)) == anchors_of(DATA)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, len(DATA)])
def test_every_size_is_sound(size: int) -> None:
    """Empty files, files shorter than a block, and whole blocks all have consistent anchors."""
    made = anchors_of(DATA[:size])
    assert made.is_sound
    assert len(made.entries()) == size // BLOCK_BYTES
    assert made.digest == digest_bytes(DATA[:size])


def test_a_span_is_proven_only_in_its_place() -> None:
    """A block of the file proves its own position, no other, and no other length."""
    made = anchors_of(DATA)
    blocks = [DATA[start : start + BLOCK_BYTES] for start in range(0, len(DATA), BLOCK_BYTES)]
    assert all(made.proves(number, block) for number, block in enumerate(blocks[:-1]))
    assert not made.proves(1, blocks[0])
    assert not made.proves(40, blocks[40])
    assert not made.proves(0, blocks[0][:-1])
    assert not made.proves(0, b"\0" + blocks[0][1:])


def test_a_large_file_keeps_few_anchors_and_proves_every_byte(striding: None) -> None:
    """Of a large file every n-th block has an anchor, and each whole span a digest over all its bytes."""
    made = anchors_of(DATA)
    assert made.stride_blocks == 6
    assert made.is_sound
    assert len(made.entries()) == 7
    span = DATA[: made.span_bytes]
    assert made.proves(0, span)
    for at in (0, BLOCK_BYTES + 1, len(span) - 1):
        assert not made.proves(0, span[:at] + bytes([span[at] ^ 1]) + span[at + 1 :])


@pytest.mark.parametrize(
    "block", [bytes(BLOCK_BYTES), b"\xff" * BLOCK_BYTES, b"12345678" * (BLOCK_BYTES // 8), b"ab" * (BLOCK_BYTES // 2)]
)
def test_a_block_that_repeats_itself_is_never_looked_for(block: bytes) -> None:
    """Padding is common to many files: it has a digest, and no key."""
    made = anchors_of(DATA[:BLOCK_BYTES] + block)
    assert [bool(key) for key in made.entries()["key"]] == [True, False]
    assert made.proves(1, block)


def test_lengths_that_disagree_are_unsound() -> None:
    """Anchors that were read from somewhere are checked before they are used."""
    made = anchors_of(DATA)
    for field, value in {"size_bytes": 10, "stride_blocks": 0, "head": b"", "blocks": made.blocks[1:]}.items():
        assert not type(made)(
            **{**{name: getattr(made, name) for name in made.__struct_fields__}, field: value}
        ).is_sound


def test_another_number_of_bytes_than_announced_is_a_mistake() -> None:
    """The stride follows from the size, so the size must be true."""
    maker = AnchorMaker(10)
    maker.update(b"123")
    with pytest.raises(ValueError, match="3 bytes"):
        maker.finish("0" * 64)
