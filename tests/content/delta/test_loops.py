"""The kernel and NumPy compute the same, function by function."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.content.delta import lanes
from modelota.content.delta.contract import LISTED, Elements, Leftover, Loops, slot_of
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops
from modelota.content.delta.numeric import ELEMENTS
from modelota.errors import RefuseContent

pytestmark = pytest.mark.skipif(loops().name != "native", reason="no kernel for this machine")
NONE = np.empty(0, dtype=np.uint32)
seeds = st.integers(0, 2**32 - 1)


def both() -> tuple[Loops, Loops]:
    return loops("native"), loops("numpy")


def bytes_near(random: np.random.Generator, count: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two runs of elements: some equal, some near, some far, some at the ends of the range."""
    kind = f"<u{width}"
    base = random.integers(0, 1 << (8 * width), count, dtype=np.uint64).astype(kind)
    step = random.integers(-40, 40, count) * (random.random(count) < 0.4)
    target = (base.astype(np.int64) + step).astype(kind)
    far = random.random(count) < 0.1
    target[far] = random.integers(0, 1 << (8 * width), int(far.sum()), dtype=np.uint64).astype(kind)
    target[: count // 20] = base[: count // 20] ^ kind_top(width)
    return base.view(np.uint8), target.view(np.uint8)


def kind_top(width: int) -> np.unsignedinteger:
    return np.dtype(f"<u{width}").type(1 << (8 * width - 1))


@given(seeds, st.integers(0, 3000), st.sampled_from([1, 2, 4]), st.integers(0, 3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_differences_agree_and_come_back(seed: int, count: int, width: int, drop: int, listing: bool) -> None:
    """Tokens, counts, leftover bits and contexts are the same, and make the target again."""
    random = np.random.default_rng(seed)
    base, target = bytes_near(random, count, width)
    elements = Elements(width, 8 * width - 5, 0x0F)
    if drop:  # only then is nothing lost
        target = (base.view(f"<u{width}") + ((target.view(f"<u{width}") - base.view(f"<u{width}")) << drop)).view(
            np.uint8
        )
    listed = NONE
    if listing and count:
        found = np.unique((target.view(f"<u{width}") - base.view(f"<u{width}")).astype(np.uint32))[:40]
        listed = found[np.unique(slot_of(found), return_index=True)[1]]
    results = []
    for engine in both():
        tokens, counts, seen, leftover = engine.forward(base, target, elements, drop, listed)
        bits = engine.leftover_bits(tokens, listed.size)
        contexts = engine.contexts(base, elements, 3, 7)
        back = engine.inverse(base, tokens, elements, drop, listed, leftover)
        assert back.tobytes() == target.tobytes()
        assert [(size + 7) // 8 for size in bits] == [part.size for part in leftover]
        results.append([tokens, counts, seen, *leftover, bits, contexts])
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


@given(seeds, st.integers(0, 4000), st.integers(1, 32), st.integers(1, 300), st.floats(0.01, 20))
@settings(max_examples=60, deadline=None)
def test_lanes_agree_and_come_back(seed: int, count: int, contexts: int, lane_count: int, spread: float) -> None:
    """Words and final states are the same, and make the symbols again."""
    random = np.random.default_rng(seed)
    context = random.integers(0, contexts, count).astype(np.uint8)
    symbols = np.minimum(random.exponential(spread, count), 255).astype(np.uint8)
    pairs = context.astype(np.int64) << 8 | symbols
    counts = np.bincount(pairs, minlength=contexts << 8).astype(np.uint32).reshape(contexts, 256)
    assert all(np.array_equal(engine.counts(context, symbols, contexts), counts) for engine in both())
    frequencies = lanes.normalise(counts)
    assert (frequencies.sum(axis=1, dtype=np.int64) == 4096).all()
    start = random.integers(1 << 16, 1 << 17, lane_count).astype(np.uint32)
    made = []
    for engine in both():
        states = start.copy()
        words = engine.lanes_encode(frequencies, context, symbols, states)
        made.append((words, states.copy()))
        found, used = engine.lanes_decode(engine.decoding_table(frequencies), context, states, words.copy())
        assert used == words.size
        assert np.array_equal(found, symbols)
        assert np.array_equal(states, start)
    assert np.array_equal(made[0][0], made[1][0])
    assert np.array_equal(made[0][1], made[1][1])


def test_words_that_run_out_are_refused() -> None:
    """Cut anywhere, the words do not suffice, and both say so."""
    random = np.random.default_rng(5)
    symbols = random.integers(0, 256, 1000).astype(np.uint8)
    context = np.zeros(1000, dtype=np.uint8)
    counts = np.bincount(symbols, minlength=256).astype(np.uint32)[None]
    frequencies = lanes.normalise(counts)
    for engine in both():
        states = np.full(7, 1 << 16, dtype=np.uint32)
        words = engine.lanes_encode(frequencies, context, symbols, states)
        for kept in (0, 1, words.size // 2, words.size - 1):
            with pytest.raises(RefuseContent, match="delta-invalid"):
                engine.lanes_decode(engine.decoding_table(frequencies), context, states.copy(), words[:kept].copy())


def test_tokens_that_are_none_are_refused() -> None:
    """A token above those that are listed."""
    for engine in both():
        assert engine.leftover_bits(np.array([LISTED + 1], dtype=np.uint8), 2) == (0, 0)
        with pytest.raises(RefuseContent, match="delta-invalid"):
            engine.leftover_bits(np.array([0, LISTED + 2, 1], dtype=np.uint8), 2)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_any_blocks_split_and_join(kind: str) -> None:
    """Random bytes are taken apart alike by both, within limits, and put together again; the fields cover the block."""
    layout = LAYOUTS[kind]
    random = np.random.default_rng(11)
    blocks = random.integers(0, 256, (37, layout.block_bytes)).astype(np.uint8)
    for engine in both():
        quants = engine.split(blocks, layout)
        assert np.array_equal(quants, both()[1].split(blocks, layout))
        assert int(quants.min()) >= layout.limits[0]
        assert int(quants.max()) <= layout.limits[1]
        again = np.zeros_like(blocks)
        for field, at in enumerate(layout.halves_at):
            again[:, at : at + 2] = layout.split_half(blocks, field).reshape(-1, 2)
        if layout.subs_at:
            layout.join_subs(layout.split_subs(blocks), again)
        engine.join(quants, layout, again)
        assert np.array_equal(again, blocks)


@given(seeds, st.integers(0, 60), st.sampled_from([16, 32]), st.sampled_from([(-8, 7), (0, 15), (-128, 127)]))
@settings(max_examples=80, deadline=None)
def test_expectations_agree_and_residuals_come_back(
    seed: int, groups: int, group: int, limits: tuple[int, int]
) -> None:
    """Whatever the scales are, both expect the same, and restore what was."""
    random = np.random.default_rng(seed)
    before = random.integers(-128, 128, (groups, group)).astype(np.int8)
    after = np.where(random.random(before.shape) < 0.2, random.integers(-128, 128, before.shape), before).astype(
        np.int8
    )

    def scales() -> np.ndarray:
        found = random.integers(0, 65536, groups).astype("<u2").view("<f2").astype(np.float32)
        return np.where(np.isfinite(found), found, np.float32(1))

    old, new = (scales(), scales()), (scales(), scales())
    new[0][: groups // 2] = old[0][: groups // 2] * np.float32(1.001)
    moved = (random.random(groups) < 0.6) & (new[0] != 0)
    results = []
    for engine in both():
        expected = engine.expect(before, moved, old, new, limits)
        still, rest = engine.residuals(after, before, moved, expected)
        assert np.array_equal(engine.restore(before, moved, expected, still, rest), after)
        results.append([*expected, *still, *rest])
    for one, other in zip(*results, strict=True):
        assert np.array_equal(one, other)


def test_kinds_are_whole_bytes() -> None:
    """Each kind's exponent fits a byte and lies within its element."""
    for elements in ELEMENTS.values():
        assert elements.shift < 8 * elements.width
        assert elements.mask <= 255


def test_leftover_that_is_too_short_is_our_bug() -> None:
    """The kernel reads no further than it was given."""
    from modelota.errors import OurBug

    engine = loops("native")
    tokens = np.full(100, 20, dtype=np.uint8)
    empty = np.empty(0, dtype=np.uint8)
    with pytest.raises(OurBug):
        engine.inverse(np.zeros(400, dtype=np.uint8), tokens, ELEMENTS["f32"], 0, NONE, Leftover(empty, empty))
