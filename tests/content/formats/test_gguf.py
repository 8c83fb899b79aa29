"""`modelota.content.formats.gguf` and its header."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.content.formats.build import LIST, TEXT, U32, gguf, key, key_floats, key_text, key_texts, tensor

from modelota.content.formats import gguf_header
from modelota.content.formats.elements import ELEMENTS
from modelota.content.formats.gguf import TYPES
from modelota.content.formats.layout import NAME_MAX_BYTES, Layout
from modelota.content.formats.registry import parse
from modelota.errors import AskPerson


def parsed(file: bytes) -> Layout:
    return parse(io.BytesIO(file))


def raw(keys: list[bytes], infos: list[bytes], *, counts: tuple[int, int] | None = None, data: bytes = b"") -> bytes:
    """A file with exactly these parts, and counts that may lie."""
    tensors, count = counts or (len(infos), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", 3, tensors, count) + b"".join(keys + infos)
    return head + bytes(-len(head) % 32) + data


@pytest.mark.parametrize("version", [2, 3])
def test_reads_a_file(version: int) -> None:
    """Names, types, shapes (rows first) and offsets are those that were written; padding is what is between."""
    file = gguf(
        [key_text("general.architecture", "llama"), key_texts("tokens", ["a", b"\xff\xfe"])],
        [("a", (32, 2), 2, bytes(36)), ("b", (3,), 0, bytes(12)), ("s", (), 30, bytes(2))],
        version=version,
    )
    layout = parsed(file)
    start = len(file) - 98
    assert (layout.format, layout.note) == ("gguf", None)
    assert [tuple(span)[:7] for span in layout.tensors] == [
        ("a", "q4_0", (32, 2), start, 36, 18, 32),
        ("b", "f32", (3,), start + 64, 12, 4, 1),
        ("s", "bf16", (), start + 96, 2, 2, 1),
    ]
    assert {span.region for span in layout.spans} == {"header", "padding", "tensor"}


@pytest.mark.parametrize("name", ["1.1.1/assistant-q4.gguf", "1.2.1/adapter.gguf", "2.1.1/assistant-q8.gguf"])
def test_reads_the_family_as_the_gguf_package_does(family: Path, name: str) -> None:
    """Offsets, sizes and types of every tensor agree with llama.cpp's own reader."""
    package = pytest.importorskip("gguf")
    found = {span.name: (span.offset, span.size_bytes, span.dtype) for span in parse(family / name).tensors}
    reader = package.GGUFReader(family / name)
    assert found == {one.name: (one.data_offset, one.n_bytes, one.tensor_type.name.lower()) for one in reader.tensors}


@pytest.mark.parametrize(("number", "name"), TYPES.items())
def test_every_type(number: int, name: str) -> None:
    """Two rows of two blocks of each type have the size that ggml says."""
    element = ELEMENTS[name]
    file = gguf([], [("t", (2 * element.block_values, 2), number, bytes(4 * element.block_bytes))])
    assert (parsed(file).note, parsed(file).tensors[0].dtype) == (None, name)


def test_unknown_types_are_opaque_up_to_the_next_tensor() -> None:
    """A type of the future, or of the past, hides no other tensor."""
    layout = parsed(gguf([], [("new", (7, 7), 99, bytes(70)), ("f", (1,), 0, bytes(4)), ("old", (4,), 31, bytes(9))]))
    assert [(span.name, span.dtype, span.size_bytes) for span in layout.tensors] == [
        ("new", "opaque", 96), ("f", "f32", 4), ("old", "opaque", 9),
    ]  # fmt: skip


def test_contested_types_are_believed_if_they_fit() -> None:
    """Number 42 with the blocks of a fork (34 bytes for 128 values) is opaque, and so are all of its type."""
    ours = parsed(gguf([], [("t", (128, 4), 42, bytes(144)), ("u", (64,), 42, bytes(18))]))
    assert {span.dtype for span in ours.tensors} == {"q2_0"}
    theirs = parsed(gguf([], [("t", (128, 4), 42, bytes(136)), ("f", (1,), 0, bytes(4)), ("u", (100,), 42, bytes(18))]))
    assert [span.dtype for span in theirs.tensors] == ["opaque", "f32", "opaque"]


