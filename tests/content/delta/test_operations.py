"""The choice among operations, its guarantees, and what damaged deltas do."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelota.content import coding
from modelota.content.delta import BASELESS, OPERATIONS, decode_delta, encode_delta, encode_full, sparse
from modelota.content.delta.contract import Loops
from modelota.content.delta.layouts import LAYOUTS
from modelota.content.delta.loops import loops
from modelota.content.formats.elements import ELEMENTS
from modelota.errors import ModelotaError, OurBug, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES

REFUSALS = {"delta-invalid", "decode-limit", "pack-invalid", "document-needs-newer"}


@given(st.sampled_from([*ELEMENTS, "unheard-of"]), st.binary(min_size=1, max_size=600), st.binary(max_size=600))
@settings(max_examples=200, deadline=None)
def test_any_pair_comes_back_and_never_grows(kind: str, target: bytes, base: bytes) -> None:
    """For every kind, whatever the bytes; never above the chunk, nor above the chunk compressed."""
    op, coded = encode_delta(target, base, kind)
    assert op in OPERATIONS
    assert len(coded) <= len(coding.encode(target)[1]) <= len(target)
    for one in (loops(), loops("numpy")):
        assert decode_delta(op, coded, base, len(target), engine=one) == target


@pytest.mark.parametrize("kind", sorted(ELEMENTS))
def test_a_pattern_of_changes_comes_back(kind: str) -> None:
    """For every kind, a chunk and a base that the kind's own operation suits: most bytes the same, the rest alike."""
    base = bytes(range(256)) * 16
    target = bytes(byte ^ (place % 7 == 0) for place, byte in enumerate(base))
    op, coded = encode_delta(target, base, kind)
    for one in (loops(), loops("numpy")):
        assert decode_delta(op, coded, base, len(target), engine=one) == target


@given(st.sampled_from(sorted(ELEMENTS)), st.binary(min_size=1, max_size=600))
@settings(max_examples=100, deadline=None)
def test_a_chunk_by_itself_comes_back(kind: str, target: bytes) -> None:
    """Without a base, for every kind."""
    op, coded = encode_full(target, kind)
    assert op in BASELESS
    assert len(coded) <= len(target)
    assert decode_delta(op, coded, b"", len(target)) == target


def test_equal_chunks_are_copied(engine: Loops) -> None:
    """Also when the base has more behind."""
    assert encode_delta(b"abcd", b"abcdef", "opaque", engine=engine) == ("copy", b"")
    assert decode_delta("copy", b"", b"abcdef", 4, engine=engine) == b"abcd"
    for coded, base in ((b"x", b"abcd"), (b"", b"abc")):
        with pytest.raises(RefuseContent, match="delta-invalid"):
            decode_delta("copy", coded, base, 4)


def test_few_changes_are_sparse(engine: Loops, weights: tuple[np.ndarray, np.ndarray]) -> None:
    """Three changed numbers of 65536 cost less than a hundred bytes."""
    base = weights[0].tobytes()
    target = weights[0].copy()
    target[[5, 700, 60_000]] = [1.5, -0.0, np.nan]
    op, coded = encode_delta(target.tobytes(), base, "f32", engine=engine)
    assert op == "sparse"
    assert len(coded) < 200
    assert decode_delta(op, coded, base, len(base), engine=engine) == target.tobytes()


def test_an_insertion_is_patched(engine: Loops) -> None:
    """A header in which a line was inserted costs little more than that line."""
    base = b"".join(b'{"tensor.%d": %d}\n' % (place, place * 7919) for place in range(4000))
    target = base[:30_000] + b'{"chat_template": "new"}\n' + base[30_000:]
    op, coded = encode_delta(target, base, "opaque", engine=engine)
    assert op == "patch"
    assert len(coded) < 200
    assert decode_delta(op, coded, base, len(target), engine=engine) == target


@pytest.mark.parametrize("lead", [0, 1, 2, 3])
def test_numbers_in_unknown_files_are_found(engine: Loops, weights: tuple[np.ndarray, np.ndarray], lead: int) -> None:
    """Wherever they begin, differences of numbers are found in opaque regions of equal length."""
    base, target = (b"\1" * lead + part.tobytes() for part in weights)
    op, coded = encode_delta(target, base, "opaque", engine=engine)
    assert op == "numeric"
    assert len(coded) < 1.05 * len(encode_delta(weights[1].tobytes(), weights[0].tobytes(), "f32", engine=engine)[1])
    assert decode_delta(op, coded, base, len(target), engine=engine) == target


def test_an_unrelated_base_does_no_harm(engine: Loops, weights: tuple[np.ndarray, np.ndarray]) -> None:
    """Against noise, a chunk costs no more than by itself; and floats by themselves cost less than by Zstandard."""
    target = weights[1].tobytes()
    noise = np.random.default_rng(1).bytes(len(target))
    op, coded = encode_delta(target, noise, "f32", engine=engine)
    assert op in BASELESS
    assert len(coded) < len(coding.encode(target)[1])
    assert decode_delta(op, coded, noise, len(target), engine=engine) == target


