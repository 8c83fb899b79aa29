"""GGUF, versions 2 and 3: keys and values, descriptions of tensors, padding, the values of the tensors.

Source: ggml's `docs/gguf.md`, and the block sizes in `ggml-common.h`. Read for offsets, for which only
`general.alignment` matters; the other values are kept to compare releases by.
"""

from __future__ import annotations

from itertools import pairwise
from types import MappingProxyType
from typing import Final, NamedTuple

from modelota.content.formats.elements import ELEMENTS, OPAQUE
from modelota.content.formats.gguf_header import Header, TensorInfo, read_header
from modelota.content.formats.layout import Layout, TensorSpan, lay_out, malformed, tensor_span
from modelota.content.formats.source import Source

TYPES: Final = MappingProxyType(
    {
        0: "f32",
        1: "f16",
        2: "q4_0",
        3: "q4_1",
        6: "q5_0",
        7: "q5_1",
        8: "q8_0",
        9: "q8_1",
        10: "q2_k",
        11: "q3_k",
        12: "q4_k",
        13: "q5_k",
        14: "q6_k",
        15: "q8_k",
        16: "iq2_xxs",
        17: "iq2_xs",
        18: "iq3_xxs",
        19: "iq1_s",
        20: "iq4_nl",
        21: "iq3_s",
        22: "iq2_s",
        23: "iq4_xs",
        24: "i8",
        25: "i16",
        26: "i32",
        27: "i64",
        28: "f64",
        29: "iq1_m",
        30: "bf16",
        34: "tq1_0",
        35: "tq2_0",
        39: "mxfp4",
        40: "nvfp4",
        41: "q1_0",
        42: "q2_0",
    }
)
# Numbers that have stood for blocks of other sizes: in earlier versions, and in forks. They are believed only where the
# size fills the place.
_CONTESTED: Final = frozenset({9, 41, 42})


class GgufFormat:
    """Reads GGUF files for offsets. A tensor of a type it does not know is opaque up to the next one."""

    name = "gguf"

    def recognises(self, start: bytes, size_bytes: int) -> bool:
        """By the magic `GGUF`."""
        return size_bytes >= 24 and start[:4] == b"GGUF"

    def parse(self, source: Source) -> Layout:
        """Read the header.

        Raises:
            AskPerson: `model-unreadable` (malformed), `model-file-hostile`.
            OSError: reading fails.
        """
        header = read_header(source)
        start = -(-source.position // header.alignment) * header.alignment
        layout = lay_out(self.name, source.size_bytes, header.spans, _tensors(header, start, source.size_bytes))
        return layout._replace(values=tuple(header.values.items()), tables=tuple(header.tables.items()))


class _Place(NamedTuple):
    """Where a tensor begins, and where the next one does."""

    info: TensorInfo
    offset: int
    room_bytes: int


def _tensors(header: Header, start: int, size_bytes: int) -> list[TensorSpan]:
    ordered = sorted(header.tensors, key=lambda info: info.offset)
    offsets = [*(start + info.offset for info in ordered), size_bytes]
    if ordered and offsets[-2] > size_bytes:
        raise malformed("tensor-out-of-range")
    places = [_Place(info, begin, end - begin) for info, (begin, end) in zip(ordered, pairwise(offsets), strict=True)]
    disbelieved = {
        place.info.type for place in places if place.info.type in _CONTESTED and not _fills(place, header.alignment)
    }
    return [_tensor(place, header, disbelieved) for place in places]


def _tensor(place: _Place, header: Header, disbelieved: set[int]) -> TensorSpan:
    info = place.info
    dtype = TYPES.get(info.type)
    if dtype is None or info.type in disbelieved:
        return TensorSpan(info.name, OPAQUE, info.shape, place.offset, place.room_bytes, 1, 1)
    span = _span(place, dtype)
    # the blocks of a big-endian file are whole, but no arithmetic of ours applies to them
    return span if header.little_endian else span._replace(dtype=OPAQUE)


def _fills(place: _Place, alignment: int) -> bool:
    """Whether a tensor of the size its type says ends where the next begins, padding aside."""
    element = ELEMENTS[TYPES[place.info.type]]
    if place.info.shape and place.info.shape[0] % element.block_values:
        return False
    return 0 <= place.room_bytes - _span(place, TYPES[place.info.type]).size_bytes < alignment


def _span(place: _Place, dtype: str) -> TensorSpan:
    shape = place.info.shape
    if shape and shape[0] % ELEMENTS[dtype].block_values:  # rows are whole blocks
        raise malformed("dimensions-invalid")
    return tensor_span(place.info.name, dtype, shape, place.offset)
