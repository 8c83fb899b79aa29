"""`modelota.content.coding`."""

from __future__ import annotations

import io
import os
import random
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import coding
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES, KIB, MIB


def refused(code: str, codec: str, coded: bytes, size_bytes: int) -> RefuseContent:
    with pytest.raises(RefuseContent) as caught:
        coding.decode(codec, coded, size_bytes, pack="p")
    assert caught.value.code == code, caught.value
    return caught.value


def frame(content: bytes, *, stated: int, window_log: int) -> bytes:
    """A Zstandard frame by hand (RFC 8878, 3.1.1): one raw block, a window descriptor, a four-byte content size."""
    block = (len(content) << 3 | 1).to_bytes(3, "little") + content
    return b"\x28\xb5\x2f\xfd\x80" + bytes([(window_log - 10) << 3]) + stated.to_bytes(4, "little") + block


@given(st.one_of(st.binary(min_size=1, max_size=3000), st.integers(1, 5000).map(lambda count: b"weights " * count)))
def test_round_trip(plain: bytes) -> None:
    """Whatever the trial decides, the chunk comes back, and coding never lengthens it."""
    codec, coded = coding.encode(plain)
    assert coding.decode(codec, coded, len(plain)) == plain
    assert len(coded) <= len(plain)


@pytest.mark.parametrize("size_bytes", [1, 100, 200 * KIB, 300 * KIB, CHUNK_MAX_BYTES])
def test_random_bytes_stay_raw(size_bytes: int) -> None:
    """Incompressible chunks of any size are stored as they are."""
    plain = random.Random(size_bytes).randbytes(size_bytes)
    assert coding.encode(plain) == ("raw", plain)


def test_incompressible_weights_are_not_compressed_at_full_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a large incompressible chunk the compressor only ever sees the samples."""
    seen = []
    real = zstandard.ZstdCompressor

    class Counting:
        def __init__(self, **options: Any) -> None:
            self.inner = real(**options)

        def compress(self, data: bytes) -> bytes:
            seen.append(len(data))
            return self.inner.compress(data)

    monkeypatch.setattr(coding.zstandard, "ZstdCompressor", Counting)
    coding.encode(os.urandom(CHUNK_MAX_BYTES))
    assert seen == [64 * KIB]
    seen.clear()
    coding.encode(bytes(CHUNK_MAX_BYTES))
    assert seen == [64 * KIB, CHUNK_MAX_BYTES]


def test_a_small_saving_is_not_worth_it() -> None:
    """A chunk that shrinks by a twentieth is compressed, one that shrinks by a hundredth is not."""
    noise = random.Random(1).randbytes(100 * KIB)
    assert coding.encode(noise + bytes(5 * KIB + 200))[0] == "zstd"
    assert coding.encode(noise + bytes(KIB))[0] == "raw"


def test_half_float_weights_are_compressed() -> None:
    """Weights in bf16, whose exponents repeat, pass the samples and are compressed."""
    numbers = random.Random(2)
    plain = b"".join(bytes([numbers.randrange(256), numbers.choice((0x3C, 0xBC, 0x3D))]) for _ in range(256 * KIB))
    codec, coded = coding.encode(plain)
    assert codec == "zstd"
    assert len(coded) < 0.75 * len(plain)


def test_chunk_limits() -> None:
    """An empty or oversized chunk is never coded, and never promised by a manifest that is believed."""
    for plain in (b"", bytes(CHUNK_MAX_BYTES + 1)):
        with pytest.raises(OurBug):
            coding.encode(plain)
    refused("decode-limit", "raw", b"", 0)
    refused("decode-limit", "zstd", b"", CHUNK_MAX_BYTES + 1)


def test_exact_size_is_demanded() -> None:
    """One byte more is over the limit, one byte fewer is invalid, for both codecs."""
    for codec, coded in (("raw", b"x" * 500), ("zstd", zstandard.compress(b"x" * 500))):
        assert coding.decode(codec, coded, 500) == b"x" * 500
        assert refused("decode-limit", codec, coded, 499).params == {"limit_bytes": 499}
        assert refused("pack-invalid", codec, coded, 501).params["pack"] == "p"


def test_bomb_reserves_nothing(peak_below: Any) -> None:
    """A few kilobytes that would become a gigabyte are refused before memory is reserved for them."""
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * MIB))
    bigger = frame(b"x", stated=(1 << 32) - 1, window_log=20)
    assert len(bomb) < 10_000
    with peak_below(100_000):
        refused("decode-limit", "zstd", bomb, 1000)
        refused("decode-limit", "zstd", bigger, CHUNK_MAX_BYTES)


def test_frames_by_hand() -> None:
    """A frame that states too little, too much, or needs too large a window is refused; an honest one is not."""
    honest = frame(b"12345678", stated=8, window_log=23)
    assert coding.decode("zstd", honest, 8) == b"12345678"
    refused("decode-limit", "zstd", frame(b"12345678", stated=8, window_log=24), 8)
    refused("pack-invalid", "zstd", frame(b"12345678", stated=7, window_log=20), 7)
    refused("pack-invalid", "zstd", frame(b"12345678", stated=9, window_log=20), 9)


def test_a_bomb_that_lies_about_its_size(peak_below: Any) -> None:
    """A frame that states one kilobyte and holds megabytes of zeros stops at what it stated."""
    honest = zstandard.ZstdCompressor().compress(bytes(4 * MIB))
    assert honest[4] & 0xC0 == 0x80  # four-byte content size in a single segment
    liar = honest[:5] + (1024).to_bytes(4, "little") + honest[9:]
    with peak_below(100_000):
        refused("pack-invalid", "zstd", liar, 1024)


def test_unstated_size_is_refused() -> None:
    """A frame without content size is refused though it would decode to the right size."""
    out = io.BytesIO()
    with zstandard.ZstdCompressor(write_content_size=False).stream_writer(out, closefd=False) as writer:
        writer.write(b"x" * 100)
    refused("pack-invalid", "zstd", out.getvalue(), 100)


@pytest.mark.parametrize(
    "coded",
    [
        b"",
        b"plain text, not zstd",
        zstandard.compress(b"x" * 100)[:-1],
        zstandard.compress(b"x" * 100) + b"\0",
        zstandard.compress(b"x" * 50) + zstandard.compress(b"x" * 50),
        b"\x50\x2a\x4d\x18\x04\0\0\0skip" + zstandard.compress(b"x" * 100),
    ],
)
def test_malformed_frames(coded: bytes) -> None:
    """What is not exactly one frame is refused."""
    refused("pack-invalid", "zstd", coded, 100)


@given(st.binary(max_size=200), st.integers(1, 1000))
def test_any_bytes(coded: bytes, size_bytes: int) -> None:
    """Any bytes at all decode to exactly the size, or are refused with a code."""
    for start in (b"", b"\x28\xb5\x2f\xfd"):
        try:
            found = coding.decode("zstd", start + coded, size_bytes)
        except RefuseContent as error:
            refusals = {error.code}
        else:
            refusals = set()
            assert len(found) == size_bytes
        assert refusals <= {"pack-invalid", "decode-limit"}


def test_unknown_codecs() -> None:
    """A codec from the future asks for a newer version; what cannot be a codec's name is invalid."""
    assert refused("document-needs-newer", "delta-1", b"x", 1).params == {
        "document": "manifest",
        "field": "codec delta-1",
    }
    refused("pack-invalid", "../etc\n", b"x", 1)
    refused("pack-invalid", "", b"x", 1)
