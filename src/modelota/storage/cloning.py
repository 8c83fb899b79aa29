"""Which parts of a new slot's files can share the disk's blocks with another slot's (reflinks, where there are any).

Only whole blocks can be shared, at places that differ by whole blocks. Chunks that follow each other in both files make
one run, and what lies within a run is shared, whatever the chunks' own borders are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple


class PlainPlace(NamedTuple):
    """Where a chunk lies in a plain file of a slot; `file_bytes` is the file's size."""

    path: Path
    offset: int
    file_bytes: int


class WantedChunk(NamedTuple):
    """A chunk of a new file: where it goes, its size, and where it lies already."""

    offset: int
    size_bytes: int
    places: Sequence[PlainPlace]


class Run(NamedTuple):
    """Bytes that can be shared: from `source_offset` of `source`, at `offset` of the new file."""

    source: Path
    source_offset: int
    offset: int
    size_bytes: int


class _Open(NamedTuple):
    """A run that may grow: where it began in the new file, and where its first chunk lies, wherever all of it does."""

    places: Sequence[PlainPlace]
    offset: int
    end: int


def find_runs(chunks: Iterable[WantedChunk], block_bytes: int) -> list[Run]:
    """The runs of one new file that can be shared.

    Args:
        chunks: of the file, in its order; those that the device does not hold have no places, or are left out.
        block_bytes: of the file system.
    """
    runs: list[Run] = []
    current = _Open((), 0, 0)
    for chunk in chunks:
        end = chunk.offset + chunk.size_bytes
        longer = _longer(current, chunk)
        if longer:
            current = current._replace(places=longer, end=end)
        else:
            _close(current, block_bytes, runs)
            aligned = [place for place in chunk.places if (place.offset - chunk.offset) % block_bytes == 0]
            current = _Open(aligned, chunk.offset, end)
    _close(current, block_bytes, runs)
    return runs


def _longer(run: _Open, chunk: WantedChunk) -> Sequence[PlainPlace]:
    """The places of `run` where `chunk` follows as it does in the new file."""
    if chunk.offset != run.end:
        return ()
    found = {(place.path, place.offset) for place in chunk.places}
    length = run.end - run.offset
    return [place for place in run.places if (place.path, place.offset + length) in found]


def _close(run: _Open, block_bytes: int, runs: list[Run]) -> None:
    if not run.places:
        return
    length = run.end - run.offset
    # at its end a file's last block can be shared though it is not full
    whole = next((place for place in run.places if place.offset + length == place.file_bytes), None)
    place = whole or run.places[0]
    start = -(-run.offset // block_bytes) * block_bytes
    end = run.end if whole else run.end // block_bytes * block_bytes
    if end > start:
        runs.append(Run(place.path, place.offset + start - run.offset, start, end - start))


def differing(found: bytes, wanted: bytes, offset: int, block_bytes: int) -> Iterator[tuple[int, memoryview]]:
    """What has to be written of a chunk whose blocks are partly shared already, so that those stay shared.

    Args:
        found: what lies there now; may be shorter than what is wanted.
        wanted: the chunk.
        offset: of the chunk in its file.
        block_bytes: of the file system.

    Yields:
        offset in the file and bytes of each stretch of blocks that are not right.
    """
    view = memoryview(wanted)
    begun: int | None = None
    start = 0
    while start < len(wanted):
        end = min(len(wanted), start + block_bytes - (offset + start) % block_bytes)
        if found[start:end] == view[start:end]:
            if begun is not None:
                yield offset + begun, view[begun:start]
                begun = None
        elif begun is None:
            begun = start
        start = end
    if begun is not None:
        yield offset + begun, view[begun:]
