"""`modelota.content.chunking`."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable
from itertools import accumulate, count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.content.formats.build import gguf, key_floats, key_text, key_texts, raw_safetensors, safetensors

from modelota.content import chunking
from modelota.content.formats.layout import Layout, TensorSpan
from modelota.content.formats.registry import parse
from modelota.errors import AskPerson, OurBug
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB


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


# -- files with a layout


def values_of(seed: int, size_bytes: int) -> bytes:
    return random.Random(seed).randbytes(size_bytes)


def chunks_of(file: bytes) -> list[tuple[chunking.ChunkSpan, bytes]]:
    stream = io.BytesIO(file)
    return list(chunking.cut_stream(stream, parse(stream)))


def new_bytes(before: bytes, after: bytes) -> dict[str, int]:
    """Bytes of the chunks of `after` that `before` lacks, by region."""
    have = {data for _, data in chunks_of(before)}
    found: dict[str, int] = {}
    for region, data in {data: (span.region, data) for span, data in chunks_of(after) if data not in have}.values():
        found[region] = found.get(region, 0) + len(data)
    return found


PARTS = [(f"blk.{i}.weight", 3_000 + 210 * i) for i in range(8)] + [("big", 210 * 25_000)]


def q6_k(order: Iterable[int], *, keys: Iterable[bytes] = (), prefix: str = "", alignment: int = 32) -> bytes:
    """A GGUF file with the same Q6_K tensors in some order."""
    tensors = []
    for i in order:
        blocks = PARTS[i][1] // 210
        tensors.append((prefix + PARTS[i][0], (256 * blocks,), 14, values_of(i, 210 * blocks)))
    return gguf([key_text("general.architecture", "llama"), *keys], tensors, alignment=alignment)


def test_tensors_are_cut_in_whole_blocks_from_their_start() -> None:
    """A tensor larger than a chunk: full chunks of whole blocks, then the rest; each says where in the tensor it is."""
    big = [span for span, _ in chunks_of(q6_k(range(9))) if span.tensor_name == "big"]
    step = CHUNK_MAX_BYTES // 210 * 210
    assert [span.size_bytes for span in big] == [step, 210 * 25_000 - step]
    assert [span.element_index for span in big] == [0, step // 210 * 256]
    assert {span.kind for span in big} == {"q6_k"}


@pytest.mark.parametrize(
    "after",
    [
        q6_k(reversed(range(9))),
        q6_k(range(9), prefix="renamed."),
        q6_k(range(9), alignment=1),
        q6_k(range(9), alignment=4096),
        q6_k([3, 1, 8], keys=[key_text("chat_template", "x" * 500)]),
        safetensors([(name, "U8", (size // 210 * 210,), values_of(i, size // 210 * 210)) for i, (name, size) in
                     enumerate(PARTS[:8])], pad=1),
    ],
    ids=["reordered", "renamed", "unaligned", "page-aligned", "sharded", "other-format"],
)  # fmt: skip
def test_the_same_tensors_give_the_same_chunks(after: bytes) -> None:
    """Wherever a tensor lies and whatever it is called, none of its chunks is new."""
    assert "tensor" not in new_bytes(q6_k(range(9)), after)


def test_a_changed_tensor_changes_its_own_chunks_only() -> None:
    """One value changed in the middle of the file: one new chunk, and nothing else."""
    before = q6_k(range(9))
    third = parse(io.BytesIO(before)).tensors[3]
    after = bytearray(before)
    after[third.offset + 5] ^= 1
    assert new_bytes(before, bytes(after)) == {"tensor": third.size_bytes}


def test_a_tensor_that_grows_keeps_its_full_chunks() -> None:
    """Rows added at the end of an embedding cost its last chunk."""
    rows = values_of(1, 6_000_000)
    before = safetensors([("embedding", "U8", (6_000_000,), rows)])
    after = safetensors([("embedding", "U8", (6_000_400,), rows + bytes(400))])
    assert new_bytes(before, after)["tensor"] == 6_000_400 - CHUNK_MAX_BYTES


@pytest.mark.parametrize("template", ["short", "y" * 20_000])
def test_a_chat_template_costs_kilobytes(template: str) -> None:
    """A changed template, between a vocabulary of 150 000 words and 60 tensors that all move: less than 64 KiB."""
    vocabulary = key_texts("tokenizer.ggml.tokens", [f"word{i:x}" for i in range(150_000)])

    def model(text: str) -> bytes:
        keys = [
            key_text("general.name", "x"),
            vocabulary,
            key_floats("scores", 150_000),
            key_text("chat_template", text),
        ]
        return gguf(keys, [(f"t{i}", (1000,), 0, values_of(i, 4000)) for i in range(60)])

    cost = new_bytes(model("x" * 9_000), model(template))
    assert set(cost) <= {"header", "padding"}
    assert sum(cost.values()) < 64 * KIB


def test_a_hyper_parameter_of_the_family_costs_kilobytes(family: Path) -> None:
    """A longer template in a real model: only the header's chunks around it are new."""
    before = (family / "1.1.1" / "assistant-q8.gguf").read_bytes()
    at = before.index(b"tokenizer.chat_template") + 23 + 4
    length = int.from_bytes(before[at : at + 8], "little")
    head_end = parse(io.BytesIO(before)).tensors[0].offset
    added = b"{# another sentence #}" + b" " * 10  # 32 bytes: the padding keeps its size
    after = before[:at] + (length + 32).to_bytes(8, "little") + added + before[at + 8 : head_end] + before[head_end:]
    assert parse(io.BytesIO(after)).format == "gguf"
    cost = new_bytes(before, after)
    assert set(cost) == {"header"}
    assert cost["header"] < 24 * KIB


