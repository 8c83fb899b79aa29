"""Safetensors: a length (u64), that many bytes of JSON, then the values of the tensors.

Source: the format section of huggingface/safetensors' README. A model in several such files needs nothing more: each
is complete in itself, and the index beside them (`model.safetensors.index.json`) is a file like any other.
"""

from __future__ import annotations

import json
import struct
from types import MappingProxyType
from typing import Any, Final, NoReturn

from modelota.content.formats.elements import OPAQUE
from modelota.content.formats.layout import (
    NAME_MAX_BYTES,
    RANK_MAX,
    TENSORS_MAX,
    Layout,
    Scalar,
    TensorSpan,
    hostile,
    lay_out,
    malformed,
    plain_span,
    tensor_span,
)
from modelota.content.formats.source import Source
from modelota.spec.limits import MIB

HEADER_MAX_BYTES: Final = 100_000_000  # the format's own limit: no reader accepts more
HEADER_PARSED_MAX_BYTES: Final = 16 * MIB  # more is legal, and opaque: about 140 000 tensors
_TABLE_BYTES: Final = MIB  # a header beyond this is cut coarsely
_DIGITS_MAX: Final = 19  # of 2⁶³ − 1
_METADATA: Final = "__metadata__"
_METADATA_MAX: Final = 64

DTYPES: Final = MappingProxyType(
    {
        "BOOL": "bool",
        "I8": "i8",
        "U8": "u8",
        "I16": "i16",
        "U16": "u16",
        "I32": "i32",
        "U32": "u32",
        "I64": "i64",
        "U64": "u64",
        "F16": "f16",
        "BF16": "bf16",
        "F32": "f32",
        "F64": "f64",
        "C64": "c64",
        "F8_E4M3": "f8_e4m3",
        "F8_E5M2": "f8_e5m2",
        "F8_E8M0": "f8_e8m0",
        "F8_E4M3FNUZ": "f8_e4m3fnuz",
        "F8_E5M2FNUZ": "f8_e5m2fnuz",
        "F4": "f4",
        "F6_E2M3": "f6_e2m3",
        "F6_E3M2": "f6_e3m2",
    }
)


class SafetensorsFormat:
    """Reads safetensors files for offsets.

    More tolerant than loaders where exactness does not depend on it: gaps between tensors are padding, and values of a
    dtype it does not know are opaque.
    """

    name = "safetensors"

    def recognises(self, start: bytes, size_bytes: int) -> bool:
        """By the brace after a length below 2⁴⁸."""
        return size_bytes > 9 and start[8:9] == b"{" and start[6:8] == b"\0\0"

    def parse(self, source: Source) -> Layout:
        """Read the header.

        Raises:
            AskPerson: `model-unreadable` (malformed), `model-file-hostile`.
            OSError: reading fails.
        """
        (length,) = struct.unpack("<Q", source.take(8))
        if length > source.left_bytes:
            raise malformed("header-cut-off")
        if length > HEADER_MAX_BYTES:
            raise hostile("header-bytes", limit=HEADER_MAX_BYTES, found=length)
        if length > HEADER_PARSED_MAX_BYTES:
            raise malformed("header-large")
        entries = _decode(source.take(length))
        metadata = entries.pop(_METADATA, None)
        if len(entries) > TENSORS_MAX:
            raise hostile("tensors", limit=TENSORS_MAX, found=len(entries))
        start = source.position
        header = plain_span("table" if start > _TABLE_BYTES else "header", 0, start)
        tensors = [_tensor(name, entry, start) for name, entry in entries.items()]
        layout = lay_out(self.name, source.size_bytes, [header], tensors)
        return layout._replace(values=_texts(metadata))


def _texts(metadata: object) -> tuple[tuple[str, Scalar], ...]:
    """The short texts of `__metadata__`; it has nothing but texts."""
    found = metadata.items() if isinstance(metadata, dict) else ()
    kept = [(key, value) for key, value in found if isinstance(value, str) and len(key) <= 256 >= len(value)]
    return tuple(kept[:_METADATA_MAX])


def _decode(text: bytes) -> dict[str, Any]:
    try:
        decoded = json.loads(
            text.decode("utf-8"), object_pairs_hook=_unique, parse_int=_integer, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        raise malformed("header-not-json") from error
    if not isinstance(decoded, dict):
        raise malformed("header-shape")
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise malformed("name-repeats")
    return made


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MAX:
        raise malformed("number-too-large")
    return int(digits)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)  # NaN and Infinity are not JSON


def _tensor(name: str, entry: object, start: int) -> TensorSpan:
    try:
        size_bytes = len(name.encode("utf-8"))
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise malformed("name-invalid") from error
    if size_bytes > NAME_MAX_BYTES:
        raise hostile("text-bytes", limit=NAME_MAX_BYTES, found=size_bytes)
    match entry:
        case {"dtype": str(dtype), "shape": list(shape), "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise malformed("header-shape")
    if len(shape) > RANK_MAX or not all(type(length) is int and length >= 0 for length in shape):
        raise malformed("dimensions-invalid")
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:  # a bool is an int
        raise malformed("tensor-out-of-range")
    known = DTYPES.get(dtype)
    if known is None:
        return TensorSpan(name, OPAQUE, tuple(shape), start + begin, end - begin, 1, 1)
    span = tensor_span(name, known, shape, start + begin)
    if span.size_bytes != end - begin:
        raise malformed("size-mismatch")
    return span
