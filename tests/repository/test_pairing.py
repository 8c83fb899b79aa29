"""Tests of modelota.repository.pairing."""

from __future__ import annotations

import io
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.content.formats.build import safetensors

from modelota.content.chunking import cut_stream
from modelota.content.digest import digest_bytes
from modelota.content.formats.registry import parse
from modelota.repository import pairing
from modelota.repository.pairing import MappedFile, pair_chunks, shared_tensors
from modelota.spec.manifest import Chunk

Listed = Sequence[tuple[str, bytes]]


def noise(seed: int, size_bytes: int = 4000) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def near(data: bytes, seed: int = 0) -> bytes:
    """The same bytes but for one in fifty."""
    chance = random.Random(seed)
    return bytes(byte ^ 1 if chance.random() < 0.02 else byte for byte in data)


def mapped(path: str, data: bytes) -> MappedFile:
    layout = parse(io.BytesIO(data))
    cuts = list(cut_stream(io.BytesIO(data), layout))
    chunks = tuple(Chunk(digest_bytes(piece), len(piece)) for _, piece in cuts)
    return MappedFile(path, layout, chunks, lambda at, size: data[at : at + size], tuple(span for span, _ in cuts))


def tensors(path: str, listed: Listed) -> MappedFile:
    return mapped(path, safetensors([(name, "BF16", (len(data) // 2,), data) for name, data in listed]))


def digest(data: bytes) -> str:
    return digest_bytes(data)


def pairs(target: Sequence[MappedFile], base: Sequence[MappedFile]) -> dict[str, str]:
    return {mine: partner.base.digest for mine, partner in pair_chunks(target, base).items()}


def test_identical_chunks_are_no_work() -> None:
    """What the base has needs no partner, wherever it lies."""
    base = [tensors("a", [("x", noise(1)), ("y", noise(2))])]
    assert pairs(base, base) == {}
    target = [tensors("b", [("q", noise(2)), ("p", noise(1))])]
    assert not {digest(noise(1)), digest(noise(2))} & set(pairs(target, base))


def test_by_name() -> None:
    """The same name, kind and shape, in whatever file; the file of the same path first."""
    base = [tensors("a", [("x", noise(1))]), tensors("b", [("x", noise(2)), ("y", noise(3))])]
    target = [tensors("b", [("y", noise(13)), ("x", noise(12))]), tensors("c", [("x", noise(11))])]
    found = pairs(target, base)
    assert found[digest(noise(12))] == digest(noise(2))
    assert found[digest(noise(13))] == digest(noise(3))
    assert found[digest(noise(11))] == digest(noise(1))


def test_a_tensor_that_grew() -> None:
    """Rows were added: its beginning is compared with what it was; what has no counterpart has no partner."""
    mib4 = 4 * 1024 * 1024
    base = [tensors("a", [("x", noise(1, mib4 + 1000))])]
    target = [tensors("a", [("x", noise(2, mib4) + noise(3, 3000))])]
    found = pairs(target, base)
    assert found[digest(noise(2, mib4))] == digest(noise(1, mib4 + 1000)[:mib4])
    assert found[digest(noise(3, 3000))] == digest(noise(1, mib4 + 1000)[mib4:])
    longer = [tensors("a", [("x", noise(2, mib4) + noise(3, mib4) + noise(4, 3000))])]
    assert digest(noise(4, 3000)) not in pairs(longer, base)


def test_by_content_before_name() -> None:
    """A tensor that keeps a chunk of another one is that one, whatever it is called now."""
    mib4 = 4 * 1024 * 1024
    base = [tensors("a", [("x", noise(1, mib4) + noise(2)), ("y", noise(3, mib4) + noise(4))])]
    target = [tensors("a", [("y", noise(1, mib4) + noise(12)), ("x", noise(3, mib4) + noise(14))])]
    found = pairs(target, base)
    assert found[digest(noise(12))] == digest(noise(2))
    assert found[digest(noise(14))] == digest(noise(4))


def test_renamed_by_likeness() -> None:
    """Renamed and reordered tensors of one shape find what they were."""
    old = [noise(seed) for seed in range(6)]
    order = [3, 0, 5, 1, 4, 2]
    base = [tensors("a", [(f"old.{at}", data) for at, data in enumerate(old)])]
    new = [near(old[number]) for number in order]
    target = [tensors("a", [(f"new.{at}", data) for at, data in enumerate(new)])]
    found = pairs(target, base)
    assert [found[digest(data)] for data in new] == [digest(old[number]) for number in order]


def test_too_many_to_compare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit the order decides, and nothing is read."""
    old, new = [noise(seed) for seed in range(3)], [noise(seed) for seed in range(10, 13)]
    base = [tensors("a", [(f"old.{at}", data) for at, data in enumerate(old)])]
    target = [tensors("a", [(f"new.{at}", data) for at, data in enumerate(new)])]
    monkeypatch.setattr(pairing, "_COMPARED_MAX_BYTES", 1)
    found = pairs(target, base)
    assert [found[digest(data)] for data in new] == [digest(data) for data in old]


def test_what_is_no_tensor() -> None:
    """Between chunks that both have, the first goes with the first; at other ends with the last there is."""
    base, target = noise(1, 400_000), bytearray(noise(1, 400_000))
    target[200_000:200_010] = b"0123456789"
    one, other = mapped("a.txt", base), mapped("a.txt", bytes(target))
    found = pair_chunks([other], [one])
    new = [chunk for chunk in other.chunks if chunk not in one.chunks]
    assert set(found) == {chunk.digest for chunk in new}
    for chunk in new:
        place = other.starts[other.chunks.index(chunk)]
        partner = found[chunk.digest]
        assert abs(one.starts[one.chunks.index(partner.base)] - place) < 70_000
        assert partner.kind == "opaque"


def test_shared_tensors() -> None:
    """Counted by name, kind and shape."""
    base = [tensors("a", [("x", noise(1)), ("y", noise(2))])]
    assert shared_tensors([tensors("b", [("x", noise(3)), ("z", noise(4)), ("y", noise(5, 100))])], base) == 1


names = st.sampled_from(["a", "b", "c", "d"])
sizes = st.sampled_from([0, 2, 100, 4000])
contents = st.builds(noise, st.integers(0, 5), sizes)
files = st.lists(st.dictionaries(names, contents, max_size=4), max_size=3)


@given(files, files)
def test_whatever_the_files_are(old: list[dict[str, bytes]], new: list[dict[str, bytes]]) -> None:
    """Partners are chunks of the base, only for chunks that it lacks."""
    base = [tensors(str(at), list(one.items())) for at, one in enumerate(old)]
    target = [tensors(str(at), list(one.items())) for at, one in enumerate(new)]
    known = {chunk.digest for file in base for chunk in file.chunks}
    for mine, partner in pair_chunks(target, base).items():
        assert mine not in known
        assert partner.base.digest in known
