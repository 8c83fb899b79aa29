"""Numeric differences are exact for every bit pattern, and small for small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.content.delta import arrays, lanes, numeric
from modelota.content.delta.contract import DIRECT, Loops
from modelota.content.delta.elements_numpy import choose_contexts
from modelota.content.delta.lanes import estimate_cost
from modelota.content.delta.loops import loops
from modelota.errors import RefuseContent

KINDS = sorted(numeric.ELEMENTS)
DROP_AT = 6  # in coded bytes: of the field that also says which alphabet


def adaptive_bits(target: bytes, base: bytes, shift: int, mask: int) -> float:
    """Bits for zigzag differences given the base's exponent: Krichevsky-Trofimov over 257 symbols, then Elias gamma."""
    old, new = (np.frombuffer(part, dtype="<u2") for part in (base, target))
    difference = (new - old).view(np.int16).astype(np.int64)
    folded = np.where(difference < 0, -2 * difference - 1, 2 * difference)
    exponent = (old >> shift) & mask
    bits = 0.0
    for one in np.unique(exponent):
        values = folded[exponent == one]
        counts = np.bincount(np.minimum(values, 256), minlength=257)
        bits += math.lgamma(len(values) + 128.5) - math.lgamma(128.5)
        bits -= sum(math.lgamma(count + 0.5) - math.lgamma(0.5) for count in counts[counts > 0].tolist())
        bits += math.log(2) * float((2 * np.floor(np.log2(values[values >= 256] - 255)) + 1).sum())
    return bits / math.log(2)


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_every_pattern_of_two_bytes(engine: Loops, kind: str) -> None:
    """All 65536 patterns against themselves shuffled: NaN payloads, infinities, -0, subnormals."""
    base = np.arange(65536, dtype="<u2")
    target = np.random.default_rng(3).permutation(base).astype("<u2")
    coded = numeric.encode(engine, target.tobytes(), base.tobytes(), numeric.ELEMENTS[kind])
    assert numeric.decode(engine, coded, base.tobytes(), 131072) == target.tobytes()


@pytest.mark.parametrize("kind", ["f8_e4m3", "f8_e5m2", "i8", "u8"])
def test_every_pair_of_one_byte(engine: Loops, kind: str) -> None:
    """All 65536 pairs of bytes."""
    base, target = np.divmod(np.arange(65536), 256)
    coded = numeric.encode(
        engine, target.astype(np.uint8).tobytes(), base.astype(np.uint8).tobytes(), numeric.ELEMENTS[kind]
    )
    assert numeric.decode(engine, coded, base.astype(np.uint8).tobytes(), 65536) == target.astype(np.uint8).tobytes()


def test_special_values_of_four_bytes(engine: Loops) -> None:
    """Quiet and signalling NaNs with payloads, infinities, zeros of both signs, the smallest and the largest."""
    special = [0x7FC00000, 0x7F800001, 0xFFC12345, 0x7F800000, 0xFF800000, 0, 1 << 31, 1, 0x7F7FFFFF, 0xFFFFFFFF]
    base, target = (part.astype("<u4").tobytes() for part in np.meshgrid(special, special))
    coded = numeric.encode(engine, target, base, numeric.ELEMENTS["f32"])
    assert numeric.decode(engine, coded, base, len(target)) == target


@given(st.sampled_from(KINDS), st.binary(max_size=300), st.binary(max_size=300), st.integers(0, 3))
@settings(max_examples=150, deadline=None)
def test_any_bytes_of_any_length(kind: str, target: bytes, base: bytes, lead: int) -> None:
    """Odd lengths, unequal lengths, elements that begin anywhere: the target comes back, and both code it alike."""
    elements = numeric.ELEMENTS[kind]
    lead = min(lead, elements.width - 1)
    made = {numeric.encode(one, target, base, elements, lead) for one in (loops(), loops("numpy"))}
    assert len(made) == 1
    for one in (loops(), loops("numpy")):
        assert numeric.decode(one, next(iter(made)), base, len(target)) == target


def test_widened_numbers_cost_no_more(engine: Loops, weights: tuple[np.ndarray, np.ndarray]) -> None:
    """binary32 that holds bf16 is coded as small as the bf16 itself, within a percent."""
    narrow = [(part.view(np.uint32) >> 16).astype("<u2") for part in weights]
    wide = [(part.astype("<u4") << 16).tobytes() for part in narrow]
    small = numeric.encode(engine, narrow[1].tobytes(), narrow[0].tobytes(), numeric.ELEMENTS["bf16"])
    large = numeric.encode(engine, wide[1], wide[0], numeric.ELEMENTS["f32"])
    assert numeric.decode(engine, large, wide[0], len(wide[1])) == wide[1]
    assert len(large) < 1.01 * len(small) + 64


def test_differences_that_occur_often_are_listed(engine: Loops) -> None:
    """Weight decay alone changes 32-bit numbers by few different steps; they cost about a bit each."""
    random = np.random.default_rng(9)
    base = random.integers(0x3C000000, 0x3D000000, 40_000).astype("<u4")
    target = (base - random.choice([300, 450], base.size)).astype("<u4").tobytes()
    coded = numeric.encode(engine, target, base.tobytes(), numeric.ELEMENTS["f32"])
    assert numeric.decode(engine, coded, base.tobytes(), len(target)) == target
    assert len(coded) * 8 < 1.1 * base.size


