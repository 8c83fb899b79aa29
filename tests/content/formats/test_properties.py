"""What holds for any file, real or invented, whole or damaged."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.content.formats.build import gguf, key_floats, key_text, key_texts, raw_safetensors, safetensors

from modelota.content.chunking import cut_stream
from modelota.content.formats.elements import ELEMENTS
from modelota.content.formats.gguf import TYPES
from modelota.content.formats.registry import formats, parse
from modelota.content.formats.safetensors import DTYPES
from modelota.errors import AskPerson
from modelota.spec.limits import CHUNK_MAX_BYTES
from modelota.testing.format_suite import check_format

TYPE_NUMBERS = [number for number in TYPES if number not in {9, 41, 42}]
NAMES = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)


def rebuilt(file: bytes) -> bytes:
    """The file from its chunks, or itself where it is refused as it may be."""
    stream = io.BytesIO(file)
    try:
        layout = parse(stream)
    except AskPerson as error:
        assert error.code == "model-file-hostile"
        return file
    chunks = list(cut_stream(stream, layout))
    position = 0
    for span, data in chunks:
        assert span.offset == position
        assert 1 <= span.size_bytes == len(data) <= CHUNK_MAX_BYTES
        position += len(data)
    return b"".join(data for _, data in chunks)


@st.composite
def gguf_files(draw: st.DrawFn) -> bytes:
    values = random.Random(draw(st.integers(0, 1 << 32)))
    keys = [key_text("general.name", draw(NAMES)), key_texts("list", draw(st.lists(NAMES, max_size=5)))]
    if draw(st.booleans()):
        keys.append(key_floats("scores", 20_000))
    tensors = []
    for name in draw(st.lists(NAMES, max_size=6, unique=True)):
        number = draw(st.sampled_from(TYPE_NUMBERS))
        element = ELEMENTS[TYPES[number]]
        blocks, rows = draw(st.integers(0, 40)), draw(st.integers(0, 3))
        data = values.randbytes(blocks * rows * element.block_bytes)
        tensors.append((name, (blocks * element.block_values, rows), number, data))
    return gguf(keys, tensors, alignment=draw(st.sampled_from([1, 8, 32, 64, 7])))


@st.composite
def safetensors_files(draw: st.DrawFn) -> bytes:
    values = random.Random(draw(st.integers(0, 1 << 32)))
    tensors = []
    for name in draw(st.lists(NAMES, max_size=6, unique=True)):
        dtype = draw(st.sampled_from(sorted(DTYPES)))
        element = ELEMENTS[DTYPES[dtype]]
        blocks, rows = draw(st.integers(0, 400)), draw(st.integers(0, 3))
        data = values.randbytes(blocks * rows * element.block_bytes)
        tensors.append((name, dtype, (rows, blocks * element.block_values), data))
    return safetensors(tensors, pad=draw(st.sampled_from([1, 8])), note=draw(NAMES))


FILES = gguf_files() | safetensors_files()


@settings(max_examples=120)
@given(FILES)
def test_any_legal_file_is_known_and_rebuilt(file: bytes) -> None:
    """Whatever is in it, a legal file has a layout, and its chunks give it again."""
    assert parse(io.BytesIO(file)).format in {"gguf", "safetensors"}
    assert rebuilt(file) == file


@settings(max_examples=250)
@given(FILES, st.data())
def test_any_damaged_file_is_rebuilt_or_refused(file: bytes, data: st.DataObject) -> None:
    """Whatever is changed, most likely in the header, the chunks give the file again or it is refused as hostile."""
    made = bytearray(file)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(made), data.draw(st.sampled_from([40, 400, 1 << 30])))))
        made[at : at + data.draw(st.integers(0, 9))] = data.draw(
            st.binary(max_size=9) | st.sampled_from([b"\xff" * 8, b"\0" * 8, b"[" * 50, b'{"a":'])
        )
    assert rebuilt(bytes(made)) == bytes(made)


@settings(max_examples=150)
@given(st.binary(max_size=300))
def test_any_header_is_rebuilt_or_refused(tail: bytes) -> None:
    """Noise behind a magic number, or as JSON, is no more than noise."""
    for file in (b"GGUF\3\0\0\0" + tail, raw_safetensors(b"{" + tail, b"data")):
        assert rebuilt(file) == file


@pytest.mark.parametrize("name", ["1.1.1/assistant-q4.gguf", "1.2.1/adapter.gguf", "safetensors"])
def test_damaged_real_files(family: Path, family_safetensors: Path, name: str) -> None:
    """A thousand random changes of a real model: rebuilt or refused."""
    file = (family_safetensors if name == "safetensors" else family / name).read_bytes()
    chance = random.Random(name)
    header_bytes = parse(io.BytesIO(file)).tensors[0].offset
    whole = file[: header_bytes + 4096]  # most claims now go beyond the end
    for number in range(1000):
        made = bytearray(file if number % 50 == 0 else whole)
        for _ in range(chance.randint(1, 5)):
            at = chance.randrange(header_bytes)
            made[at : at + chance.randint(0, 8)] = chance.choice([chance.randbytes(8), b"\xff" * 8, b"\0" * 8, b""])
        assert rebuilt(bytes(made)) == bytes(made)


def test_our_formats_pass_the_suite(family: Path, family_safetensors: Path) -> None:
    """The formats that come with modelota pass the suite they are measured by."""
    values = random.Random(1)
    parts = [(f"t{i}", values.randbytes(2048 + 64 * i)) for i in range(5)]
    one = [(name, "BF16", (len(data) // 2,), data) for name, data in parts]
    other = [(name.upper(), "BF16", (len(data) // 2,), data) for name, data in reversed(parts)]
    moved = (safetensors(one, note="a"), safetensors(other, pad=1, note="another header"))
    files = [family_safetensors.read_bytes(), safetensors(one), safetensors([("s", "F64", (), bytes(8))])]
    found = check_format(formats()["safetensors"], files, rearranged=[moved], damaged_copies=60)
    assert found == []

    keys = [key_text("general.name", "x")]
    one_g = [(name, (len(data) // 2,), 30, data) for name, data in parts]
    other_g = [(name.upper(), (len(data) // 2,), 30, data) for name, data in reversed(parts)]
    moved = (gguf(keys, one_g), gguf([*keys, key_text("more", "y" * 99)], other_g, alignment=64))
    files = [(family / "1.2.1" / "adapter.gguf").read_bytes(), gguf(keys, one_g)]
    assert check_format(formats()["gguf"], files, rearranged=[moved], damaged_copies=60) == []
