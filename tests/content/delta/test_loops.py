"""The kernel and NumPy make the same bytes, and what they read from the same bytes is the same."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.content.delta import arrays, lanes
from modelota.content.delta import symbols as residual_symbols
from modelota.content.delta.coded import Reader
from modelota.content.delta.contract import LISTED, Elements, Loops
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops
from modelota.content.delta.numeric import ELEMENTS
from modelota.content.delta.tokens import FINE, leftover_bits
from modelota.errors import OurBug, RefuseContent

pytestmark = pytest.mark.skipif(loops().name != "native", reason="no kernel for this machine")
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
@settings(max_examples=100, deadline=None)
def test_elements_agree_and_come_back(seed: int, count: int, width: int, drop: int, listing: bool) -> None:
    """Near and far differences, multiples of a power of 2, some that occur often: the same bytes, and the target."""
    random = np.random.default_rng(seed)
    base, target = bytes_near(random, count, width)
    old = base.view(f"<u{width}")
    step = (target.view(f"<u{width}") - old) << drop
    if listing:
        often = random.integers(0, 1 << (8 * width), 5, dtype=np.uint64).astype(old.dtype)
        step = np.where(random.random(count) < 0.8, random.choice(often, count), step)
    target = (old + step.astype(old.dtype)).view(np.uint8)
    elements = Elements(width, 8 * width - 5, 0x1F)
    made = {engine.encode_elements(target, base, elements) for engine in both()}
    assert len(made) == 1
    coded = np.frombuffer(made.pop() + b"rest", dtype=np.uint8)
    for engine in both():
        found, used = engine.decode_elements(coded, base)
        assert used == coded.size - 4
        assert np.array_equal(found, target)


@given(seeds, st.integers(0, 4000), st.floats(0.01, 20))
@settings(max_examples=60, deadline=None)
def test_symbols_agree_and_come_back(seed: int, count: int, spread: float) -> None:
    """Symbols of any distribution."""
    symbols = np.minimum(np.random.default_rng(seed).exponential(spread, count), 255).astype(np.uint8)
    made = {engine.encode_symbols(symbols) for engine in both()}
    assert len(made) == 1
    coded = np.frombuffer(made.pop(), dtype=np.uint8)
    for engine in both():
        found, used = engine.decode_symbols(coded, count)
        assert used == coded.size
        assert np.array_equal(found, symbols)


@given(seeds, st.integers(0, 500), st.integers(1, 1 << 22))
@settings(max_examples=60, deadline=None)
def test_gaps_agree_and_come_back(seed: int, count: int, places: int) -> None:
    """Positions anywhere; and one place fewer than the last needs is refused by both."""
    positions = np.unique(np.random.default_rng(seed).integers(0, places, count))
    made = {engine.encode_gaps(positions) for engine in both()}
    assert len(made) == 1
    coded = np.frombuffer(made.pop(), dtype=np.uint8)
    for engine in both():
        found, used = engine.decode_gaps(coded, positions.size, places)
        assert used == coded.size
        assert np.array_equal(found, positions)
        if positions.size:
            with pytest.raises(RefuseContent, match="delta-invalid"):
                engine.decode_gaps(coded, positions.size, int(positions[-1]))


@given(seeds, st.integers(0, 4000), st.integers(1, 32), st.integers(0, 300), st.floats(0.01, 20))
@settings(max_examples=60, deadline=None)
def test_symbols_in_contexts_come_back(seed: int, count: int, contexts: int, tail_bytes: int, spread: float) -> None:
    """With a table for each context and a tail, shorter and longer than what lanes carry."""
    random = np.random.default_rng(seed)
    context = random.integers(0, contexts, count).astype(np.uint8)
    symbols = np.minimum(random.exponential(spread, count), 255).astype(np.uint8)
    counts = arrays.counts(context, symbols, contexts)
    assert (lanes.normalise(counts).sum(axis=1, dtype=np.int64) == 4096).all()
    tail = random.bytes(tail_bytes)
    coded = lanes.encode(symbols, context, counts, tail)
    found, rest = lanes.decode(Reader(coded), context, contexts, lambda _: tail_bytes)
    assert np.array_equal(found, symbols)
    assert rest == tail


def test_logarithms_are_near() -> None:
    """Costs are integers, and within 0.0005 bits of what they stand for."""
    numbers = np.unique(np.geomspace(1, 2**32 - 1, 5000).astype(np.int64))
    assert float(np.abs(lanes.log2_of(numbers) / lanes.COST_ONE - np.log2(numbers)).max()) < 0.0005
    assert int(lanes.log2_of(np.zeros(1, dtype=np.int64))[0]) == 0


def test_words_that_run_out_are_refused() -> None:
    """Cut anywhere, the words do not suffice, and both say so."""
    symbols = np.random.default_rng(5).integers(0, 256, 1000).astype(np.uint8)
    coded = np.frombuffer(both()[0].encode_symbols(symbols), dtype=np.uint8)
    for kept in range(0, coded.size, 7):
        for engine in both():
            with pytest.raises(RefuseContent, match="delta-invalid"):
                engine.decode_symbols(coded[:kept], 1000)


def test_tokens_that_are_none_are_refused() -> None:
    """A token above those that are listed."""
    assert leftover_bits(np.array([LISTED + 1], dtype=np.uint8), 2, FINE) == (0, 0)
    base = np.zeros(8, dtype=np.uint8)
    head = bytes([1, 0, 0, 0, 1, 0, 1]) + b"\x07"  # one difference listed: 7
    for token, fits in ((LISTED, True), (LISTED + 1, False)):
        symbols = np.full(8, token, dtype=np.uint8)
        coded = np.frombuffer(head + both()[1].encode_symbols(symbols), dtype=np.uint8)
        for engine in both():
            if fits:
                assert engine.decode_elements(coded, base)[0].tolist() == [7] * 8
            else:
                with pytest.raises(RefuseContent, match="delta-invalid"):
                    engine.decode_elements(coded, base)


@pytest.mark.parametrize("kind", sorted(LAYOUTS))
def test_any_blocks_split_and_join(kind: str) -> None:
    """Random bytes are taken apart within limits, and put together again; the fields cover the block."""
    layout = LAYOUTS[kind]
    random = np.random.default_rng(11)
    blocks = random.integers(0, 256, (37, layout.block_bytes)).astype(np.uint8)
    quants = arrays.split(blocks, layout)
    assert int(quants.min()) >= layout.limits[0]
    assert int(quants.max()) <= layout.limits[1]
    again = np.zeros_like(blocks)
    for field, at in enumerate(layout.halves_at):
        again[:, at : at + 2] = layout.split_half(blocks, field).reshape(-1, 2)
    if layout.subs_at:
        layout.join_subs(layout.split_subs(blocks), again)
    arrays.join(quants, layout, again)
    assert np.array_equal(again, blocks)


@given(seeds, st.sampled_from(sorted(LAYOUTS)), st.integers(0, 70), st.floats(0, 1), st.floats(0, 0.3), st.booleans())
@settings(max_examples=120, deadline=None)
def test_blocks_agree_and_come_back(
    seed: int, kind: str, count: int, moving: float, changing: float, far: bool
) -> None:
    """Groups that stay and that move, few changes and many, near and far: the same bytes, and the blocks again."""
    random = np.random.default_rng(seed)
    layout = LAYOUTS[kind]
    base = random.integers(0, 256, (count, layout.block_bytes)).astype(np.uint8)
    for at in layout.halves_at:
        base[:, at : at + 2] = (random.random(count) + 0.01).astype("<f2").view(np.uint8).reshape(-1, 2)
    target = base.copy()
    flips = (random.random(base.shape) < changing) * random.integers(0, 256 if far else 3, base.shape)
    target ^= flips.astype(np.uint8)
    for at in layout.halves_at:
        stays = random.random(count) > moving
        target[:, at : at + 2] = np.where(stays[:, None], base[:, at : at + 2], target[:, at : at + 2] ^ 1)
    made = {engine.encode_blocks(target, base, layout) for engine in both()}
    assert len(made) == 1
    coded = np.frombuffer(made.pop() + b"rest", dtype=np.uint8)
    for engine in both():
        found, used = engine.decode_blocks(coded, base, layout)
        assert used == coded.size - 4
        assert np.array_equal(found, target)


def test_tiles_wait_for_escapes() -> None:
    """Escapes of moved groups come behind all symbols, those of others before: tiles with both, one, and none."""
    random = np.random.default_rng(41)
    layout = LAYOUTS["q8_0"]
    base = random.integers(0, 256, (640, 34)).astype(np.uint8)
    halves = (random.random((2, 640)) * 0.5 + 1).astype("<f2")
    moved = random.random(640) < 0.5
    halves[1] = np.where(moved, halves[1], halves[0])
    base[:, :2] = halves[0].view(np.uint8).reshape(-1, 2)
    zeros = np.zeros(640, dtype=np.float32)
    before = arrays.split(base, layout)
    scales = [(part.astype(np.float32), zeros) for part in halves]
    expected = arrays.expect(before, halves[0] != halves[1], scales[0], scales[1], layout.limits)
    after = before.copy()
    near = (expected.side & 3 == 3) & (random.random(expected.side.shape) < 0.5)
    after[halves[0] != halves[1]] = expected.values + near
    far = random.random(after.shape) < 0.01
    far[128:256] &= ~moved[128:256, None]
    far[256:384] &= moved[256:384, None]
    far[384:448] = False
    after[far] ^= 0x55
    target = np.empty_like(base)
    target[:, :2] = halves[1].view(np.uint8).reshape(-1, 2)
    arrays.join(after, layout, target)
    _, rest = arrays.residuals(after, before, halves[0] != halves[1], expected)
    assert rest.escapes.size
    assert residual_symbols.encode(rest.symbols, expected.contexts, 16, rest.escapes.tobytes())[0] in {
        0,
        2,
    }  # in contexts
    made = {engine.encode_blocks(target, base, layout) for engine in both()}
    assert len(made) == 1
    for engine in both():
        found, _ = engine.decode_blocks(np.frombuffer(next(iter(made)), dtype=np.uint8), base, layout)
        assert np.array_equal(found, target)


def test_kinds_are_whole_bytes() -> None:
    """Each kind's exponent fits a byte and lies within its element."""
    for elements in ELEMENTS.values():
        assert elements.shift < 8 * elements.width
        assert elements.mask <= 255


def test_arrays_that_do_not_fit_are_our_bug() -> None:
    """The kernel is not called with a base of another size."""
    engine = loops("native")
    with pytest.raises(OurBug):
        engine.encode_elements(np.zeros(8, dtype=np.uint8), np.zeros(4, dtype=np.uint8), ELEMENTS["f32"])
    with pytest.raises(OurBug):
        engine.decode_blocks(np.zeros(8, dtype=np.uint8), np.zeros((1, 17), dtype=np.uint8), LAYOUTS["q4_0"])
