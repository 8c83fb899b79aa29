"""`modelota.content.digest`."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import digest

EMPTY = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"


def test_known_value() -> None:
    """The digest of nothing is BLAKE3's published one, so the algorithm is the one the formats name."""
    assert digest.digest_bytes(b"") == EMPTY
    assert digest.Digester().hexdigest() == EMPTY


@given(st.lists(st.binary(max_size=2000), max_size=8))
def test_pieces_equal_whole(pieces: list[bytes]) -> None:
    """Feeding pieces of any kind of buffer gives the digest and the size of the whole."""
    fed = digest.Digester()
    for number, piece in enumerate(pieces):
        fed.update((piece, bytearray(piece), memoryview(piece))[number % 3])
    whole = b"".join(pieces)
    assert (fed.hexdigest(), fed.size_bytes) == (digest.digest_bytes(whole), len(whole))


@pytest.mark.parametrize("size_bytes", [0, 1, digest.BUFFER_BYTES, digest.BUFFER_BYTES + 1])
def test_file_and_descriptor(tmp_path: Path, size_bytes: int) -> None:
    """A file, and a descriptor wherever it stands, give the digest of the whole; the descriptor's offset is kept."""
    data = os.urandom(size_bytes)
    path = tmp_path / "file"
    path.write_bytes(data)
    expected = (blake3(data).hexdigest(), size_bytes)
    assert digest.digest_file(path) == expected
    with path.open("rb", buffering=0) as file:
        file.seek(size_bytes // 2)
        assert digest.digest_fd(file.fileno()) == expected
        assert file.tell() == size_bytes // 2


def test_large_file_in_bounded_memory(tmp_path: Path, peak_below: Any) -> None:
    """A file far above the threshold for threads is digested in about one buffer, to the same digest as one thread."""
    path = tmp_path / "sparse"
    size_bytes = 3 * digest.PARALLEL_FROM_BYTES
    with path.open("wb") as file:
        file.truncate(size_bytes)
        file.seek(size_bytes - 5)
        file.write(b"after")
    with peak_below(digest.BUFFER_BYTES + 100_000):
        found = digest.digest_file(path)
    reference = blake3()
    for _ in range(size_bytes // 2**20 - 1):
        reference.update(bytes(2**20))
    reference.update(bytes(2**20 - 5) + b"after")
    assert found == (reference.hexdigest(), size_bytes)


def test_missing_file(tmp_path: Path) -> None:
    """What cannot be read is an operating-system error, because only the caller knows what it means."""
    with pytest.raises(FileNotFoundError):
        digest.digest_file(tmp_path / "none")


def test_pipe_is_refused() -> None:
    """A descriptor that cannot be sought is refused rather than half read."""
    reading, writing = os.pipe()
    try:
        with pytest.raises((OSError, io.UnsupportedOperation)):
            digest.digest_fd(reading)
    finally:
        os.close(reading)
        os.close(writing)
