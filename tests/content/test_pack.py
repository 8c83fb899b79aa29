"""`modelota.content.pack`."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import pack as packs
from modelota.content.digest import Digester
from modelota.content.pack import HEADER_BYTES, ClosedPack, PackOpener, PackWriter, check_pack
from modelota.content.suites import SUITES, TAG_BYTES
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import FRAMES_MAX, MIB
from modelota.spec.manifest import KeyWrap, Pack

names = st.sampled_from(list(SUITES))
every_suite = pytest.mark.parametrize("suite", SUITES)


def whole(frames: list[bytes], suite: str = "aes-256-gcm") -> tuple[bytes, ClosedPack, PackOpener]:
    out = io.BytesIO()
    writer = PackWriter(out, suite)
    for frame in frames:
        writer.add(frame)
    closed = writer.close()
    return out.getvalue(), closed, PackOpener(closed.key, closed.suite, len(frames), closed.digest)


def entry(closed: ClosedPack, **changes: object) -> Pack:
    wrap = KeyWrap(recipient="hub", epoch=1, kem="x25519", sealed=b"")
    fields = {
        "digest": closed.digest,
        "size_bytes": closed.size_bytes,
        "frames": len(closed.frames),
        "suite": closed.suite,
        "wraps": (wrap,),
    }
    return Pack(**(fields | changes))


def cut(data: bytes, span: packs.FrameSpan) -> bytes:
    return data[span.offset : span.offset + span.length_bytes]


def refused(code: str, call: Callable[..., object], *args: object) -> RefuseContent:
    with pytest.raises(RefuseContent) as caught:
        call(*args)
    assert caught.value.code == code, caught.value
    return caught.value


@given(names, st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=10), st.randoms())
def test_round_trip(suite: str, frames: list[bytes], random: Random) -> None:
    """Frames open in any order, spans cover the file without gaps, and the file passes the audit."""
    data, closed, opener = whole(frames, suite)
    numbers = list(range(len(frames)))
    random.shuffle(numbers)
    for number in numbers:
        assert opener.open(number, memoryview(data)[slice_of(closed.frames[number])]) == frames[number]
    assert closed.frames[0].offset == HEADER_BYTES
    assert all(one.offset + one.length_bytes == two.offset for one, two in pairwise(closed.frames))
    assert sum(closed.frames[-1]) == len(data) == closed.size_bytes
    check_pack(io.BytesIO(data), entry(closed))


def slice_of(span: packs.FrameSpan) -> slice:
    return slice(span.offset, span.offset + span.length_bytes)


def test_size_includes_the_frame_held_back() -> None:
    """`size_bytes` is at every moment what the pack would have if closed now."""
    out = io.BytesIO()
    writer = PackWriter(out)
    expected = HEADER_BYTES
    assert (writer.size_bytes, writer.frames) == (expected, 0)
    for number in range(4):
        writer.add(b"x" * (number + 1))
        expected += number + 1 + TAG_BYTES
        assert (writer.size_bytes, writer.frames) == (expected, number + 1)
        assert len(out.getvalue()) < expected
    assert writer.close().size_bytes == expected == len(out.getvalue())


@every_suite
def test_every_flipped_bit_is_refused(suite: str) -> None:
    """Each single bit of each frame of a pack matters."""
    data, closed, opener = whole([b"first", b"second frame", b"3"], suite)
    for number, span in enumerate(closed.frames):
        sealed = cut(data, span)
        for bit in range(8 * len(sealed)):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            error = refused("pack-tampered", opener.open, number, changed)
            assert error.params == {"pack": closed.digest, "frame": number}


@every_suite
def test_frames_open_only_in_their_place(suite: str) -> None:
    """Swapped frames, and frames of another pack, are refused even when the contents are equal."""
    frames = [b"same", b"same", b"same"]
    data, closed, opener = whole(frames, suite)
    other, other_closed, _ = whole(frames, suite)
    for here in range(3):
        for there in range(3):
            if here != there:
                refused("pack-tampered", opener.open, here, cut(data, closed.frames[there]))
        refused("pack-tampered", opener.open, here, cut(other, other_closed.frames[here]))


@every_suite
def test_the_last_frame_is_marked(suite: str) -> None:
    """A middle frame presented as the last, and the last one as a middle frame, are refused."""
    data, closed, _ = whole([b"one", b"two", b"three"], suite)
    shorter = PackOpener(closed.key, suite, 2, closed.digest)
    refused("pack-tampered", shorter.open, 1, cut(data, closed.frames[1]))
    longer = PackOpener(closed.key, suite, 4, closed.digest)
    refused("pack-tampered", longer.open, 2, cut(data, closed.frames[2]))
    assert longer.open(1, cut(data, closed.frames[1])) == b"two"


def test_frames_are_bound_to_suite_and_pack_key() -> None:
    """A frame of one suite does not open as one of the other with the same key; nor with another key."""
    key = bytes(range(32))
    out = io.BytesIO()
    writer = PackWriter(out, "aes-256-gcm", key=key)
    writer.add(b"only")
    closed = writer.close()
    sealed = out.getvalue()[HEADER_BYTES:]
    assert PackOpener(key, "aes-256-gcm", 1, closed.digest).open(0, sealed) == b"only"
    refused("pack-tampered", PackOpener(key, "chacha20-poly1305", 1, closed.digest).open, 0, sealed)
    refused("pack-tampered", PackOpener(bytes(32), "aes-256-gcm", 1, closed.digest).open, 0, sealed)


def test_cut_and_impossible_frames() -> None:
    """Cut-off frames fail the tag; lengths and numbers that cannot be are refused before any decryption."""
    data, closed, opener = whole([b"one", b"the last"])
    sealed = cut(data, closed.frames[1])
    for length in range(17, len(sealed)):
        refused("pack-tampered", opener.open, 1, sealed[:length])
    for length in range(17):
        refused("pack-invalid", opener.open, 1, sealed[:length])
    refused("pack-tampered", opener.open, 1, sealed + b"\0")
    refused("pack-invalid", opener.open, 1, bytes(packs.SEALED_MAX_BYTES + 1))
    refused("pack-invalid", opener.open, 2, sealed)
    refused("pack-invalid", opener.open, -1, sealed)


def test_opener_checks_what_the_manifest_says() -> None:
    """A key that does not fit the suite, an impossible count, and a suite from the future are refused at once."""
    refused("pack-invalid", PackOpener, bytes(16), "aes-256-gcm", 1, "d")
    refused("pack-invalid", PackOpener, bytes(32), "sm4-gcm", 1, "d")
    refused("pack-invalid", PackOpener, bytes(32), "aes-256-gcm", 0, "d")
    refused("pack-invalid", PackOpener, bytes(32), "aes-256-gcm", FRAMES_MAX + 1, "d")
    refused("document-needs-newer", PackOpener, bytes(32), "aes-512", 1, "d")


def test_limits_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty and oversized frames, too many frames and too large packs are never written."""
    writer = PackWriter(io.BytesIO())
    with pytest.raises(OurBug):
        writer.close()
    with pytest.raises(OurBug):
        writer.add(b"")
    with pytest.raises(OurBug):
        writer.add(bytes(packs.SEALED_MAX_BYTES - TAG_BYTES + 1))
    writer.add(bytes(packs.SEALED_MAX_BYTES - TAG_BYTES))
    monkeypatch.setattr(packs, "PACK_MAX_BYTES", writer.size_bytes + 17)
    writer.add(b"x")
    with pytest.raises(OurBug):
        writer.add(b"x")
    monkeypatch.setattr(packs, "PACK_MAX_BYTES", 1 << 30)
    monkeypatch.setattr(packs, "FRAMES_MAX", 3)
    writer.add(b"x")
    with pytest.raises(OurBug):
        writer.add(b"x")
    assert len(writer.close().frames) == 3


