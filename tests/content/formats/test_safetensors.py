"""`modelota.content.formats.safetensors`."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tests.content.formats.build import raw_safetensors, safetensors

from modelota.content.formats import safetensors as module
from modelota.content.formats.layout import NAME_MAX_BYTES, Layout
from modelota.content.formats.registry import parse
from modelota.errors import AskPerson


def parsed(file: bytes) -> Layout:
    return parse(io.BytesIO(file))


def headed(header: Any, data: bytes = bytes(8)) -> bytes:
    return raw_safetensors(header if isinstance(header, bytes) else json.dumps(header).encode(), data)


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def test_reads_a_file() -> None:
    """Names, types, shapes and offsets are those that were written."""
    file = safetensors(
        [("b", "BF16", (2, 3), bytes(12)), ("a", "F8_E4M3", (5,), bytes(5)), ("s", "I64", (), bytes(8))], note="x"
    )
    layout = parsed(file)
    start = len(file) - 25
    assert (layout.format, layout.note) == ("safetensors", None)
    assert [tuple(span)[:7] for span in layout.tensors] == [
        ("b", "bf16", (2, 3), start, 12, 2, 1),
        ("a", "f8_e4m3", (5,), start + 12, 5, 1, 1),
        ("s", "i64", (), start + 17, 8, 8, 1),
    ]
    assert [span.region for span in layout.spans] == ["header", "tensor", "tensor", "tensor"]


def test_reads_the_family(family_safetensors: Path) -> None:
    """The real model has all its tensors, and nothing but the header beside them."""
    layout = parse(family_safetensors)
    assert len(layout.tensors) == 20
    assert {span.dtype for span in layout.tensors} == {"bf16"}
    assert sum(span.size_bytes for span in layout.tensors) == 2 * 1_344_768


@pytest.mark.parametrize(("dtype", "name"), module.DTYPES.items())
def test_every_dtype(dtype: str, name: str) -> None:
    """Twelve values of each type have the size that the format says."""
    bits = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "C64": 64}.get(dtype) or next(
        size for size in (16, 32, 64, 8) if str(size) in dtype.split("_", maxsplit=1)[0]
    )
    layout = parsed(safetensors([("t", dtype, (12,), bytes(12 * bits // 8))]))
    assert (layout.note, layout.tensors[0].dtype) == (None, name)


def test_tolerance() -> None:
    """Legal or harmless: odd alignment, gaps, empty files, zero sizes, a type of the future, unknown fields."""
    assert [span.region for span in parsed(headed({"a": entry(offsets=(3, 11))}, bytes(12))).spans] == [
        "header", "padding", "tensor", "padding",
    ]  # fmt: skip
    assert parsed(headed({})).format == "safetensors"
    assert parsed(headed({"a": entry("F32", (0, 9), (0, 0)), "b": entry()})).note is None
    future = parsed(headed({"a": entry("Q3_NEW", (9,), (0, 8))}))
    assert tuple(future.tensors[0])[:7] == ("a", "opaque", (9,), len(headed({"a": entry("Q3_NEW", (9,))})) - 8, 8, 1, 1)
    assert parsed(headed({"a": {**entry(), "more": [1]}})).note is None


@pytest.mark.parametrize(
    ("file", "note"),
    [
        (struct.pack("<Q", 50) + b"{}" + bytes(20), "header-cut-off"),
        (struct.pack("<Q", (1 << 48) - 1) + b"{}" + bytes(20), "header-cut-off"),
        (headed(b"{nope"), "header-not-json"),
        (headed(b'{"a\xff": 1}'), "header-not-json"),
        (headed(b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"), "header-not-json"),
        (headed(b'{"a": NaN}'), "header-not-json"),
        (headed(b'{"a": ' + b"9" * 5000 + b"}"), "number-too-large"),
        (headed({"a": 1}), "header-shape"),
        (headed({"a": entry(dtype=4)}), "header-shape"),
        (headed({"a": entry(offsets=(0,))}), "header-shape"),
        (headed({"a": entry(offsets=(0.0, 8.0))}), "header-shape"),
        (headed({"a": entry(offsets=(False, 8))}), "tensor-out-of-range"),
        (headed({"a": entry(shape=(True, 2))}), "dimensions-invalid"),
        (headed({"a": entry(shape=(-2,))}), "dimensions-invalid"),
        (headed({"a": entry(shape=(1,) * 65)}), "dimensions-invalid"),
        (headed({"a": entry("F4", (3,), (0, 2))}), "dimensions-invalid"),
        (headed({"a": entry(shape=(3,))}), "size-mismatch"),
        (headed({"a": entry(shape=(1 << 62, 1 << 62))}), "size-mismatch"),
        (headed({"a": entry(offsets=(8, 0))}), "tensor-out-of-range"),
        (headed({"a": entry(offsets=(-8, 0))}), "tensor-out-of-range"),
        (headed({"a": entry(offsets=(1, 9))}), "tensor-out-of-range"),
        (headed({"a": entry(), "b": entry()}), "tensors-overlap"),
        (headed(b'{"a": {}, "a": {}}'), "name-repeats"),
        (headed(b'{"\\ud800": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'), "name-invalid"),
    ],
)
def test_contradictions(file: bytes, note: str) -> None:
    """A file that contradicts itself is opaque, and the note says why."""
    layout = parsed(file)
    assert (layout.format, layout.note, layout.size_bytes) == ("opaque", note, len(file))


def hostile(file: bytes) -> tuple[object, object, object]:
    with pytest.raises(AskPerson) as caught:
        parsed(file)
    assert caught.value.code == "model-file-hostile"
    return tuple(caught.value.params[key] for key in ("detail", "limit", "found"))  # type: ignore[return-value]


def test_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is really there and too much is refused; a large header that is legal is only not parsed."""
    two = headed({"a": entry(), "b": entry(offsets=(8, 16))}, bytes(16))
    assert hostile(headed({"n" * (NAME_MAX_BYTES + 1): entry()})) == ("text-bytes", NAME_MAX_BYTES, NAME_MAX_BYTES + 1)
    monkeypatch.setattr(module, "TENSORS_MAX", 1)
    assert hostile(two) == ("tensors", 1, 2)
    monkeypatch.setattr(module, "HEADER_PARSED_MAX_BYTES", 30)
    assert parsed(two).note == "header-large"
    monkeypatch.setattr(module, "HEADER_MAX_BYTES", 40)
    assert hostile(two)[:2] == ("header-bytes", 40)


def test_not_safetensors() -> None:
    """Text that starts with a brace later, or a brace alone, is something else."""
    for file in (b"", b"{}", b"12345678{}", struct.pack("<Q", 2) + b"[]"):
        assert (parsed(file).format, parsed(file).size_bytes, parsed(file).note) == ("opaque", len(file), None)


def test_a_large_header_is_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long list of tensors is cut coarsely."""
    monkeypatch.setattr(module, "_TABLE_BYTES", 10)
    assert parsed(headed({"a": entry()})).spans[0].region == "table"