def test_one_token_in_a_document_costs_kilobytes() -> None:
    """A tokenizer.json of 3 MiB is opaque, and cut finely."""
    document = json.dumps({f"token{i}": i for i in range(150_000)}, indent=1).encode()
    after = document.replace(b'"token70000"', b'"changed"')
    assert sum(new_bytes(document, after).values()) < 128 * KIB


def tiny(*sizes: int, changed: int | None = None) -> bytes:
    parts = [(f"t{i}", size, values_of(-1 if i == changed else i, size)) for i, size in enumerate(sizes)]
    return safetensors([(name, "U8", (size,), values) for name, size, values in parts])


def test_tiny_tensors_share_chunks() -> None:
    """Thousands of scalars cost few chunks; a tensor of 2 KiB stands for itself."""
    spans = [span for span, _ in chunks_of(tiny(4, 0, 4, 2048, *[4] * 20_000, 1023))]
    sizes = [span.size_bytes for span in spans if span.region == "tensor"]
    assert sizes == [8, 2048, 65_536, 80_000 - 65_536 + 1023]
    assert [span.tensor_name for span in spans if span.region == "tensor"] == ["t0", "t3", "t4", "t16388"]
    assert new_bytes(tiny(4, 4, 2048), tiny(4, 4, 2048, changed=2)) == {"tensor": 2048}


def test_small_tensors_share_chunks_with_their_kind() -> None:
    """From 1 KiB on, neighbours of another kind and padding stay apart: a mixed chunk would have no numeric delta."""
    norm = ("F32", (384,))
    shapes = [norm, norm, ("F16", (4,)), norm, ("F32", (0,)), norm, ("F32", (2,)), ("F32", (512,)), norm]
    sizes = [count * (2 if kind == "F16" else 4) for kind, (count,) in shapes]
    parts = [
        (f"t{i}", kind, shape, bytes(size)) for i, ((kind, shape), size) in enumerate(zip(shapes, sizes, strict=True))
    ]
    spans = [span for span, _ in chunks_of(safetensors(parts)) if span.region == "tensor"]
    assert [(span.size_bytes, span.kind) for span in spans] == [
        (3072, "f32"),
        (8, "f16"),
        (3080, "f32"),
        (2048, "f32"),
        (1536, "f32"),
    ]
    padded = gguf([], [("a", (257,), 0, bytes(1028)), ("b", (257,), 0, bytes(1028))])
    found = [(span.size_bytes, span.kind) for span, _ in chunks_of(padded) if span.region == "tensor"]
    assert found == [(1028, "f32"), (1028, "f32")]