def test_every_writer_has_its_own_key() -> None:
    """Two packs of the same frames share neither key nor bytes, and the key is not shown."""
    one, first, _ = whole([b"same"])
    two, second, _ = whole([b"same"])
    assert first.key != second.key
    assert one[HEADER_BYTES:] != two[HEADER_BYTES:]
    assert str(first.key) not in repr(first)


class FailsAt(io.BytesIO):
    def __init__(self, nth: int) -> None:
        super().__init__()
        self.left = nth

    def write(self, data: Any) -> int:
        self.left -= 1
        if self.left == 0:
            raise OSError(28, "full")
        return super().write(data)


@pytest.mark.parametrize("nth", [2, 3])
def test_a_writer_that_failed_is_finished(nth: int) -> None:
    """After an error no frame number is sealed again under the key, and the key is not given out."""
    out = FailsAt(nth)
    writer = PackWriter(out)
    for _ in range(nth - 1):
        writer.add(b"fits")
    with pytest.raises(OSError, match="full"):
        writer.add(b"does not")
    written = out.getvalue()
    with pytest.raises(OurBug):
        writer.add(b"again")
    with pytest.raises(OurBug):
        writer.close()
    assert out.getvalue() == written


def test_a_closed_writer_is_finished() -> None:
    """Nothing can follow the last frame."""
    writer = PackWriter(io.BytesIO())
    writer.add(b"one")
    writer.close()
    with pytest.raises(OurBug):
        writer.add(b"two")
    with pytest.raises(OurBug):
        writer.close()


