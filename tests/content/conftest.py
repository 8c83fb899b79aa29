"""What the content room's tests share: golden files, an output that trickles, and a watch on memory."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
DOCS = Path(__file__).parents[2] / "docs" / "formats"


class Trickle(io.RawIOBase):
    """Takes and gives at most seven bytes at a time, as an unbuffered file or a pipe may."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = bytearray(data)
        self.position = 0

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        piece = bytes(data[:7])
        self.data += piece
        return len(piece)

    def read(self, size: int = -1, /) -> bytes:
        piece = bytes(self.data[self.position : self.position + min(7, size)])
        self.position += len(piece)
        return piece


class Zeros(io.RawIOBase):
    """A stream of `size_bytes` zero bytes that occupies no memory; as an output it forgets."""

    def __init__(self, size_bytes: int = 0) -> None:
        self.left_bytes = size_bytes

    def read(self, size: int = -1, /) -> bytes:
        count = min(size, self.left_bytes)
        self.left_bytes -= count
        return bytes(count)

    def write(self, data: Any, /) -> int:
        return len(data)


@pytest.fixture
def trickle() -> type[Trickle]:
    return Trickle


@pytest.fixture
def zeros() -> type[Zeros]:
    return Zeros


@pytest.fixture
def golden() -> Callable[[str], dict[str, Any]]:
    return lambda name: json.loads((GOLDEN / f"{name}.json").read_text())


@pytest.fixture
def doc_blocks() -> Callable[[str], list[str]]:
    """The contents of the fenced blocks of a format page."""
    return lambda name: [part.strip() for part in (DOCS / name).read_text().split("```")[1::2]]


@pytest.fixture
def peak_below() -> Callable[[int], AbstractContextManager[None]]:
    """A context that fails if Python objects allocated inside it ever occupy more than a limit."""

    @contextmanager
    def watch(limit_bytes: int) -> Iterator[None]:
        tracemalloc.start()
        try:
            yield
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak <= limit_bytes, f"peak {peak} bytes"

    return watch
