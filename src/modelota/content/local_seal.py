"""Sealing what stays on the device: kept versions, backups (`docs/formats/pack.md`, "Sealed local objects").

Same construction as a pack, for one stream of unknown length under one secret of the device: a key for each sealing,
derived from the secret, the object's name and a fresh salt; frames with counter nonces; the last one marked. So a
stream that was cut off, extended, or has frames exchanged, repeated or taken from elsewhere does not open.

`seal_stream` and `open_stream` take whole objects. `FrameCipher` and `SealedReader` take frames of files: a slot's file
is sealed as it is assembled, and its chunks are read one by one.
"""

from __future__ import annotations

import os
import secrets
import struct
from collections.abc import Iterator
from typing import BinaryIO, Final, Self

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
    cipher = FrameCipher.fresh(root_secret, object_id, suite=suite, salt=salt)
    _write(dst, cipher.header)
    size_bytes = 0
    frame = 0
    plain = read_exactly(src, FRAME_BYTES)
    while True:
        following = read_exactly(src, FRAME_BYTES) if len(plain) == FRAME_BYTES else b""
        last = not following
        _write(dst, cipher.seal(frame, plain, last=last))
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
    cipher = FrameCipher.of(read_exactly(src, HEADER_BYTES), root_secret, object_id)
    size_bytes = 0
    sealed = read_exactly(src, FRAME_BYTES + TAG_BYTES)
    frame = 0
    while True:
        following = read_exactly(src, FRAME_BYTES + TAG_BYTES) if len(sealed) == FRAME_BYTES + TAG_BYTES else b""
        last = not following
        plain = cipher.open(frame, sealed, last=last)
        _write(dst, plain)
        size_bytes += len(plain)
        if last:
            return size_bytes
        frame += 1
        sealed = following


def frame_count(size_bytes: int) -> int:
    """Frames of an object of `size_bytes` plain bytes; an empty one has one."""
    return max(1, -(-size_bytes // FRAME_BYTES))


def sealed_size(size_bytes: int) -> int:
    """Bytes of the sealed form of an object of `size_bytes` plain bytes."""
    return HEADER_BYTES + size_bytes + frame_count(size_bytes) * TAG_BYTES


class FrameCipher:
    """Seals and opens the frames of one object, in any order.

    Sealing one frame twice under one header uses a key and nonce twice. That gives nothing away as long as the plain
    bytes are the same both times: whoever seals frames again binds the object's name to its content (a digest).

    Attributes:
        header: what the sealed object begins with.
    """

    def __init__(self, header: bytes, suite: Suite, key: bytes, object_id: str) -> None:
        self.header: Final = header
        self._suite = suite
        self._key = key
        self._object_id = object_id

    @classmethod
    def fresh(cls, root_secret: bytes, object_id: str, *, suite: str = DEFAULT, salt: bytes | None = None) -> Self:
        """For a new sealing, with a key of its own. Parameters and errors as of `seal_stream`."""
        chosen = suite_named(suite)
        salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
        key = _derive(chosen, root_secret, object_id, salt)
        return cls(_HEAD.pack(MAGIC, FORMAT, chosen.number, 0, salt), chosen, key, object_id)

    @classmethod
    def of(cls, header: bytes, root_secret: bytes, object_id: str) -> Self:
        """For the object that begins with `header`.

        Raises:
            RefuseContent: `object-damaged` (frame None), `document-needs-newer`.
            OurBug: `invariant-broken`: the secret is too short, or the name too long.
        """
        if len(header) != HEADER_BYTES or not header.startswith(MAGIC):
            raise RefuseContent("object-damaged", object=object_id, frame=None)
        _, number, suite_number, flags, salt = _HEAD.unpack(header)
        if number != FORMAT or flags:
            field = f"format {number}" if number != FORMAT else f"flags {flags:#x}"
            raise RefuseContent("document-needs-newer", document="local object", field=field)
        suite = suite_numbered(suite_number, document="local object")
        return cls(header, suite, _derive(suite, root_secret, object_id, salt), object_id)

    def seal(self, frame: int, plain: bytes | memoryview, *, last: bool) -> bytes:
        """Seal frame `frame`; only the last one may hold other than `FRAME_BYTES`."""
        return self._suite.seal(self._key, _nonce(frame), plain, self.header + _PLACE.pack(frame, last))

    def open(self, frame: int, sealed: bytes, *, last: bool) -> bytes:
        """Open frame `frame`.

        Raises:
            RefuseContent: `object-damaged` with the frame.
        """
        try:
            return self._suite.open(self._key, _nonce(frame), sealed, self.header + _PLACE.pack(frame, last))
        except TagMismatchError as error:
            raise RefuseContent("object-damaged", object=self._object_id, frame=frame) from error


class SealedReader:
    """Reads ranges of a sealed object through an open descriptor. Not thread-safe; keeps one frame in memory.

    Args:
        descriptor: of the object; stays the caller's.
        root_secret: as it was sealed with.
        object_id: as it was sealed with.
        size_bytes: plain bytes that the object should have; None takes them from its length. Reading a range proves
            nothing about the frames outside it: whoever needs the whole object reads all of it.

    Raises:
        OSError: reading fails.
        RefuseContent: as `FrameCipher.of`.
    """

    def __init__(self, descriptor: int, root_secret: bytes, object_id: str, size_bytes: int | None = None) -> None:
        self._descriptor = descriptor
        self._object_id = object_id
        self._cipher = FrameCipher.of(os.pread(descriptor, HEADER_BYTES, 0), root_secret, object_id)
        if size_bytes is None:
            size_bytes = _plain_size(os.fstat(descriptor).st_size, object_id)
        self.size_bytes: Final = size_bytes
        self._frames = frame_count(size_bytes)
        self._held: tuple[int, bytes] = (-1, b"")

    def frame(self, number: int) -> bytes:
        """The plain bytes of one frame.

        Raises:
            OSError: reading fails.
            RefuseContent: `object-damaged`.
        """
        if self._held[0] != number:
            start = HEADER_BYTES + number * (FRAME_BYTES + TAG_BYTES)
            size_bytes = min(FRAME_BYTES, self.size_bytes - number * FRAME_BYTES)
            sealed = os.pread(self._descriptor, size_bytes + TAG_BYTES, start)
            self._held = (number, self._cipher.open(number, sealed, last=number == self._frames - 1))
        return self._held[1]

    def read(self, offset: int, size_bytes: int) -> bytes:
        """`size_bytes` plain bytes from `offset` on; fewer at the end. Every frame they lie in is verified.

        Raises:
            OSError: reading fails.
            RefuseContent: `object-damaged`.
        """
        end = min(offset + size_bytes, self.size_bytes)
        pieces = []
        while offset < end:
            number, start = divmod(offset, FRAME_BYTES)
            piece = self.frame(number)[start : start + end - offset]
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def frames(self) -> Iterator[bytes]:
        """All frames in order: the whole object, each frame verified before it is handed out.

        Raises:
            OSError: reading fails.
            RefuseContent: `object-damaged`.
        """
        for number in range(self._frames):
            yield self.frame(number)


def _plain_size(sealed_bytes: int, object_id: str) -> int:
    frames = max(1, -(-(sealed_bytes - HEADER_BYTES) // (FRAME_BYTES + TAG_BYTES)))
    size_bytes = sealed_bytes - HEADER_BYTES - frames * TAG_BYTES
    if size_bytes < 0:
        raise RefuseContent("object-damaged", object=object_id, frame=None)
    return size_bytes


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
