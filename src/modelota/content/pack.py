"""Packs: immutable files of sealed frames (`docs/formats/pack.md`).

A pack is a 16-byte plain header and frames. Each frame opens alone, given the pack's key, its suite, the number of its
frames, and its own number: a device that fetches one frame by range needs neither the header nor any other frame.

Nothing here knows what a frame holds; `modelota.content.coding` turns an opened frame into a chunk.
"""

from __future__ import annotations

import struct
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from blake3 import blake3

from modelota.content.digest import BUFFER_BYTES, Digester, Octets
from modelota.content.suites import (
    DEFAULT,
    NONCE_BYTES,
    SUITES,
    TAG_BYTES,
    Suite,
    TagMismatchError,
    suite_named,
    suite_numbered,
)
from modelota.errors import OurBug, RefuseContent
from modelota.spec.limits import CHUNK_MAX_BYTES, FRAMES_MAX, KIB, PACK_MAX_BYTES
from modelota.spec.manifest import Pack

MAGIC: Final = b"\x89MOTAPK\n"  # not text, and damaged by anything that converts line ends or clears the eighth bit
FORMAT: Final = 1
SEALED_MAX_BYTES: Final = CHUNK_MAX_BYTES + 64 * KIB
SEALED_MIN_BYTES: Final = TAG_BYTES + 1

_HEADER: Final = struct.Struct(">8sHHI")  # magic, format, suite, flags
_PLACE: Final = struct.Struct(">QB")  # frame number, whether it is the last
_ID_CONTEXT: Final = "modelota 2026-11-24 pack id, format 1"
HEADER_BYTES: Final = _HEADER.size


class FrameSpan(NamedTuple):
    """Where a sealed frame lies in its pack: `length_bytes` from `offset`, tag included."""

    offset: int
    length_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedPack:
    """What is known about a pack once it is complete.

    Attributes:
        digest: BLAKE3 of the whole file.
        size_bytes: of the whole file.
        frames: where each frame lies, by number.
        suite: name of its suite.
        key: its key; to be wrapped, never stored or printed.
    """

    digest: str
    size_bytes: int
    frames: tuple[FrameSpan, ...]
    suite: str
    key: bytes = field(repr=False)


class PackWriter:
    """Writes one pack to `out`, front to back, under a key of its own.

    The newest frame is held back until the next one or the end, because its seal says whether it is the last. So at
    most one coded frame is in memory. A writer that failed once refuses everything after: its key is never used to seal
    a frame number again. The key is given out only by `close`.

    Args:
        out: where to write; never sought, read, flushed or closed.
        suite: a key of `SUITES`.
        key: for golden files only: a given key in place of a fresh one. Two packs under one key would reuse nonces,
            which reveals their contents.

    Raises:
        OSError: writing the header fails.
        RefuseContent: `document-needs-newer`: no such suite.
    """

    def __init__(self, out: BinaryIO, suite: str = DEFAULT, *, key: bytes | None = None) -> None:
        self._out = out
        self._suite = suite_named(suite)
        self._key = self._suite.new_key() if key is None else key
        self._seals = _Seals(self._suite, self._key)
        self._digester = Digester()
        self._spans: list[FrameSpan] = []
        self._pending: bytes | None = None
        self._usable = True
        self._write(_header(self._suite))

    @property
    def frames(self) -> int:
        """How many frames were added so far."""
        return len(self._spans) + (self._pending is not None)

    @property
    def size_bytes(self) -> int:
        """How long the pack would be if it were closed now: the frame held back is included."""
        pending = 0 if self._pending is None else len(self._pending) + TAG_BYTES
        return self._digester.size_bytes + pending

    def add(self, coded: bytes) -> int:
        """Append a frame that holds `coded`, and return its number.

        Args:
            coded: 1 … `SEALED_MAX_BYTES` - `TAG_BYTES` bytes.

        Raises:
            OSError: writing fails; the writer cannot be used any more.
            OurBug: `invariant-broken`: the frame or the pack exceeds its limits, or the writer cannot be used any more.
        """
        self._check_usable()
        sealed_bytes = len(coded) + TAG_BYTES
        if not SEALED_MIN_BYTES <= sealed_bytes <= SEALED_MAX_BYTES:
            raise OurBug("invariant-broken", detail=f"frame of {len(coded)} bytes")
        if self.frames >= FRAMES_MAX or self.size_bytes + sealed_bytes > PACK_MAX_BYTES:
            raise OurBug("invariant-broken", detail=f"pack exceeds {FRAMES_MAX} frames or {PACK_MAX_BYTES} bytes")
        number = self.frames
        self._write_pending(last=False)
        self._pending = coded
        return number

    def close(self) -> ClosedPack:
        """Write the last frame and return what is known about the pack; `out` stays open and is not flushed.

        Raises:
            OSError: writing fails; the writer cannot be used any more.
            OurBug: `invariant-broken`: no frame was added, or the writer cannot be used any more.
        """
        self._check_usable()
        if self._pending is None:
            raise OurBug("invariant-broken", detail="pack without frames")
        self._write_pending(last=True)
        self._usable = False
        return ClosedPack(
            digest=self._digester.hexdigest(),
            size_bytes=self._digester.size_bytes,
            frames=tuple(self._spans),
            suite=self._suite.name,
            key=self._key,
        )

    def _check_usable(self) -> None:
        if not self._usable:
            raise OurBug("invariant-broken", detail="pack writer was closed or has failed")

    def _write_pending(self, *, last: bool) -> None:
        if self._pending is None:
            return
        offset = self._digester.size_bytes
        sealed = self._seals.seal(len(self._spans), self._pending, last=last)
        self._pending = None
        self._write(sealed)
        self._spans.append(FrameSpan(offset, len(sealed)))

    def _write(self, data: bytes) -> None:
        usable, self._usable = self._usable, False
        view = memoryview(data)
        while view:  # an unbuffered file may take less than it is given
            view = view[self._out.write(view) :]
        self._digester.update(data)
        self._usable = usable


