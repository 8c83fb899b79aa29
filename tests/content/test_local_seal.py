"""`modelota.content.local_seal`."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelota.content import local_seal
from modelota.content.local_seal import HEADER_BYTES, open_stream, seal_stream
from modelota.content.suites import SUITES, TAG_BYTES
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import MIB

ROOT = bytes(range(32))
NAME = "kept/acme/assistant/1.1.1"
every_suite = pytest.mark.parametrize("suite", SUITES)


@pytest.fixture
def small_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_seal, "FRAME_BYTES", 10)


def seal(plain: bytes, name: str = NAME, **options: object) -> bytes:
    out = io.BytesIO()
    assert seal_stream(io.BytesIO(plain), out, ROOT, name, **options) == len(plain)
    return out.getvalue()


def unseal(sealed: bytes, name: str = NAME, root: bytes = ROOT) -> bytes:
    out = io.BytesIO()
    assert open_stream(io.BytesIO(sealed), out, root, name) == len(out.getvalue())
    return out.getvalue()


def refused(sealed: bytes, name: str = NAME, root: bytes = ROOT, code: str = "object-damaged") -> RefuseContent:
    with pytest.raises(RefuseContent) as caught:
        open_stream(io.BytesIO(sealed), io.BytesIO(), root, name)
    assert caught.value.code == code, caught.value
    return caught.value


@given(st.binary(max_size=55), st.sampled_from(list(SUITES)))
def test_round_trip(plain: bytes, suite: str) -> None:
    """Every length around frame edges comes back, the empty object included."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_seal, "FRAME_BYTES", 10)
        sealed = seal(plain, suite=suite)
        assert unseal(sealed) == plain
        frames = max(1, -(-len(plain) // 10))
        assert len(sealed) == HEADER_BYTES + len(plain) + frames * TAG_BYTES


@every_suite
def test_every_flipped_bit_is_refused(suite: str, small_frames: None) -> None:
    """Each bit of header, salt, frames and tags matters."""
    sealed = seal(b"a secret of three frames", suite=suite)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        in_versions = 8 <= bit // 8 < 16
        with pytest.raises(RefuseContent) as caught:
            unseal(bytes(changed))
        assert caught.value.code in {"object-damaged", "document-needs-newer"}
        assert in_versions or caught.value.code == "object-damaged"


@pytest.mark.parametrize("plain", [b"", b"12345", b"1234567890", b"1234567890" * 3, b"1234567890" * 3 + b"12"])
def test_truncation_and_extension(plain: bytes, small_frames: None) -> None:
    """Cut off anywhere, at a frame's end too, or with anything after it, an object does not open."""
    sealed = seal(plain)
    for length in range(len(sealed)):
        refused(sealed[:length])
    for more in (b"\0", bytes(16), bytes(26), sealed[HEADER_BYTES:], sealed):
        refused(sealed + more)


def test_reordered_repeated_and_foreign_frames(small_frames: None) -> None:
    """Frames exchanged, repeated, dropped or taken from another sealing of the same object do not open."""
    plain = b"1234567890" * 4
    sealed, other = seal(plain), seal(plain)
    header, *frames = sealed[:HEADER_BYTES], *(sealed[n : n + 26] for n in range(HEADER_BYTES, len(sealed), 26))
    foreign = other[HEADER_BYTES : HEADER_BYTES + 26]
    assert len(frames) == 4
    a, b, c, d = frames
    assert unseal(header + a + b + c + d) == plain
    for order in ([b, a, c, d], [a, a, c, d], [a, c, d], [a, b, d], [b, c, d], [a, b, c], [foreign, b, c, d], [d]):
        refused(header + b"".join(order))
    assert refused(header + a + c + b + d).params == {"object": NAME, "frame": 1}


def test_bound_to_secret_and_name() -> None:
    """Another secret or another object's name does not open it."""
    sealed = seal(b"plain")
    assert unseal(sealed) == b"plain"
    refused(sealed, root=bytes(32))
    refused(sealed, name=NAME + "0")


def test_sealing_again_is_another_key() -> None:
    """The same object sealed twice shares no bytes after the fixed header, so no key and nonce meet twice."""
    one, two = seal(bytes(64)), seal(bytes(64))
    assert one[:16] == two[:16]
    assert one[16:48] != two[16:48]
    assert one[48:] != two[48:]


def test_nothing_unverified_is_written(small_frames: None) -> None:
    """What reaches the output before a refusal is exactly the frames before the damaged one."""
    sealed = bytearray(seal(b"1234567890abcdefghijklm"))
    sealed[HEADER_BYTES + 26] ^= 1
    out = io.BytesIO()
    with pytest.raises(RefuseContent):
        open_stream(io.BytesIO(sealed), out, ROOT, NAME)
    assert out.getvalue() == b"1234567890"


def test_headers() -> None:
    """A foreign or cut header is damage; a format, flag or suite from the future asks for a newer version."""
    sealed = seal(b"x")
    assert refused(b"").params == {"object": NAME, "frame": None}
    refused(b"\x89MOTAPK\n" + sealed[8:])
    for offset in (9, 11, 15):
        changed = bytearray(sealed)
        changed[offset] = 0x63
        refused(bytes(changed), code="document-needs-newer")


def test_arguments() -> None:
    """A short secret, a missing or endless name, and a salt of the wrong length are our bugs."""
    for root, name, salt in ((bytes(31), NAME, None), (ROOT, "", None), (ROOT, "é" * 513, None), (ROOT, NAME, b"s")):
        with pytest.raises(OurBug):
            seal_stream(io.BytesIO(), io.BytesIO(), root, name, salt=salt)
    with pytest.raises(RefuseContent):
        seal_stream(io.BytesIO(), io.BytesIO(), ROOT, NAME, suite="rot13")


def test_trickling_streams(trickle: Any) -> None:
    """Streams that give and take a few bytes at a time make the same object."""
    out = trickle()
    seal_stream(trickle(b"a stream of more than seven bytes"), out, ROOT, NAME)
    opened = trickle()
    open_stream(trickle(bytes(out.data)), opened, ROOT, NAME)
    assert bytes(opened.data) == b"a stream of more than seven bytes"


def test_bounded_memory(zeros: Any, peak_below: Any, tmp_path: Path) -> None:
    """Sealing and opening 64 MiB takes the memory of a few frames."""
    path = tmp_path / "sealed"
    with path.open("wb") as out, peak_below(5 * MIB):
        assert seal_stream(zeros(64 * MIB), out, ROOT, NAME) == 64 * MIB
    with path.open("rb") as sealed, peak_below(5 * MIB):
        assert open_stream(sealed, zeros(), ROOT, NAME) == 64 * MIB
