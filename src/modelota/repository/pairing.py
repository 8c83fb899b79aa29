"""Which chunk of a baseline each new chunk of a release is compared with.

A wrong pair costs bytes, never correctness: a delta is decoded before it is kept, and a device checks every chunk.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from modelota.content.chunking import ChunkSpan
from modelota.content.formats.elements import OPAQUE
from modelota.content.formats.layout import Layout, Region, TensorSpan
from modelota.spec.manifest import Chunk

SAMPLE_BYTES: Final = 4096  # of a tensor, to tell which one it was before it was renamed
_COMPARED_MAX_BYTES: Final = 1 << 30  # beyond this, tensors of one shape are paired by their order


@dataclass(frozen=True)
class MappedFile:
    """A file of a variant: what its format says, and where it is cut.

    Attributes:
        path: in its variant.
        layout: of the file.
        chunks: in order.
        read: gives the bytes from an offset on; used only where a tensor was renamed.
        spans: what each chunk is, for a file of the target; empty for one of the base.
    """

    path: str
    layout: Layout
    chunks: tuple[Chunk, ...]
    read: Callable[[int, int], bytes]
    spans: tuple[ChunkSpan, ...] = ()

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Offset of each chunk."""
        return tuple(accumulate((chunk.size_bytes for chunk in self.chunks), initial=0))[: len(self.chunks)]

    def chunk_at(self, offset: int) -> int:
        """Index of the chunk that holds the byte at `offset`."""
        return bisect_right(self.starts, offset) - 1


class Tensor(NamedTuple):
    """A tensor and the file it is in."""

    file: MappedFile
    span: TensorSpan

    def sample(self) -> npt.NDArray[np.uint8]:
        """Its first bytes, at most `SAMPLE_BYTES`."""
        size_bytes = min(SAMPLE_BYTES, self.span.size_bytes)
        data = self.file.read(self.span.offset, size_bytes).ljust(size_bytes, b"\0")  # a file cut short is found later
        return np.frombuffer(data, dtype=np.uint8)


class Partner(NamedTuple):
    """What a chunk is compared with.

    Attributes:
        base: a chunk of the baseline.
        kind: layout of the values in the new chunk, as `ChunkSpan.kind`.
    """

    base: Chunk
    kind: str


def tensors_of(files: Sequence[MappedFile]) -> list[Tensor]:
    """All tensors that are not empty, in reading order."""
    return [Tensor(file, span) for file in files for span in file.layout.tensors if span.size_bytes]


def shared_tensors(target: Sequence[MappedFile], base: Sequence[MappedFile]) -> int:
    """How many tensors of the target the base has by name, shape and kind."""
    known = {_form(tensor) for tensor in tensors_of(base)}
    return sum(_form(tensor) in known for tensor in tensors_of(target))


def pair_chunks(target: Sequence[MappedFile], base: Sequence[MappedFile]) -> dict[str, Partner]:
    """A partner for each chunk that the base lacks, by digest; chunks without one are left out.

    Tensors are paired by shared chunks, then by name, shape and kind, then by name and kind (one that grew), then,
    among the unpaired of one shape and kind, by likeness of their first bytes, or else by order. Their chunks are
    paired by element. What is no tensor is paired by its place between chunks that both have.

    Args:
        target: files of the new variant, with spans.
        base: files of the baseline's variant.

    Raises:
        what reading either raises.
    """
    known = {chunk.digest for file in base for chunk in file.chunks}
    partners = _TensorPairs(target, base, known).find()
    found: dict[str, Partner] = {}
    for file in target:
        for index, chunk in enumerate(file.chunks):
            span = file.spans[index]
            partner = partners.get((file.path, span.tensor_name)) if span.region == "tensor" else None
            if partner is None or chunk.digest in known or chunk.digest in found:
                continue
            (mine, theirs) = partner
            into = span.offset - mine.span.offset
            if into < theirs.span.size_bytes:
                other = theirs.file.chunks[theirs.file.chunk_at(theirs.span.offset + into)]
                found[chunk.digest] = Partner(other, span.kind)
    for mine_file, theirs_file in _file_pairs(target, base):
        for chunk, other in _align(mine_file, theirs_file):
            if chunk.digest not in known:
                found.setdefault(chunk.digest, Partner(other, OPAQUE))
    return found