def test_big_endian_is_opaque_in_whole_blocks() -> None:
    """Offsets are read, and no arithmetic is offered."""
    layout = parsed(gguf([], [("t", (256,), 14, bytes(210))], order=">"))
    assert [(span.name, span.dtype, span.size_bytes, span.block_bytes) for span in layout.tensors] == [
        ("t", "opaque", 210, 210)
    ]


@pytest.mark.parametrize("alignment", [1, 3, 8, 64, 4096])
def test_alignment(alignment: int) -> None:
    """Any alignment is honoured, odd ones included."""
    layout = parsed(gguf([], [("a", (1,), 24, b"a"), ("b", (1,), 24, b"b")], alignment=alignment))
    assert [span.offset % alignment for span in layout.tensors] == [0, 0]
    assert layout.tensors[1].offset - layout.tensors[0].offset == alignment


def test_zero_sizes_and_no_tensors() -> None:
    """A tensor without values is legal, and so is a file of keys alone."""
    layout = parsed(gguf([], [("z", (0, 4), 0, b""), ("a", (1,), 0, bytes(4)), ("y", (32, 0), 8, b"")]))
    assert [(span.name, span.size_bytes) for span in layout.tensors] == [("z", 0), ("a", 4), ("y", 0)]
    assert parsed(gguf([key_text("a", "b")], [])).format == "gguf"


def test_large_values_are_spans_of_their_own() -> None:
    """Vocabulary and scores are tables; keys before, between and after them are header; so is the list of tensors."""
    file = gguf(
        [
            key_text("a", "b"),
            key_texts("tokens", ["word"] * 6000),
            key_floats("scores", 17_000),
            key_text("template", "x"),
        ],
        [("t", (8,), 0, bytes(32))],
    )
    layout = parsed(file)
    assert [span.region for span in layout.spans if span.region != "padding"] == [
        "header", "table", "header", "table", "header", "header", "tensor",
    ]  # fmt: skip
    assert [span.size_bytes for span in layout.spans if span.region == "table"] == [12 + 6000 * 12, 12 + 68_000]


def nested(depth: int) -> bytes:
    value = struct.pack("<IQ", U32, 1) + bytes(4)
    for _ in range(depth - 1):
        value = struct.pack("<IQ", LIST, 1) + value
    return key("deep", LIST, value)


F32_2 = tensor("t", (2,), 0, 0)


@pytest.mark.parametrize(
    ("file", "note"),
    [
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "version-unknown"),
        (raw([], [], counts=(1, 0)), "header-cut-off"),
        (raw([], [], counts=(0, (1 << 64) - 1)), "header-cut-off"),
        (raw([], [], counts=((1 << 64) - 1, 0)), "header-cut-off"),
        (raw([struct.pack("<Q", 1 << 63)], [], counts=(0, 1)), "header-cut-off"),
        (raw([key("k", TEXT, struct.pack("<Q", (1 << 64) - 1))], []), "header-cut-off"),
        (raw([key("k", LIST, struct.pack("<IQ", U32, (1 << 64) - 1))], []), "header-cut-off"),
        (raw([key("k", LIST, struct.pack("<IQ", TEXT, 1 << 61))], []), "header-cut-off"),
        (raw([key("k", 13, bytes(8))], []), "type-invalid"),
        (raw([key("k", LIST, struct.pack("<IQ", 77, 1) + bytes(8))], []), "type-invalid"),
        (raw([key(b"\xff", U32, bytes(4))], []), "name-invalid"),
        (raw([key_text("k", "a"), key_text("k", "b")], []), "name-repeats"),
        (raw([key("general.alignment", U32, bytes(4))], []), "alignment-invalid"),
        (raw([key("general.alignment", U32, b"\xff" * 4)], []), "alignment-invalid"),
        (raw([key("general.alignment", 10, bytes(8))], []), "alignment-invalid"),
        (raw([key("general.alignment", U32, b"\0\0\0\x40")], [F32_2], data=bytes(8)), "tensor-out-of-range"),
        (raw([], [tensor("t", (1,) * 5, 0, 0)], data=bytes(8)), "dimensions-invalid"),
        (raw([], [tensor("t", (33,), 2, 0)], data=bytes(80)), "dimensions-invalid"),
        (raw([], [tensor("t", (16, 2), 2, 0)], data=bytes(80)), "dimensions-invalid"),
        (raw([], [tensor("t", (), 2, 0)], data=bytes(80)), "dimensions-invalid"),
        (raw([], [tensor("t", (1 << 63, 1 << 63, 1 << 63, 4), 0, 0)], data=bytes(8)), "tensor-out-of-range"),
        (raw([], [tensor("t", (2,), 0, (1 << 64) - 8)], data=bytes(8)), "tensor-out-of-range"),
        (raw([], [tensor("t", (2,), 99, 1 << 40)], data=bytes(8)), "tensor-out-of-range"),
        (raw([], [F32_2], data=bytes(7)), "tensor-out-of-range"),
        (raw([], [F32_2, tensor("u", (2,), 0, 4)], data=bytes(40)), "tensors-overlap"),
        (raw([], [F32_2, tensor("t", (2,), 0, 32)], data=bytes(40)), "name-repeats"),
        (raw([], [tensor(b"\xc0", (2,), 0, 0)], data=bytes(8)), "name-invalid"),
    ],
)  # fmt: skip
def test_contradictions(file: bytes, note: str) -> None:
    """A file that contradicts itself is opaque, and the note says why."""
    layout = parsed(file)
    assert (layout.format, layout.note, layout.size_bytes) == ("opaque", note, len(file))