@pytest.mark.parametrize("kind", ["bf16", "f16"])
def test_size_is_near_the_adaptive_code_length(
    engine: Loops, weights: tuple[np.ndarray, np.ndarray], kind: str
) -> None:
    """Within 3 % of what an adaptive coder takes that knows the base's exponent."""
    if kind == "f16":
        base, target = (part.astype("<f2").tobytes() for part in weights)
    else:
        base, target = ((part.view(np.uint32) >> 16).astype("<u2").tobytes() for part in weights)
    coded = numeric.encode(engine, target, base, numeric.ELEMENTS[kind])
    assert len(coded) * 8 < 1.03 * adaptive_bits(target, base, *numeric.ELEMENTS[kind][1:])


def test_context_choice_covers_all_exponents() -> None:
    """However many exponents there are, at most 32 contexts come out, and no count is lost."""
    counts = np.zeros((256, 256), dtype=np.uint32)
    counts[:, 0] = 5000
    counts[:, 1] = np.arange(256) * 100
    first, merged, cost = choose_contexts(counts)
    assert 1 <= len(merged) <= 32
    assert first + len(merged) <= 256
    assert int(merged.sum()) == int(counts.sum())
    assert cost == estimate_cost(merged)
    assert choose_contexts(np.zeros((256, 256), dtype=np.uint32)).counts.sum() == 0


def test_context_choice_is_the_best_of_all() -> None:
    """No other way to merge the lowest and the highest exponents costs less, also where merging two alone would not."""
    random = np.random.default_rng(11)
    for _ in range(40):
        counts = np.zeros((256, 256), dtype=np.uint32)
        rows = random.integers(1, 9)
        spread = random.exponential(random.choice([3, 30, 300]), (rows, 12)) * random.random((rows, 1))
        counts[100 : 100 + rows, :12] = spread
        counts[100, 0] += 1
        counts[100 + rows - 1, 0] += 1
        costs = [estimate_cost(counts.sum(axis=0, dtype=np.uint32)[None])]
        for low in range(100, 100 + rows - 1):
            for high in range(low + 1, 100 + rows):
                ends = counts[: low + 1].sum(axis=0, dtype=np.uint32), counts[high:].sum(axis=0, dtype=np.uint32)
                costs.append(estimate_cost(np.vstack([ends[0][None], counts[low + 1 : high], ends[1][None]])))
        assert choose_contexts(counts).cost == min(costs)


def test_few_large_steps_take_the_coarse_alphabet(engine: Loops) -> None:
    """A norm's 384 numbers do not repay a table of every quarter octave; a large tensor's do not pay for the lack."""
    random = np.random.default_rng(12)
    base = (random.standard_normal(300_000) * 0.02).astype("<f4")
    target = base + random.standard_normal(base.size).astype("<f4") * np.float32(1e-5)
    for count, coarse in ((384, True), (base.size, False)):
        old, new = base[:count].tobytes(), target[:count].tobytes()
        coded = numeric.encode(engine, new, old, numeric.ELEMENTS["f32"])
        assert bool(coded[DROP_AT] & 0x80) == coarse
        assert numeric.decode(engine, coded, old, len(new)) == new


@pytest.mark.parametrize("kind", ["bf16", "f32", "i8"])
def test_coarse_tokens_of_any_width(engine: Loops, kind: str) -> None:
    """Whatever an encoder chooses: symbol 16 + n is 2^(4 + n), with 4 + n more bits; what goes on to 127 is none."""
    width = numeric.ELEMENTS[kind].width
    top = DIRECT + min(27, 8 * width - 5)
    symbols = np.array([0, 3, 15, 16, top, 17], dtype=np.uint8)
    signs, extras = 0b10100, [(0x9, 4), ((1 << (top - 12)) - 2, top - 12), (0, 5)]
    bits = sum(extra << sum(size for _, size in extras[:place]) for place, (extra, _) in enumerate(extras))
    tail = bytes([signs]) + bits.to_bytes((sum(size for _, size in extras) + 7) // 8, "little")

    def coded(symbols: np.ndarray, tail: bytes) -> bytes:
        zeros = np.zeros(symbols.size, dtype=np.uint8)
        head = bytes([0, *numeric.ELEMENTS[kind], 0, 1, 0x80, 0])
        return head + lanes.encode(symbols, zeros, arrays.counts(zeros, symbols, 1), tail)

    magnitudes = [0, 3, 15, 16 + 9, (1 << (top - 12)) + (1 << (top - 12)) - 2, 32]
    steps = [0, magnitudes[1], magnitudes[2], -magnitudes[3], magnitudes[4], -magnitudes[5]]
    expected = b"".join((step % (1 << (8 * width))).to_bytes(width, "little") for step in steps)
    assert numeric.decode(engine, coded(symbols, tail), bytes(len(expected)), len(expected)) == expected
    for wrong in (44, 127):
        symbols[1] = wrong
        with pytest.raises(RefuseContent, match="delta-invalid"):
            numeric.decode(engine, coded(symbols, tail), bytes(len(expected)), len(expected))
