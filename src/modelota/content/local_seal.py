"""Sealing what stays on the device: kept versions, backups (`docs/formats/pack.md`, "Sealed local objects").

Same construction as a pack, for one stream of unknown length under one secret of the device: a key for each sealing,
derived from the secret, the object's name and a fresh salt; frames with counter nonces; the last one marked. So a
stream that was cut off, extended, or has frames exchanged, repeated or taken from elsewhere does not open.
"""

from __future__ import annotations

import secrets
import struct
from typing import BinaryIO, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from modelota.content.chunking import read_exactly
from modelota.content.suites import (
    DEFAULT,
    NONCE_BYTES,
    TAG_BYTES,
    Suite,
    TagMismatchError,
    suite_named,
    suite_numbered,
)
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import MIB

MAGIC: Final = b"\x89MOTALS\n"
FORMAT: Final = 1
FRAME_BYTES: Final = 1 * MIB
SALT_BYTES: Final = 32
SECRET_MIN_BYTES: Final = 32
OBJECT_ID_MAX_BYTES: Final = 1024

_HEAD: Final = struct.Struct(f">8sHHI{SALT_BYTES}s")  # magic, format, suite, flags, salt
_PLACE: Final = struct.Struct(">QB")
_PURPOSE: Final = b"modelota local object, format 1"
HEADER_BYTES: Final = _HEAD.size


def seal_stream(
    src: BinaryIO,
    dst: BinaryIO,
    root_secret: bytes,
    object_id: str,
    *,
    suite: str = DEFAULT,
    salt: bytes | None = None,
) -> int:
    """Seal `src`, from where it stands to its end, into `dst`; returns how many plain bytes that were.

    Holds two frames of `FRAME_BYTES` in memory. Sealing the same object again is safe: every sealing has its own key.

    Args:
        src: plain bytes.
        dst: where the sealed object goes; not flushed or closed.
        root_secret: at least 32 random bytes, kept outside the object.
        object_id: what the object is, at most 1024 bytes in UTF-8; opening demands the same.
        suite: a key of `SUITES`.
        salt: for golden files only: a given salt in place of a fresh one.

    Raises:
        OSError: reading or writing fails; what was written so far does not open.
        OurBug: `invariant-broken`: the secret is too short, or the name too long.
        RefuseContent: `document-needs-newer`: no such suite.
    """
    chosen = suite_named(suite)
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    header = _HEAD.pack(MAGIC, FORMAT, chosen.number, 0, salt)
    key = _derive(chosen, root_secret, object_id, salt)
    _write(dst, header)
    size_bytes = 0
    frame = 0
    plain = read_exactly(src, FRAME_BYTES)
    while True:
        following = read_exactly(src, FRAME_BYTES) if len(plain) == FRAME_BYTES else b""
        last = not following
        _write(dst, chosen.seal(key, _nonce(frame), plain, header + _PLACE.pack(frame, last)))
        size_bytes += len(plain)
        if last:
            return size_bytes
        frame += 1
        plain = following


def open_stream(src: BinaryIO, dst: BinaryIO, root_secret: bytes, object_id: str) -> int:
    """Open a sealed object from `src` into `dst`; returns how many plain bytes came out.

    Each frame is written to `dst` only after its own tag verified, but that nothing is missing is known only at the
    end: until this returns, what is in `dst` must not be used, and after an error it must be removed.

    Raises:
        OSError: reading or writing fails.
        RefuseContent: `object-damaged` with the frame that does not open (another secret, another name, changed, cut
            off, or out of order), or None for the header; `document-needs-newer` (format, flags or suite unknown here).
        OurBug: `invariant-broken`: the secret is too short, or the name too long.
    """
    header = read_exactly(src, HEADER_BYTES)
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        raise RefuseContent("object-damaged", object=object_id, frame=None)
    _, number, suite_number, flags, salt = _HEAD.unpack(header)
    if number != FORMAT or flags:
        field = f"format {number}" if number != FORMAT else f"flags {flags:#x}"
        raise RefuseContent("document-needs-newer", document="local object", field=field)
    suite = suite_numbered(suite_number, document="local object")
    key = _derive(suite, root_secret, object_id, salt)
    size_bytes = 0
    sealed = read_exactly(src, FRAME_BYTES + TAG_BYTES)
    frame = 0
    while True:
        following = read_exactly(src, FRAME_BYTES + TAG_BYTES) if len(sealed) == FRAME_BYTES + TAG_BYTES else b""
        last = not following
        try:
            plain = suite.open(key, _nonce(frame), sealed, header + _PLACE.pack(frame, last))
        except TagMismatchError as error:
            raise RefuseContent("object-damaged", object=object_id, frame=frame) from error
        _write(dst, plain)
        size_bytes += len(plain)
        if last:
            return size_bytes
        frame += 1
        sealed = following


def _derive(suite: Suite, root_secret: bytes, object_id: str, salt: bytes) -> bytes:
    name = object_id.encode()
    if len(root_secret) < SECRET_MIN_BYTES or len(salt) != SALT_BYTES or not 1 <= len(name) <= OBJECT_ID_MAX_BYTES:
        raise OurBug("invariant-broken", detail=f"secret {len(root_secret)}, salt {len(salt)}, name {len(name)} bytes")
    fields = (_PURPOSE, suite.name.encode(), name)
    info = b"".join(struct.pack(">H", len(field)) + field for field in fields)
    return HKDF(algorithm=SHA256(), length=suite.key_bytes, salt=salt, info=info).derive(root_secret)


def _nonce(frame: int) -> bytes:
    return frame.to_bytes(NONCE_BYTES, "big")


def _write(out: BinaryIO, data: bytes) -> None:
    view = memoryview(data)
    while view:  # an unbuffered file may take less than it is given
        view = view[out.write(view) :]
