"""`modelota.content.formats.source`."""

from __future__ import annotations

import io
import struct

import pytest

from modelota.content.formats import source as module
from modelota.content.formats.source import Source, size_of
from modelota.errors import AskPerson


class Slow(io.BytesIO):
    """Gives three bytes at a time."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(3, size or 0))


def test_takes_and_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes come in order, whatever the window and the stream's mood."""
    monkeypatch.setattr(module, "_WINDOW_BYTES", 4)
    source = Source(Slow(bytes(range(100))), 100)
    assert source.take(2) == b"\0\1"
    assert source.take(10) == bytes(range(2, 12))
    source.skip(50)
    assert source.take(1) == b"\x3e"
    assert source.take(0) == b""
    assert (source.position, source.left_bytes) == (63, 37)
    assert source.take(37) == bytes(range(63, 100))


@pytest.mark.parametrize("window_bytes", [4, 9, 1000])
def test_skips_lists_of_texts(monkeypatch: pytest.MonkeyPatch, window_bytes: int) -> None:
    """Wherever the window ends; what is cut off or beyond the limit is refused as anywhere."""
    monkeypatch.setattr(module, "_WINDOW_BYTES", window_bytes)
    length = struct.Struct("<Q")
    data = b"".join(length.pack(size) + bytes(size) for size in (3, 0, 40, 1, 7)) + b"end"
    source = Source(io.BytesIO(data), len(data))
    source.skip_texts(5, length)
    assert source.take(3) == b"end"
    source = Source(io.BytesIO(data), len(data))
    source.limit(len(data) - 4)
    with pytest.raises(AskPerson, match="model-file-hostile"):
        source.skip_texts(5, length)
    source = Source(io.BytesIO(data[:-4]), len(data) - 4)
    with pytest.raises(AskPerson, match="model-unreadable"):
        source.skip_texts(5, length)


def test_refuses_what_is_not_there() -> None:
    """A length beyond the end, or a negative one, is refused before anything is read."""
    source = Source(io.BytesIO(b"abc"), 3)
    for size_bytes in (4, 1 << 63, -1):
        for act in (source.take, source.skip):
            with pytest.raises(AskPerson) as caught:
                act(size_bytes)
            assert caught.value.params["detail"] == "header-cut-off"
    assert source.take(3) == b"abc"


def test_limit() -> None:
    """What lies behind the limit is refused as hostile, though it is there."""
    source = Source(io.BytesIO(bytes(100)), 100)
    source.limit(10)
    source.take(10)
    with pytest.raises(AskPerson) as caught:
        source.skip(1)
    assert caught.value.code == "model-file-hostile"
    assert (caught.value.params["limit"], caught.value.params["found"]) == (10, 11)


def test_shorter_than_it_was() -> None:
    """A file that shrinks while it is read is refused."""
    with pytest.raises(AskPerson):
        Source(io.BytesIO(b"abc"), 10).take(5)


def test_size_leaves_the_stream_where_it_was() -> None:
    """Asking for the size moves nothing."""
    stream = io.BytesIO(b"abcdef")
    stream.seek(2)
    assert size_of(stream) == 6
    assert stream.tell() == 2