class PackOpener:
    """Opens frames of one pack, in any order; safe to share between threads.

    Args:
        key: the pack's key.
        suite: name of its suite, from the manifest.
        frames: how many frames it has, from the manifest.
        pack_digest: its digest, for error messages.

    Raises:
        RefuseContent: `document-needs-newer` (no such suite), `pack-invalid` (the key does not fit the suite, or the
            number of frames is out of range).
    """

    def __init__(self, key: bytes, suite: str, frames: int, pack_digest: str) -> None:
        self._pack = pack_digest
        self._frames = frames
        if not 1 <= frames <= FRAMES_MAX:
            raise RefuseContent("pack-invalid", pack=pack_digest, detail=f"{frames} frames")
        found = suite_named(suite)
        if len(key) != found.key_bytes:
            raise RefuseContent("pack-invalid", pack=pack_digest, detail=f"key of {len(key)} bytes for {suite}")
        self._seals = _Seals(found, key)

    def open(self, frame: int, sealed: Octets) -> bytes:
        """Verify and decrypt frame number `frame`; returns its coded bytes.

        Raises:
            RefuseContent: `pack-invalid` (no such frame, or an impossible length), `pack-tampered` (these are not the
                bytes that were sealed as this frame of this pack).
        """
        length = memoryview(sealed).nbytes
        if not 0 <= frame < self._frames:
            raise RefuseContent("pack-invalid", pack=self._pack, detail=f"frame {frame} of {self._frames}")
        if not SEALED_MIN_BYTES <= length <= SEALED_MAX_BYTES:
            raise RefuseContent("pack-invalid", pack=self._pack, detail=f"frame {frame} of {length} bytes")
        try:
            return self._seals.open(frame, sealed, last=frame == self._frames - 1)
        except TagMismatchError as error:
            raise RefuseContent("pack-tampered", pack=self._pack, frame=frame) from error


def check_pack(source: Path | BinaryIO, pack: Pack) -> None:
    """Check a whole pack file without its key, as an audit does: size, header and digest against the manifest.

    Reads at most one byte more than `pack.size_bytes`, in constant memory.

    Raises:
        RefuseContent: `pack-invalid` with what is wrong, or `document-needs-newer` (format, suite or flags of the
            header are unknown here).
        OSError: reading fails.
    """
    with source.open("rb") if isinstance(source, Path) else nullcontext(source) as stream:
        digester = Digester()
        header = b""
        while piece := stream.read(min(BUFFER_BYTES, pack.size_bytes + 1 - digester.size_bytes)):
            if len(header) < HEADER_BYTES:
                header += piece[: HEADER_BYTES - len(header)]
            digester.update(piece)
    if digester.size_bytes != pack.size_bytes:
        comparison = "more" if digester.size_bytes > pack.size_bytes else "fewer"
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"{comparison} than {pack.size_bytes} bytes")
    found = digester.hexdigest()
    if found != pack.digest:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"digest is {found}")
    # Only now: a header that says "newer" is believed only from the file that was signed for.
    _check_header(header, pack)
    if pack.size_bytes < HEADER_BYTES + pack.frames * SEALED_MIN_BYTES:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"too small for {pack.frames} frames")


def _header(suite: Suite) -> bytes:
    return _HEADER.pack(MAGIC, FORMAT, suite.number, 0)


def _check_header(header: bytes, pack: Pack) -> None:
    if len(header) < HEADER_BYTES:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail="shorter than its header")
    magic, number, suite, flags = _HEADER.unpack(header)
    if magic != MAGIC:
        raise RefuseContent("pack-invalid", pack=pack.digest, detail="not a pack")
    if number != FORMAT:
        raise RefuseContent("document-needs-newer", document="pack", field=f"format {number}")
    if flags:
        raise RefuseContent("document-needs-newer", document="pack", field=f"flags {flags:#x}")
    found = suite_numbered(suite)
    if found is not SUITES.get(pack.suite):
        raise RefuseContent("pack-invalid", pack=pack.digest, detail=f"sealed with {found.name}, not {pack.suite}")


class _Seals:
    """Nonces and associated data of one pack."""

    def __init__(self, suite: Suite, key: bytes) -> None:
        self._suite = suite
        self._key = key
        identity = blake3(key, derive_key_context=_ID_CONTEXT).digest()
        self._prefix = _header(suite) + identity

    def seal(self, frame: int, coded: bytes, *, last: bool) -> bytes:
        return self._suite.seal(self._key, self._nonce(frame), coded, self._associated(frame, last=last))

    def open(self, frame: int, sealed: Octets, *, last: bool) -> bytes:
        return self._suite.open(self._key, self._nonce(frame), sealed, self._associated(frame, last=last))

    @staticmethod
    def _nonce(frame: int) -> bytes:
        return frame.to_bytes(NONCE_BYTES, "big")

    def _associated(self, frame: int, *, last: bool) -> bytes:
        return self._prefix + _PLACE.pack(frame, last)
