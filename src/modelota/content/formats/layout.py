"""What a format says about a file: spans, in file order, that cover it without gap or overlap."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import prod
from typing import Final, Literal, NamedTuple

from modelota.content.formats.elements import ELEMENTS, OPAQUE
from modelota.errors import AskPerson, OurBug

Scalar = str | int | float | bool
Region = Literal["header", "table", "padding", "tensor", "opaque"]

NAME_MAX_BYTES: Final = 4096  # of a tensor
RANK_MAX: Final = 64
TENSORS_MAX: Final = 1 << 17  # in one file


class TensorSpan(NamedTuple):
    """A run of bytes of a file.

    Attributes:
        name: of the tensor, as the file says it; empty for all other regions.
        dtype: a key of `ELEMENTS`; `opaque` where nothing is known about the values.
        shape: as the file says it; empty for a scalar and for all other regions.
        offset: from the start of the file, in bytes.
        size_bytes: a multiple of `block_bytes`; may be 0 for a tensor.
        block_bytes: bytes of one whole value or quantisation block.
        block_values: how many values that is.
        region: `tensor`; `header` (small, changes often); `table` (long lists within the header: vocabularies);
            `padding`; `opaque` (a file, or a part of one, that no format knows).
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    offset: int
    size_bytes: int
    block_bytes: int
    block_values: int
    region: Region = "tensor"

    @property
    def end(self) -> int:
        """Offset of the first byte behind."""
        return self.offset + self.size_bytes


class Layout(NamedTuple):
    """What is known about a file.

    Attributes:
        format: name of the format, or `opaque`.
        size_bytes: of the whole file.
        spans: in file order; they cover the file.
        values: what the header says about the model in single values, each with its key.
        tables: digests (BLAKE3) of what it says in lists and long texts, each with its key.
        note: why a file that looked like one of a known format is opaque nevertheless: a word from the table in
            `docs/formats/chunking.md`; None when there is nothing to say.
    """

    format: str
    size_bytes: int
    spans: tuple[TensorSpan, ...]
    note: str | None = None
    values: tuple[tuple[str, Scalar], ...] = ()
    tables: tuple[tuple[str, str], ...] = ()

    @property
    def tensors(self) -> tuple[TensorSpan, ...]:
        """The spans that are tensors."""
        return tuple(span for span in self.spans if span.region == "tensor")


def malformed(detail: str) -> AskPerson:
    """What a format raises about a file that contradicts itself; the file is then treated as opaque.

    Args:
        detail: a word, documented by the format.
    """
    return AskPerson("model-unreadable", path="", detail=detail)


def hostile(detail: str, *, limit: int, found: int) -> AskPerson:
    """What a format raises about a file that really holds more than its limits allow; the file is then refused.

    Args:
        detail: which limit: `header-bytes`, `tensors`, `keys`, `text-bytes`, `list-elements` or `nesting`.
        limit: the most that is accepted.
        found: what the file says.
    """
    return AskPerson("model-file-hostile", path="", detail=detail, limit=limit, found=found)


def plain_span(region: Region, offset: int, size_bytes: int) -> TensorSpan:
    """A span that is no tensor."""
    return TensorSpan("", OPAQUE, (), offset, size_bytes, 1, 1, region)


def tensor_span(name: str, dtype: str, shape: Sequence[int], offset: int) -> TensorSpan:
    """The span of a tensor whose size follows from its shape.

    Args:
        name: as the file says it.
        dtype: a key of `ELEMENTS`.
        shape: in values; any of them may be 0.
        offset: from the start of the file, in bytes.

    Raises:
        AskPerson: `model-unreadable` with `dimensions-invalid`: a negative length, too many dimensions, or values that
            do not fill whole blocks.
    """
    element = ELEMENTS[dtype]
    if len(shape) > RANK_MAX or any(length < 0 for length in shape):
        raise malformed("dimensions-invalid")
    blocks, rest = divmod(prod(shape), element.block_values)
    if rest:
        raise malformed("dimensions-invalid")
    size_bytes = blocks * element.block_bytes
    return TensorSpan(name, dtype, tuple(shape), offset, size_bytes, element.block_bytes, element.block_values)


def opaque_layout(size_bytes: int, note: str | None = None) -> Layout:
    """The layout of a file about which nothing is known."""
    return Layout(OPAQUE, size_bytes, (plain_span("opaque", 0, size_bytes),) if size_bytes else (), note)


def lay_out(name: str, size_bytes: int, header: Iterable[TensorSpan], tensors: Iterable[TensorSpan]) -> Layout:
    """Order a file's spans and fill what is between them as padding.

    Args:
        name: of the format.
        size_bytes: of the whole file.
        header: spans of what is no tensor, from the start of the file on.
        tensors: in any order; those of size 0 may lie anywhere that is not inside another.

    Raises:
        AskPerson: `model-unreadable` with `tensor-out-of-range`, `tensors-overlap` or `name-repeats`.
    """
    spans = [*header, *tensors]
    names = {span.name for span in spans if span.region == "tensor"}
    if len(names) != sum(span.region == "tensor" for span in spans):
        raise malformed("name-repeats")
    spans.sort(key=lambda span: (span.offset, span.size_bytes))
    placed: list[TensorSpan] = []
    end = 0
    for span in spans:
        if span.end > size_bytes:
            raise malformed("tensor-out-of-range")
        if span.offset < end:
            raise malformed("tensors-overlap")
        if span.offset > end:
            placed.append(plain_span("padding", end, span.offset - end))
        placed.append(span)
        end = span.end
    if end < size_bytes:
        placed.append(plain_span("padding", end, size_bytes - end))
    return Layout(name, size_bytes, tuple(placed))


def check_layout(layout: Layout, size_bytes: int) -> None:
    """Check what every user of a layout relies on.

    Raises:
        OurBug: `invariant-broken`: the format that made it is wrong.
    """
    ends = [0, *(span.end for span in layout.spans)]
    good = (
        layout.size_bytes == size_bytes == ends[-1]
        and all(span.offset == end for span, end in zip(layout.spans, ends, strict=False))
        and all(before <= after for before, after in pairwise(ends))
        and all(
            span.block_bytes >= 1 and span.block_values >= 1 and span.size_bytes % span.block_bytes == 0
            for span in layout.spans
        )
    )
    if not good:
        raise OurBug("invariant-broken", detail=f"format {layout.format}: its spans do not cover the file")