def test_groups_take_the_padding_between_them_and_no_more() -> None:
    """Padding within a group belongs to it, and makes it opaque; padding behind it is a chunk of its own."""
    file = gguf([], [("a", (3,), 0, bytes(12)), ("b", (2,), 0, bytes(8)), ("c", (400,), 0, bytes(1600))])
    found = [(span.region, span.size_bytes, span.kind) for span, _ in chunks_of(file)][-3:]
    assert found == [("tensor", 40, "opaque"), ("padding", 24, "opaque"), ("tensor", 1600, "f32")]
    alone = gguf([], [("a", (3,), 0, bytes(12)), ("c", (400,), 0, bytes(1600))])
    assert [(span.size_bytes, span.kind) for span, _ in chunks_of(alone)][-3:] == [
        (12, "f32"),
        (20, "opaque"),
        (1600, "f32"),
    ]


def test_an_opaque_file_follows_its_predecessor() -> None:
    """Of equal size it is cut at the same places; of another size, or of a known format, on its own."""
    data = values_of(7, 300_000)
    sizes = [span.size_bytes for span, _ in chunks_of(values_of(8, 300_000))]
    stream = io.BytesIO(data)
    layout = parse(stream)
    followed = list(chunking.cut_stream(stream, layout, follow=sizes))
    assert [span.size_bytes for span, _ in followed] == sizes
    assert b"".join(part for _, part in followed) == data
    alone = [span for span, _ in chunks_of(data)]
    assert [span for span, _ in chunking.cut_stream(stream, layout, follow=[*sizes, 1])] == alone
    assert [span for span, _ in chunking.cut_stream(stream, layout, follow=[300_001, -1])] == alone
    model = io.BytesIO(q6_k([0]))
    size_bytes = len(model.getvalue())
    assert len(list(chunking.cut_stream(model, parse(model), follow=[size_bytes]))) > 1


def test_files_and_streams_are_cut_alike(family: Path, trickle: Any, tmp_path: Path) -> None:
    """A path gives the places, a stream the bytes too; an empty file gives neither."""
    path = family / "1.1.1" / "assistant-q4.gguf"
    layout = parse(path)
    with path.open("rb", buffering=0) as stream:
        assert [span for span, _ in chunking.cut_stream(stream, layout)] == list(chunking.cut_file(path, layout))
    empty = tmp_path / "empty"
    empty.touch()
    assert list(chunking.cut_file(empty, parse(empty))) == []


def test_a_file_that_changes_while_it_is_cut(tmp_path: Path) -> None:
    """Another size than the layout's, in either direction, is refused; so is a stream that ends early."""
    path = tmp_path / "model"
    file = q6_k([0, 1])
    path.write_bytes(file)
    layout = parse(path)
    for changed in (file[:-1], file + b"x"):
        path.write_bytes(changed)
        with pytest.raises(AskPerson, match="model-changed"):
            list(chunking.cut_file(path, layout))
    for end in (10, len(file) - 1):
        with pytest.raises(AskPerson, match="model-changed"):
            list(chunking.cut_stream(io.BytesIO(file[:end]), layout))


def test_gigabytes_without_a_32_bit_limit(tmp_path: Path, peak_below: Any) -> None:
    """A sparse model of 6 GiB is parsed and cut in a few MiB, without reading it."""
    size_bytes = 6 << 30
    header = json.dumps({"t": {"dtype": "BF16", "shape": [size_bytes // 2], "data_offsets": [0, size_bytes]}}).encode()
    path = tmp_path / "model"
    with path.open("wb") as stream:
        stream.write(raw_safetensors(header))
        start = stream.tell()
        stream.truncate(start + size_bytes)
    with peak_below(8 * MIB):
        spans = list(chunking.cut_file(path, parse(path)))
    assert len(spans) == 1 + 6 * 256
    last = spans[-1]
    assert (last.offset + last.size_bytes, last.element_index) == (
        start + size_bytes,
        (size_bytes - CHUNK_MAX_BYTES) // 2,
    )


def test_a_block_that_fits_no_chunk() -> None:
    """A format with blocks of more than a chunk has a bug, and hears of it."""
    size_bytes = CHUNK_MAX_BYTES + 1
    span = TensorSpan("t", "opaque", (1,), 0, size_bytes, size_bytes, 1)
    with pytest.raises(OurBug):
        list(chunking.cut_stream(io.BytesIO(bytes(size_bytes)), Layout("x", size_bytes, (span,))))