def _form(tensor: Tensor) -> tuple[str, str, tuple[int, ...]]:
    return tensor.span.name, tensor.span.dtype, tensor.span.shape


class _TensorPairs:
    """Finds for each tensor of the target the one of the base that it comes from."""

    def __init__(self, target: Sequence[MappedFile], base: Sequence[MappedFile], known: set[str]) -> None:
        self._target = tensors_of(target)
        self._base = tensors_of(base)
        self._known = known
        self._pairs: dict[int, int] = {}
        self._taken: set[int] = set()

    def find(self) -> dict[tuple[str, str], tuple[Tensor, Tensor]]:
        """Pairs by the path and name of the target's tensor."""
        self._by_content()
        self._by_key(_form)
        self._by_key(lambda tensor: (tensor.span.name, tensor.span.dtype))
        self._by_likeness()
        return {
            (self._target[mine].file.path, self._target[mine].span.name): (self._target[mine], self._base[theirs])
            for mine, theirs in self._pairs.items()
        }

    def _take(self, mine: int, theirs: int) -> None:
        self._pairs[mine] = theirs
        self._taken.add(theirs)

    def _by_content(self) -> None:
        places: dict[tuple[str, int], set[int]] = defaultdict(set)
        for number, tensor in enumerate(self._base):
            for chunk, into in _inner(tensor):
                places[chunk.digest, into].add(number)
        for mine, tensor in enumerate(self._target):
            votes: Counter[int] = Counter()
            for chunk, into in _inner(tensor):
                owners = places.get((chunk.digest, into), set())
                if len(owners) == 1:  # a chunk that many tensors have, such as zeros, tells nothing
                    votes[next(iter(owners))] += chunk.size_bytes
            if votes:
                same_name = {number: self._base[number].span.name == tensor.span.name for number in votes}
                self._take(mine, max(votes, key=lambda number: (votes[number], same_name[number])))

    def _by_key(self, key: Callable[[Tensor], Hashable]) -> None:
        index: dict[Hashable, list[int]] = defaultdict(list)
        for number, tensor in enumerate(self._base):
            index[key(tensor)].append(number)
        for mine, tensor in enumerate(self._target):
            candidates = index.get(key(tensor))
            if candidates and mine not in self._pairs:
                here = [number for number in candidates if self._base[number].file.path == tensor.file.path]
                free = [number for number in (*here, *candidates) if number not in self._taken]
                self._take(mine, (free or here or candidates)[0])

    def _by_likeness(self) -> None:
        groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for mine, tensor in enumerate(self._target):
            if mine not in self._pairs and self._is_new(tensor):
                groups[tensor.span.dtype, tensor.span.shape][0].append(mine)
        for theirs, tensor in enumerate(self._base):
            if theirs not in self._taken and (tensor.span.dtype, tensor.span.shape) in groups:
                groups[tensor.span.dtype, tensor.span.shape][1].append(theirs)
        for ours, free in groups.values():
            if len(ours) * len(free) > 1 and len(ours) * len(free) * SAMPLE_BYTES <= _COMPARED_MAX_BYTES:
                self._most_alike(ours, free)
            else:
                for mine, theirs in zip(ours, free, strict=False):
                    self._take(mine, theirs)

    def _most_alike(self, ours: Sequence[int], free: Sequence[int]) -> None:
        theirs = np.stack([self._base[number].sample() for number in free])
        left = np.ones(len(free), dtype=np.bool_)
        for mine in ours:
            if not left.any():
                return
            likeness = np.count_nonzero(theirs == self._target[mine].sample(), axis=1)
            best = int(np.argmax(np.where(left, likeness, -1)))  # of equals the first: their order
            left[best] = False
            self._take(mine, free[best])

    def _is_new(self, tensor: Tensor) -> bool:
        return any(chunk.digest not in self._known for chunk, _ in _inner(tensor, tiny=True))


