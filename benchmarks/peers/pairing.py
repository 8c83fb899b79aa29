"""Which chunk of the base a chunk of the target is compared with: by name, else by shape and likeness."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from modelota.content.chunking import ChunkSpan

SAMPLE_BYTES = 64 * 1024


def pair_chunks(
    base: Path, base_spans: Sequence[ChunkSpan], target: Path, spans: Sequence[ChunkSpan]
) -> Iterator[tuple[ChunkSpan, ChunkSpan | None]]:
    """Each chunk of the target with its base, or None.

    A tensor's chunks go with the chunks of one tensor of the base: of the same name, kind and size, or, among those
    of the same kind and size that no name claimed, the one whose first bytes are most alike. What is no tensor goes
    with what has the same place among its region's chunks.
    """
    old, new = _tensors(base_spans), _tensors(spans)
    partner = {name: name for name in new if name in old and _form(old[name]) == _form(new[name])}
    free: dict[object, list[str]] = {}
    for name, chunks in old.items():
        if name not in partner:
            free.setdefault(_form(chunks), []).append(name)
    samples: dict[str, npt.NDArray[np.uint8]] = {}
    for name, chunks in new.items():
        candidates = free.get(_form(chunks), [])
        if name in partner or not candidates:
            continue
        sample = _sample(target, chunks[0])
        for candidate in candidates:
            if candidate not in samples:
                samples[candidate] = _sample(base, old[candidate][0])
        best = max(candidates, key=lambda candidate: int(np.count_nonzero(samples[candidate] == sample)))
        partner[name] = best
        candidates.remove(best)
    others = {(span.region, index): span for index, span in _numbered(base_spans)}
    places = {span.offset: (span.region, index) for index, span in _numbered(spans)}
    for span in spans:
        if span.tensor_name in partner:
            chunks = old[partner[span.tensor_name]]
            yield span, next(chunk for chunk in chunks if chunk.element_index == span.element_index)
        else:
            yield span, others.get(places.get(span.offset, ("", -1)))


def _tensors(spans: Sequence[ChunkSpan]) -> dict[str, list[ChunkSpan]]:
    found: dict[str, list[ChunkSpan]] = {}
    for span in spans:
        if span.tensor_name:
            found.setdefault(span.tensor_name, []).append(span)
    return found


def _form(chunks: Sequence[ChunkSpan]) -> object:
    return chunks[0].kind, tuple((chunk.element_index, chunk.size_bytes) for chunk in chunks)


def _sample(path: Path, span: ChunkSpan) -> npt.NDArray[np.uint8]:
    with path.open("rb", buffering=0) as file:
        file.seek(span.offset)
        return np.frombuffer(file.read(min(SAMPLE_BYTES, span.size_bytes)), np.uint8)


def _numbered(spans: Sequence[ChunkSpan]) -> Iterator[tuple[int, ChunkSpan]]:
    """What is no tensor, counted per region."""
    counts: dict[str, int] = {}
    for span in spans:
        if not span.tensor_name:
            index = counts.get(span.region, 0)
            counts[span.region] = index + 1
            yield index, span