def test_sizes_out_of_range() -> None:
    """An empty or too large chunk is our bug when coding, refused when decoding; an unknown operation needs newer."""
    with pytest.raises(OurBug):
        encode_delta(b"", b"", "f32")
    with pytest.raises(OurBug):
        encode_delta(b"a", bytes(CHUNK_MAX_BYTES + 1), "f32")
    for size in (0, CHUNK_MAX_BYTES + 1):
        with pytest.raises(RefuseContent, match="decode-limit"):
            decode_delta("numeric", b"", b"", size)
    with pytest.raises(RefuseContent, match="document-needs-newer"):
        decode_delta("numeric-2", b"", b"a", 1)


def samples() -> list[tuple[str, bytes, bytes, int]]:
    """(operation, coded bytes, base, size) of every operation and layout."""
    random = np.random.default_rng(17)
    found = []
    for kind in ("bf16", "f32", "i8", "opaque", "q3_k", *sorted(LAYOUTS)):
        base = random.integers(0, 256, 4200).astype(np.uint8)
        target = base + ((random.random(base.size) < 0.2) * random.integers(0, 4, base.size)).astype(np.uint8)
        op, coded = encode_delta(target.tobytes(), base.tobytes(), kind)
        found.append((op, coded, base.tobytes(), base.size))
        if kind in LAYOUTS:
            assert op in {"blocks", "raw", "zstd"}
    exponents = (random.integers(100, 104, 2000) << 23 | random.integers(0, 1 << 23, 2000)).astype("<u4").tobytes()
    found.append(("floats", encode_full(exponents, "f32")[1], b"", 8000))
    few = base.copy()
    few[100::900] ^= 64
    coded = sparse.encode(loops(), few.tobytes(), sparse.changed(few.tobytes(), base.tobytes(), 2), 2)
    found.append(("sparse", coded, base.tobytes(), base.size))
    header = bytes(range(256)) * 8
    found.append((*encode_delta(header[:999] + b"new" + header[999:], header, "opaque"), header, len(header) + 3))
    return found


SAMPLES = samples()


def test_samples_cover_every_operation() -> None:
    """What is damaged below is each operation that can be."""
    assert {op for op, *_ in SAMPLES} >= set(OPERATIONS) - {"raw", "zstd", "copy"}


def outcome(op: str, coded: bytes, base: bytes, size: int, engine: Loops) -> bytes | str:
    try:
        return decode_delta(op, coded, base, size, engine=engine)
    except RefuseContent as error:
        assert error.code in REFUSALS
        return error.code


@given(st.data())
@settings(max_examples=600, deadline=None)
def test_damage_is_refused_or_makes_bytes(data: st.DataObject) -> None:
    """Bytes changed, cut, added, another size, another base: a refusal or as many bytes, the same from both."""
    op, coded, base, size = data.draw(st.sampled_from(SAMPLES))
    damaged = bytearray(coded)
    for _ in range(data.draw(st.integers(0, 3))):
        if damaged:
            # Mostly in the front, where counts and tables are.
            reach = data.draw(st.sampled_from([12, 64, len(damaged)]))
            damaged[data.draw(st.integers(0, min(reach, len(damaged)) - 1))] = data.draw(st.integers(0, 255))
    damaged = damaged[: data.draw(st.integers(0, len(damaged)))] if data.draw(st.booleans()) else damaged
    damaged += data.draw(st.binary(max_size=3))
    base = data.draw(st.sampled_from([base, base[::-1], base[: len(base) // 2], b""]))
    size = data.draw(st.sampled_from([size, size - 1, size + 1, 1, 2 * size]))
    first = outcome(op, bytes(damaged), base, size, loops())
    assert first == outcome(op, bytes(damaged), base, size, loops("numpy"))
    assert isinstance(first, str) or len(first) == size


@given(st.sampled_from(sorted(OPERATIONS)), st.binary(max_size=200), st.binary(max_size=64), st.integers(1, 5000))
@settings(max_examples=300, deadline=None)
def test_noise_is_refused_or_makes_bytes(op: str, coded: bytes, base: bytes, size: int) -> None:
    """Bytes that were never a delta."""
    first = outcome(op, coded, base, size, loops())
    assert first == outcome(op, coded, base, size, loops("numpy"))


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample[0])
def test_a_few_bytes_take_memory_in_proportion_to_the_chunk(sample: tuple[str, bytes, bytes, int]) -> None:
    """A delta that is a bomb, or that lies about the largest chunk there is: a bounded number of chunk sizes."""
    op, coded, base, _ = sample
    tracemalloc.start()
    try:
        decode_delta(op, coded, base, CHUNK_MAX_BYTES, engine=loops())
    except ModelotaError as error:
        assert error.code in REFUSALS
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 10 * CHUNK_MAX_BYTES