def _inner(tensor: Tensor, *, tiny: bool = False) -> Iterator[tuple[Chunk, int]]:
    """Chunks that lie within a tensor, and how many of its bytes lie before each; with `tiny`, also what it shares."""
    file, span = tensor
    index = file.chunk_at(span.offset) if tiny else bisect_left(file.starts, span.offset)
    while index < len(file.chunks) and file.starts[index] < span.end:
        chunk, into = file.chunks[index], file.starts[index] - span.offset
        if tiny or into + chunk.size_bytes <= span.size_bytes:
            yield chunk, into
        index += 1


def _file_pairs(target: Sequence[MappedFile], base: Sequence[MappedFile]) -> Iterator[tuple[MappedFile, MappedFile]]:
    """Each file of the target with the one of the same format that it most likely replaces."""
    for mine in target:
        digests = {chunk.digest for chunk in mine.chunks}
        best: tuple[tuple[bool, int, bool, int], MappedFile] | None = None
        for theirs in base:
            if theirs.layout.format != mine.layout.format or not theirs.chunks:
                continue
            shared = sum(chunk.size_bytes for chunk in theirs.chunks if chunk.digest in digests)
            ending = mine.path.rpartition(".")[2] == theirs.path.rpartition(".")[2]
            apart = abs(mine.layout.size_bytes - theirs.layout.size_bytes)
            rank = (mine.path == theirs.path, shared, ending, -apart)
            if best is None or rank > best[0]:
                best = rank, theirs
        if best is not None:
            yield mine, best[1]


def _align(mine: MappedFile, theirs: MappedFile) -> Iterator[tuple[Chunk, Chunk]]:
    """Chunks that are no tensor's, region by region: each with what lies at its place."""
    ours: dict[Region, list[int]] = defaultdict(list)
    for index, span in enumerate(mine.spans):
        if span.region != "tensor":
            ours[span.region].append(index)
    others = _regions(theirs)
    for region, indexes in ours.items():
        chunks = [mine.chunks[index] for index in indexes]
        candidates = [theirs.chunks[index] for index in others.get(region, ())]
        if region == "opaque" and mine.layout.size_bytes == theirs.layout.size_bytes:
            # weights of an unknown format change in place
            by_place = {(theirs.starts[index], theirs.chunks[index].size_bytes): index for index in others[region]}
            for index in indexes:
                found = by_place.get((mine.starts[index], mine.chunks[index].size_bytes))
                if found is not None:
                    yield mine.chunks[index], theirs.chunks[found]
        yield from _align_runs(chunks, candidates)


def _regions(file: MappedFile) -> dict[Region, list[int]]:
    """Indexes of the chunks that begin in each region."""
    found: dict[Region, list[int]] = defaultdict(list)
    spans = [span for span in file.layout.spans if span.size_bytes]
    ends = [span.end for span in spans]
    for index, start in enumerate(file.starts):
        found[spans[bisect_right(ends, start)].region].append(index)
    return found


def _align_runs(ours: Sequence[Chunk], others: Sequence[Chunk]) -> Iterator[tuple[Chunk, Chunk]]:
    """Between two neighbouring chunks that both sides have, in order, the first goes with the first, and so on."""
    places: dict[str, list[int]] = defaultdict(list)
    for index, chunk in enumerate(others):
        places[chunk.digest].append(index)
    anchors = [(-1, -1)]
    for index, chunk in enumerate(ours):
        ahead = next((place for place in places.get(chunk.digest, ()) if place > anchors[-1][1]), None)
        if ahead is not None:
            anchors.append((index, ahead))
    anchors.append((len(ours), len(others)))
    for (first, other_first), (end, other_end) in pairwise(anchors):
        for step, index in enumerate(range(first + 1, end)):
            other = other_first + 1 + step
            if other_end - other_first > 1:
                yield ours[index], others[min(other, other_end - 1)]
