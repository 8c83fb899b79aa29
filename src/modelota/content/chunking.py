"""Cutting a file into chunks.

The publisher cuts; the device only joins. So how a file is cut may change with every release, the format staying as it
is. `docs/formats/chunking.md` says how it is cut, and why.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from modelota.content.content_defined import HEADER, TABLE, Grain, cut_by_content, grain_of_file
from modelota.content.formats.elements import OPAQUE
from modelota.content.formats.layout import Layout, Region, TensorSpan
from modelota.errors import AskPerson, OurBug
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB

TINY_BYTES: Final = 1 * KIB  # tensors below this share a chunk with their neighbours
_SMALL_BYTES: Final = 2 * KIB  # tensors below this, with neighbours of their kind
_GROUP_MAX_BYTES: Final = 64 * KIB


class ChunkSpan(NamedTuple):
    """Where one chunk of a file lies, and what it is.

    Attributes:
        offset: from the start of the file, in bytes.
        size_bytes: 1 … `CHUNK_MAX_BYTES`.
        kind: layout of its values: a key of `ELEMENTS`, as `TensorSpan.dtype`. The chunk holds whole ones of them.
        tensor_name: the tensor that it is a part of, or the first one of a group; empty if it is of none.
        element_index: how many values of the tensor lie before it.
        region: as `TensorSpan.region`.
    """

    offset: int
    size_bytes: int
    kind: str
    tensor_name: str
    element_index: int
    region: Region


def cut_file(path: Path, layout: Layout, *, follow: Sequence[int] = ()) -> Iterator[ChunkSpan]:
    """Say where a file is cut, in file order; the chunks cover it.

    Reads only what is cut by content, and never holds more than a few chunks.

    Args:
        path: the file that `layout` was read from.
        layout: of the file.
        follow: sizes of the chunks of the file's predecessor. An opaque file of the same size is cut at the same
            places, so that each region has a base of equal length for a numeric delta. No effect on other files.

    Raises:
        OSError: reading fails.
        AskPerson: `model-changed`: the file has another size than the layout.
    """
    with path.open("rb", buffering=0) as stream:
        if os.fstat(stream.fileno()).st_size != layout.size_bytes:
            raise AskPerson("model-changed", path=str(path))
        for span, _ in _cut_layout(stream, layout, follow, str(path)):
            yield span


def cut_stream(stream: BinaryIO, layout: Layout, *, follow: Sequence[int] = ()) -> Iterator[tuple[ChunkSpan, bytes]]:
    """As `cut_file`, but give the bytes too, and read every byte exactly once.

    Args:
        stream: seekable, with the file at its offset 0.
        layout: of the file.
        follow: as in `cut_file`.

    Raises:
        OSError: reading fails.
        AskPerson: `model-changed`: the stream ends before the layout does.
    """
    name = str(getattr(stream, "name", ""))
    for span, content in _cut_layout(stream, layout, follow, name):
        if content is None:
            stream.seek(span.offset)
            data = read_exactly(stream, span.size_bytes)
            if len(data) != span.size_bytes:
                raise AskPerson("model-changed", path=name)
            yield span, data
        else:
            yield span, content


def _cut_layout(
    stream: BinaryIO, layout: Layout, follow: Sequence[int], name: str
) -> Iterator[tuple[ChunkSpan, bytes | None]]:
    """Chunks in file order, with their bytes where cutting had to read them."""
    if layout.format == OPAQUE and sum(follow) == layout.size_bytes and _usable(follow):
        offset = 0
        for size_bytes in follow:
            yield ChunkSpan(offset, size_bytes, OPAQUE, "", 0, "opaque"), None
            offset += size_bytes
        return
    group = _Group()
    for span in layout.spans:
        if group.takes(span):
            group.add(span)
            continue
        for chunk in group.close():
            yield chunk, None
        if span.region == "tensor" and 0 < span.size_bytes < _SMALL_BYTES:
            group.add(span)
        elif span.region in {"tensor", "padding"}:
            for chunk in _cut_evenly(span):
                yield chunk, None
        else:
            yield from _cut_by_content(stream, span, name)
    for chunk in group.close():
        yield chunk, None


def _usable(sizes: Sequence[int]) -> bool:
    return all(1 <= size_bytes <= CHUNK_MAX_BYTES for size_bytes in sizes)


def _cut_evenly(span: TensorSpan) -> Iterator[ChunkSpan]:
    """Chunks of whole blocks, counted from the tensor's start: where it lies, and behind what, does not matter."""
    step = CHUNK_MAX_BYTES // span.block_bytes * span.block_bytes
    if step == 0:
        raise OurBug("invariant-broken", detail=f"a block of {span.block_bytes} bytes fits in no chunk")
    for start in range(0, span.size_bytes, step):
        values = start // span.block_bytes * span.block_values
        size_bytes = min(step, span.size_bytes - start)
        yield ChunkSpan(span.offset + start, size_bytes, span.dtype, span.name, values, span.region)


