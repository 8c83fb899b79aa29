"""`modelota.content.content_defined`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from blake3 import blake3

from modelota.content import content_defined
from modelota.content.content_defined import DATA, DOCUMENT, HEADER, TABLE, Grain, cut_by_content, grain_of_file
from modelota.spec.limits import CHUNK_MAX_BYTES, MIB

GRAINS = {"header": HEADER, "document": DOCUMENT, "table": TABLE, "data": DATA}


def noise(size_bytes: int) -> bytes:
    return blake3(b"modelota chunking").digest(length=size_bytes)


@pytest.mark.parametrize("name", GRAINS)
def test_pinned(name: str, doc_blocks: Callable[[str], list[str]]) -> None:
    """The vectors of the page: a version of the library that cuts otherwise would make every release new."""
    vectors = next(block for block in doc_blocks("chunking.md") if block.startswith("json"))
    vector = json.loads(vectors.removeprefix("json"))[name]
    sizes = [len(piece) for piece in cut_by_content(io.BytesIO(noise(vector["n"])), vector["n"], GRAINS[name])]
    assert sizes == vector["sizes"]


@pytest.mark.parametrize("name", GRAINS)
def test_documented(name: str, doc_blocks: Callable[[str], list[str]], repository_root: Any) -> None:
    """The page states the sizes of each grain."""
    page = (repository_root / "docs" / "formats" / "chunking.md").read_text(encoding="utf-8")
    assert "| {} | {} | {} | {} |".format(name, *(f"{size:,}".replace(",", " ") for size in GRAINS[name])) in page


@pytest.mark.parametrize("grain", GRAINS.values())
@pytest.mark.parametrize("extra_bytes", [-1, 0, 1])
def test_edges(grain: Grain, extra_bytes: int) -> None:
    """Sizes keep to their bounds, and nothing is lost, at and around the smallest size; nothing gives no chunk."""
    data = noise(grain.min_bytes + extra_bytes)
    assert b"".join(cut_by_content(io.BytesIO(data), len(data), grain)) == data
    assert list(cut_by_content(io.BytesIO(), 0, grain)) == []
    assert grain.max_bytes <= CHUNK_MAX_BYTES


def test_changes_stay_local() -> None:
    """Bytes inserted into a document change the chunks around them, and no other."""
    before = noise(MIB)
    after = before[:500_000] + b"inserted" + before[500_000:]
    old, new = (list(cut_by_content(io.BytesIO(data), len(data), DOCUMENT)) for data in (before, after))
    assert len(set(new) - set(old)) <= 3


def test_short_reads_and_early_ends(trickle: Any) -> None:
    """A stream that gives little is cut alike; one that ends early gives what it has; what follows is left alone."""
    data = noise(50_000)
    whole = list(cut_by_content(io.BytesIO(data), 50_000, HEADER))
    assert list(cut_by_content(trickle(data), 50_000, HEADER)) == whole
    assert list(cut_by_content(io.BytesIO(data), 90_000, HEADER)) == whole
    stream = io.BytesIO(data)
    assert b"".join(cut_by_content(stream, 700, HEADER)) == data[:700]
    assert stream.read() == data[700:]


def test_grain_follows_the_size_of_the_file() -> None:
    """Small files are cut finely, weights coarsely."""
    assert [grain_of_file(size * MIB) for size in (0, 8, 9, 64, 65)] == [DOCUMENT, DOCUMENT, TABLE, TABLE, DATA]


def test_bounded_memory(zeros: Any, peak_below: Any) -> None:
    """Much more than fits is cut in the memory of a few chunks."""
    with peak_below(4 * CHUNK_MAX_BYTES + MIB):
        total = sum(len(piece) for piece in cut_by_content(zeros(80 * MIB), 80 * MIB, DATA))
    assert total == 80 * MIB


def test_no_pure_python_fallback() -> None:
    """The wheel's compiled cutter is in use; the fallback would be two hundred times slower."""
    assert content_defined.FastCDC.__module__.startswith("pyfastcdc.cy")