def test_short_writes(trickle: Any) -> None:
    """An output that takes a few bytes at a time gets the whole pack."""
    out = trickle()
    writer = PackWriter(out, key=bytes(32))
    writer.add(b"a frame of more than seven bytes")
    closed = writer.close()
    check_pack(io.BytesIO(bytes(out.data)), entry(closed))


def test_bounded_memory(zeros: Any, peak_below: Any) -> None:
    """A pack of 96 MiB is written in the memory of a few frames and checked in that of a few buffers."""
    frame = bytes(MIB)
    with peak_below(6 * MIB):
        writer = PackWriter(zeros())
        for _ in range(96):
            writer.add(frame)
        closed = writer.close()
    stated = entry(closed)
    with peak_below(10 * MIB):
        refused("pack-invalid", check_pack, zeros(closed.size_bytes), stated)


def test_audit_finds_every_flip_and_cut(tmp_path: Path) -> None:
    """Without the key, each flipped bit of the file, each missing and each added byte is found, by path or stream."""
    data, closed, _ = whole([b"one", b"two"])
    stated = entry(closed)
    path = tmp_path / "pack"
    path.write_bytes(data)
    check_pack(path, stated)
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        refused("pack-invalid", check_pack, io.BytesIO(changed), stated)
    for length in range(len(data)):
        refused("pack-invalid", check_pack, io.BytesIO(data[:length]), stated)
    refused("pack-invalid", check_pack, io.BytesIO(data + b"\0"), stated)


def test_audit_stops_reading(zeros: Any) -> None:
    """An endless file is read no further than one byte past its stated size."""
    _, closed, _ = whole([b"one"])
    endless = zeros(1 << 60)
    refused("pack-invalid", check_pack, endless, entry(closed))
    assert (1 << 60) - endless.left_bytes == closed.size_bytes + 1


@pytest.mark.parametrize(
    ("offset", "value", "code"),
    [
        (0, b"\x88", "pack-invalid"),
        (9, b"\x02", "document-needs-newer"),
        (11, b"\x02", "pack-invalid"),
        (11, b"\x63", "document-needs-newer"),
        (15, b"\x01", "document-needs-newer"),
    ],
)
def test_audit_reads_the_header(offset: int, value: bytes, code: str) -> None:
    """A header that the manifest does not bear out is refused though digest and size agree."""
    data, closed, _ = whole([b"one"])
    changed = data[:offset] + value + data[offset + 1 :]
    digest = Digester()
    digest.update(changed)
    refused(code, check_pack, io.BytesIO(changed), entry(closed, digest=digest.hexdigest()))


def test_audit_compares_frames_with_size() -> None:
    """A count of frames that the file has no room for is refused, and so is a file shorter than a header."""
    data, closed, _ = whole([b"one"])
    refused("pack-invalid", check_pack, io.BytesIO(data), entry(closed, frames=3))
    digest = Digester()
    digest.update(data[:10])
    refused("pack-invalid", check_pack, io.BytesIO(data[:10]), entry(closed, size_bytes=10, digest=digest.hexdigest()))
