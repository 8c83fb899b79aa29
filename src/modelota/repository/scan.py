"""First reading of the sources: digests of files and chunks, and proof later on that nothing changed meanwhile.

A model is read twice. The first reading says what the release's content is, so that every refusal comes before
anything is uploaded; the second packs it, and checks every chunk against the first.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from modelota.content.chunking import ChunkSpan, cut_stream, read_exactly
from modelota.content.digest import Digester, digest_bytes
from modelota.content.formats.layout import Layout
from modelota.content.formats.registry import parse
from modelota.errors import AskPerson
from modelota.repository.description import SourceVariant
from modelota.spec.limits import CHUNKS_MAX, FILE_MAX_BYTES
from modelota.spec.manifest import Chunk, Manifest

Progress = Callable[[int], None]  # called with the number of bytes just read
Cuts = Mapping[Path, Sequence[int]]  # by file: sizes of the chunks that its predecessor was cut into
NO_CUTS: Final[Cuts] = MappingProxyType({})


@dataclass(frozen=True)
class ScannedFile:
    """What the first reading found.

    Attributes:
        place: on the publisher's disk.
        identity: device, inode, size, modification and change time; a file that keeps all of them did not change.
        size_bytes: of the file.
        digest: BLAKE3 of the file.
        chunks: in order.
        layout: what its format says about it; known to the publisher only, devices get chunks.
        spans: of each chunk: where it lies, and the values in it.
    """

    place: Path
    identity: tuple[int, ...]
    size_bytes: int
    digest: str
    chunks: tuple[Chunk, ...]
    layout: Layout
    spans: tuple[ChunkSpan, ...]


def scan_sources(
    variants: Sequence[SourceVariant], on_bytes: Progress, follow: Cuts = NO_CUTS
) -> dict[Path, ScannedFile]:
    """Read every distinct source file once, after its header was parsed.

    Args:
        variants: with their files.
        on_bytes: called with the number of bytes just read.
        follow: how predecessors were cut (`cuts_to_follow`).

    Raises:
        AskPerson: `model-unreadable`, `model-changed` (while it was read), `model-file-hostile`, `description-invalid`
            (beyond limits).
    """
    found: dict[Path, ScannedFile] = {}
    chunks = 0
    for variant in variants:
        for _, place in variant.files:
            if place in found:
                continue
            found[place] = _scan(place, on_bytes, follow.get(place, ()))
            chunks += len(found[place].chunks)
            if chunks > CHUNKS_MAX:
                raise AskPerson("description-invalid", path=str(place), detail=f"more than {CHUNKS_MAX} chunks")
    return found


def cuts_to_follow(variants: Sequence[SourceVariant], predecessor: Manifest | None) -> dict[Path, tuple[int, ...]]:
    """For each file, how the file was cut that it follows: that of the same path in the same variant, else in any.

    Only opaque files of unchanged size make use of it (`docs/formats/chunking.md`).
    """
    if predecessor is None:
        return {}
    cuts: dict[tuple[str | None, str], tuple[int, ...]] = {}
    for variant in predecessor.variants:
        for entry in variant.files:
            sizes = tuple(predecessor.chunks[index].size_bytes for index in entry.chunks)
            cuts[variant.name, entry.path] = sizes
            cuts.setdefault((None, entry.path), sizes)
    found: dict[Path, tuple[int, ...]] = {}
    for source in variants:
        for path, place in source.files:
            sizes = cuts.get((source.name, path)) or cuts.get((None, path)) or ()
            found.setdefault(place, sizes)
    return found


def content_identity(variants: Sequence[SourceVariant], scanned: dict[Path, ScannedFile]) -> frozenset[frozenset[str]]:
    """What makes two releases the same content: the set of their variants, each the set of its files' digests."""
    return frozenset(frozenset(scanned[place].digest for _, place in variant.files) for variant in variants)


def reread(file: ScannedFile, on_bytes: Progress) -> Iterator[tuple[Chunk, bytes]]:
    """Read the file again, chunk by chunk, as the first reading cut it.

    Raises:
        AskPerson: `model-changed` as soon as a byte differs, or when the file was touched; `model-unreadable`.
    """
    changed = AskPerson("model-changed", path=str(file.place))
    try:
        with file.place.open("rb", buffering=0) as stream:
            for chunk in file.chunks:
                data = read_exactly(stream, chunk.size_bytes)
                if len(data) != chunk.size_bytes or digest_bytes(data) != chunk.digest:
                    raise changed
                on_bytes(len(data))
                yield chunk, data
            if stream.read(1) or _identity(stream.fileno()) != file.identity:
                raise changed
    except OSError as error:
        raise _unreadable(file.place, error) from error


def check_unchanged(files: Sequence[ScannedFile]) -> None:
    """Check once more, just before the commit, that nobody touched the sources.

    Raises:
        AskPerson: `model-changed`.
    """
    for file in files:
        try:
            same = _facts(file.place.stat()) == file.identity
        except OSError as error:
            raise AskPerson("model-changed", path=str(file.place)) from error
        if not same:
            raise AskPerson("model-changed", path=str(file.place))


def _scan(place: Path, on_bytes: Progress, follow: Sequence[int]) -> ScannedFile:
    try:
        with place.open("rb", buffering=0) as stream:
            information = os.fstat(stream.fileno())
            if not stat.S_ISREG(information.st_mode):
                raise AskPerson("model-unreadable", path=str(place), detail="not a regular file")
            if information.st_size > FILE_MAX_BYTES:
                raise AskPerson("model-unreadable", path=str(place), detail=f"larger than {FILE_MAX_BYTES} bytes")
            before = _facts(information)
            layout = parse(stream)
            whole = Digester()
            chunks, spans = [], []
            for span, data in cut_stream(stream, layout, follow=follow):
                whole.update(data)
                chunks.append(Chunk(digest_bytes(data), len(data)))
                spans.append(span)
                on_bytes(len(data))
            if whole.size_bytes != information.st_size or _identity(stream.fileno()) != before:
                raise AskPerson("model-changed", path=str(place))
    except OSError as error:
        raise _unreadable(place, error) from error
    digest = whole.hexdigest()
    return ScannedFile(place, before, whole.size_bytes, digest, tuple(chunks), layout, tuple(spans))


def _identity(descriptor: int) -> tuple[int, ...]:
    return _facts(os.fstat(descriptor))


def _facts(information: os.stat_result) -> tuple[int, ...]:
    return (
        information.st_dev,
        information.st_ino,
        information.st_size,
        information.st_mtime_ns,
        information.st_ctime_ns,
    )


def _unreadable(place: Path, error: OSError) -> AskPerson:
    return AskPerson("model-unreadable", path=str(place), detail=error.strerror or type(error).__name__)
