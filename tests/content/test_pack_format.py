"""A second reader of packs and local objects, written from `docs/formats/pack.md` and nothing of `modelota`.

It shares no code with the room: GCM is put together from a block cipher in counter mode and a slow GHASH,
ChaCha20-Poly1305 from its two primitives.
"""

from __future__ import annotations

import hashlib
import hmac
import io
import struct
from typing import Any

import pytest
import zstandard
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

from modelota.content.local_seal import FRAME_BYTES, open_stream, seal_stream
from modelota.content.pack import PackOpener, PackWriter
from modelota.content.suites import SUITES

PACK_MAGIC = bytes.fromhex("894d4f5441504b0a")
LOCAL_MAGIC = bytes.fromhex("894d4f54414c530a")
NAMES = {1: "aes-256-gcm", 2: "chacha20-poly1305", 3: "sm4-gcm"}
every_suite = pytest.mark.parametrize("suite", SUITES)


def xor(one: bytes, two: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def times(x: int, y: int) -> int:
    """Multiply in GF(2^128) as SP 800-38D, 6.3 does."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (0xE1 << 120 if y & 1 else 0)
    return product


def gcm_open(block: type, key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    cipher = Cipher(block(key), modes.ECB())  # GCM's own part, not encryption
    subkey = int.from_bytes(cipher.encryptor().update(bytes(16)), "big")
    data, tag = sealed[:-16], sealed[-16:]
    padded = b"".join(part + bytes(-len(part) % 16) for part in (aad, data))
    state = 0
    for start in range(0, len(padded), 16):
        state = times(state ^ int.from_bytes(padded[start : start + 16], "big"), subkey)
    state = times(state ^ (len(aad) * 8 << 64 | len(data) * 8), subkey)
    mask = cipher.encryptor().update(nonce + b"\0\0\0\1")
    assert xor(state.to_bytes(16, "big"), mask) == tag, "tag"
    return Cipher(block(key), modes.CTR(nonce + b"\0\0\0\2")).decryptor().update(data)


def chacha_open(key: bytes, nonce: bytes, sealed: bytes, aad: bytes) -> bytes:
    data, tag = sealed[:-16], sealed[-16:]
    one_time = Cipher(algorithms.ChaCha20(key, bytes(4) + nonce), None).encryptor().update(bytes(32))
    authenticated = b"".join(part + bytes(-len(part) % 16) for part in (aad, data))
    authenticated += struct.pack("<QQ", len(aad), len(data))
    assert Poly1305.generate_tag(one_time, authenticated) == tag, "tag"
    return Cipher(algorithms.ChaCha20(key, b"\1\0\0\0" + nonce), None).decryptor().update(data)


def frame_open(suite: int, key: bytes, number: int, sealed: bytes, aad: bytes) -> bytes:
    nonce = number.to_bytes(12, "big")
    if suite == 2:
        return chacha_open(key, nonce, sealed, aad)
    return gcm_open(algorithms.AES256 if suite == 1 else algorithms.SM4, key, nonce, sealed, aad)


def read_pack(file: bytes, key: bytes, lengths: list[int]) -> list[bytes]:
    header = file[:16]
    assert header[:8] == PACK_MAGIC
    version, suite, flags = struct.unpack(">HHI", header[8:])
    assert (version, flags) == (1, 0)
    pack_id = blake3(key, derive_key_context="modelota 2026-11-24 pack id, format 1").digest()
    frames, offset = [], 16
    for number, length in enumerate(lengths):
        aad = header + pack_id + number.to_bytes(8, "big") + bytes([number == len(lengths) - 1])
        frames.append(frame_open(suite, key, number, file[offset : offset + length], aad))
        offset += length
    assert offset == len(file)
    return frames


def read_local(file: bytes, secret: bytes, object_id: str) -> bytes:
    header = file[:48]
    assert header[:8] == LOCAL_MAGIC
    version, suite, flags = struct.unpack(">HHI", header[8:16])
    assert (version, flags) == (1, 0)
    info = b"".join(
        len(field).to_bytes(2, "big") + field
        for field in (b"modelota local object, format 1", NAMES[suite].encode(), object_id.encode())
    )
    prk = hmac.digest(header[16:], secret, hashlib.sha256)
    key = hmac.digest(prk, info + b"\1", hashlib.sha256)[: 16 if suite == 3 else 32]
    frames = range(48, len(file), 1_048_576 + 16)
    return b"".join(
        frame_open(
            suite,
            key,
            number,
            file[start : start + 1_048_576 + 16],
            header + number.to_bytes(8, "big") + bytes([number == len(frames) - 1]),
        )
        for number, start in enumerate(frames)
    )


def becomes(codec: str, coded: bytes) -> bytes:
    return coded if codec == "raw" else zstandard.ZstdDecompressor().decompress(coded)


@every_suite
def test_second_reader_opens_what_the_writer_makes(suite: str) -> None:
    """A reader written from the page alone opens packs of every suite, long frames (vector code) and short ones."""
    frames = [b"first", bytes(range(256)) * 100 + b"odd", b"\0"]
    out = io.BytesIO()
    writer = PackWriter(out, suite)
    for frame in frames:
        writer.add(frame)
    closed = writer.close()
    assert read_pack(out.getvalue(), closed.key, [span.length_bytes for span in closed.frames]) == frames
    assert blake3(out.getvalue()).hexdigest() == closed.digest


@every_suite
def test_golden_packs(suite: str, golden: Any) -> None:
    """Golden packs are still written byte for byte, and opened by both readers."""
    case = golden(f"pack-{suite}")
    file, key = bytes.fromhex(case["pack"]), bytes.fromhex(case["key"])
    coded = [bytes.fromhex(frame["coded"]) for frame in case["frames"]]
    out = io.BytesIO()
    writer = PackWriter(out, suite, key=key)
    for frame in coded:
        writer.add(frame)
    closed = writer.close()
    assert out.getvalue() == file
    assert (closed.digest, closed.size_bytes) == (case["digest"], case["size_bytes"])
    assert closed.frames == tuple((frame["offset"], frame["length_bytes"]) for frame in case["frames"])
    assert read_pack(file, key, [frame["length_bytes"] for frame in case["frames"]]) == coded
    opener = PackOpener(key, suite, len(coded), case["digest"])
    for number, frame in enumerate(case["frames"]):
        opened = opener.open(number, file[frame["offset"] : frame["offset"] + frame["length_bytes"]])
        assert becomes(frame["codec"], opened) == bytes.fromhex(frame["plain"])


def test_the_worked_example(doc_blocks: Any) -> None:
    """The example on the page is what the writer makes."""
    pack_id, associated, file, digest = doc_blocks("pack.md")
    out = io.BytesIO()
    writer = PackWriter(out, "aes-256-gcm", key=bytes(range(32)))
    writer.add(b"modelota")
    writer.add(b"!")
    closed = writer.close()
    assert out.getvalue() == bytes.fromhex(file)
    assert closed.digest == digest
    assert closed.frames == ((16, 24), (40, 17))
    header = bytes.fromhex(file)[:16]
    assert bytes.fromhex(associated) == header + bytes.fromhex(pack_id) + (1).to_bytes(8, "big") + b"\1"
    assert read_pack(bytes.fromhex(file), bytes(range(32)), [24, 17]) == [b"modelota", b"!"]


@every_suite
def test_golden_local_objects(suite: str, golden: Any) -> None:
    """Golden local objects are still written byte for byte, and opened by both readers."""
    case = golden(f"local-{suite}")
    secret, object_id, sealed = bytes.fromhex(case["root_secret"]), case["object_id"], bytes.fromhex(case["sealed"])
    plain = bytes.fromhex(case["plain"])
    out = io.BytesIO()
    seal_stream(io.BytesIO(plain), out, secret, object_id, suite=suite, salt=bytes.fromhex(case["salt"]))
    assert out.getvalue() == sealed
    assert read_local(sealed, secret, object_id) == plain
    opened = io.BytesIO()
    assert open_stream(io.BytesIO(sealed), opened, secret, object_id) == len(plain)
    assert opened.getvalue() == plain


def test_second_reader_opens_several_local_frames() -> None:
    """The frame size and the numbering of local objects are the page's."""
    plain = bytes(FRAME_BYTES) + b"rest"
    out = io.BytesIO()
    seal_stream(io.BytesIO(plain), out, b"s" * 32, "kept/é", suite="chacha20-poly1305")
    assert read_local(out.getvalue(), b"s" * 32, "kept/é") == plain