@pytest.mark.parametrize(
    ("constant", "limit", "make", "detail"),
    [
        ("TENSORS_MAX", 1, lambda: gguf([], [("a", (1,), 0, bytes(4)), ("b", (1,), 0, bytes(4))]), "tensors"),
        ("KEYS_MAX", 1, lambda: gguf([key_text("a", ""), key_text("b", "")], []), "keys"),
        ("KEY_MAX_BYTES", 8, lambda: gguf([key_text("k" * 9, "")], []), "text-bytes"),
        ("ELEMENTS_MAX", 10, lambda: gguf([key_texts("a", ["x"] * 6), key_texts("b", ["x"] * 5)], []), "list-elements"),
        ("NESTING_MAX", 4, lambda: gguf([nested(5)], []), "nesting"),
        ("HEADER_MAX_BYTES", 1000, lambda: gguf([key_floats("s", 500)], []), "header-bytes"),
        (None, NAME_MAX_BYTES, lambda: gguf([], [("n" * (NAME_MAX_BYTES + 1), (1,), 0, bytes(4))]), "text-bytes"),
    ],
)
def test_limits(
    monkeypatch: pytest.MonkeyPatch, constant: str | None, limit: int, make: Callable[[], bytes], detail: str
) -> None:
    """What is really there and too much is refused, with the limit and what was found."""
    file = make()
    if constant:
        monkeypatch.setattr(gguf_header, constant, limit)
    with pytest.raises(AskPerson) as caught:
        parsed(file)
    params: dict[str, Any] = caught.value.params
    assert (caught.value.code, params["detail"], params["limit"]) == ("model-file-hostile", detail, limit)
    assert params["found"] > limit


def test_lists_in_lists_within_the_limit() -> None:
    """A few levels are skipped as everything else."""
    assert parsed(gguf([nested(4)], [])).format == "gguf"


def test_bounded_memory(peak_below: Any) -> None:
    """A header of 30 MiB, as no vocabulary has it, is walked in a few MiB."""
    file = gguf([key_texts("tokens", ["some words"] * 100_000), key_floats("scores", 7_000_000)], [])
    with peak_below(4 << 20):
        assert parsed(file).format == "gguf"


def test_what_the_header_says(family: Path) -> None:
    """Single values are kept as they are, lists and long texts as digests; both only up to a limit."""
    layout = parse(family / "1.1.1" / "assistant-q8.gguf")
    values, tables = dict(layout.values), dict(layout.tables)
    assert values["general.architecture"] == "llama"
    assert isinstance(values["llama.block_count"], int)
    assert isinstance(values["llama.attention.layer_norm_rms_epsilon"], float)
    assert "tokenizer.ggml.tokens" in tables
    assert len(tables["tokenizer.ggml.tokens"]) == 64
    assert not values.keys() & tables.keys()
    again = parse(family / "1.1.2" / "assistant-q8.gguf")
    assert dict(again.tables)["tokenizer.ggml.tokens"] == tables["tokenizer.ggml.tokens"]