def _cut_by_content(stream: BinaryIO, span: TensorSpan, name: str) -> Iterator[tuple[ChunkSpan, bytes]]:
    stream.seek(span.offset)
    offset = span.offset
    for data in cut_by_content(stream, span.size_bytes, _grain(span)):
        yield ChunkSpan(offset, len(data), OPAQUE, "", 0, span.region), data
        offset += len(data)
    if offset != span.end:
        raise AskPerson("model-changed", path=name)


def _grain(span: TensorSpan) -> Grain:
    if span.region == "header":
        return HEADER
    return TABLE if span.region == "table" else grain_of_file(span.size_bytes)


class _Group:
    """Small tensors that follow each other: of one kind, or tiny, and then with the padding between them."""

    def __init__(self) -> None:
        self._spans: list[TensorSpan] = []
        self._kinds: set[str] = set()
        self._largest_bytes = 0

    def takes(self, span: TensorSpan) -> bool:
        """Whether an open group goes on with this span."""
        if not self._spans or span.size_bytes >= _SMALL_BYTES or span.region not in {"tensor", "padding"}:
            return False
        if span.end - self._spans[0].offset > _GROUP_MAX_BYTES:
            return False
        all_tiny = max(self._largest_bytes, span.size_bytes) < TINY_BYTES
        return all_tiny or not span.size_bytes or self._kinds == {span.dtype}

    def add(self, span: TensorSpan) -> None:
        """Open a group, or go on with it."""
        self._spans.append(span)
        self._largest_bytes = max(self._largest_bytes, span.size_bytes)
        if span.size_bytes:
            self._kinds.add(span.dtype)

    def close(self) -> Iterator[ChunkSpan]:
        """The group as one chunk, and what padding follows its last tensor as another."""
        spans, self._spans = self._spans, []
        self._kinds, self._largest_bytes = set(), 0
        while spans and spans[-1].size_bytes == 0:
            spans.pop()
        if not spans:
            return
        trailing = spans.pop() if spans[-1].region == "padding" else None
        first, last = spans[0], spans[-1]
        kinds = {span.dtype for span in spans if span.size_bytes}
        kind = first.dtype if len(kinds) == 1 else OPAQUE  # padding is opaque
        yield ChunkSpan(first.offset, last.end - first.offset, kind, first.name, 0, "tensor")
        if trailing is not None:
            yield from _cut_evenly(trailing)


def cut(stream: BinaryIO, boundaries: Iterable[int] = ()) -> Iterator[bytes]:
    """Cut `stream`, from where it stands to its end, into chunks of 1 … `CHUNK_MAX_BYTES`.

    A chunk ends at every boundary and is otherwise as long as it may be. Holds about one chunk in memory.

    Args:
        stream: a binary stream; reads may be short.
        boundaries: offsets from where the stream stands, ascending. This is the seam for formats: one that knows where
            tensors start and how long a quantisation block is yields the places where it wants a cut. Consumed
            lazily; those past the end of the stream have no effect.

    Raises:
        OSError: reading fails.
        OurBug: `invariant-broken`: the boundaries are not ascending.
    """
    position = 0
    ahead = iter(boundaries)
    boundary = next(ahead, None)
    while True:
        while boundary is not None and boundary <= position:
            following = next(ahead, None)
            if following is not None and following < boundary:
                raise OurBug("invariant-broken", detail=f"boundary {following} after {boundary}")
            boundary = following
        want = CHUNK_MAX_BYTES if boundary is None else min(CHUNK_MAX_BYTES, boundary - position)
        chunk = read_exactly(stream, want)
        if not chunk:
            return
        position += len(chunk)
        yield chunk


def read_exactly(stream: BinaryIO, size_bytes: int) -> bytes:
    """Read `size_bytes`, or fewer only at the end of the stream; a single read may return less at any time.

    Raises:
        OSError: reading fails.
    """
    piece = stream.read(size_bytes)
    if len(piece) in {0, size_bytes}:
        return piece
    pieces = [piece]
    missing = size_bytes - len(piece)
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)
