"""Sealed files of a slot (`at_rest = "sealed"`, requirement 7.1.2-b): written from start to end, read at any place.

A file's sealing is bound to its content: the object's name is the digest that the signed manifest names, and only
chunks that verified are sealed. So sealing a frame again after an interruption, under the same key, seals the same
plain bytes, which gives nothing away.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from modelota.content.local_seal import FRAME_BYTES, HEADER_BYTES, FrameCipher, SealedReader, frame_count, sealed_size
from modelota.content.suites import TAG_BYTES
from modelota.errors import RefuseContent
from modelota.spec.manifest import FileEntry
from modelota.storage.durable import Disk, disk_errors


def object_id(digest: str) -> str:
    """The name under which a slot's file with this digest is sealed."""
    return f"slot file {digest}"


def read_sealed(path: Path, secret: bytes, digest: str, file_bytes: int, offset: int, size_bytes: int) -> bytes | None:
    """Plain bytes of a sealed slot file; None when they can't be had: missing, unreadable, or a frame does not open.

    Args:
        path: of the sealed file; not followed when it is a link.
        secret: of the slot.
        digest: of the whole plain file.
        file_bytes: size of the whole plain file.
        offset: where in the plain file.
        size_bytes: how many bytes.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return SealedReader(descriptor, secret, object_id(digest), file_bytes).read(offset, size_bytes)
    except (OSError, RefuseContent):
        return None
    finally:
        os.close(descriptor)


class GrowingFile:
    """A sealed file that is being written. What an interrupted run left is gone on with, as far as it opens.

    Holds at most one frame and what is passed to `write` in memory.

    Args:
        path: where it is written.
        file: what it becomes.
        secret: of the slot.
        disk: the writer.

    Attributes:
        position: plain bytes that are sealed and written; a multiple of `FRAME_BYTES`, or the file's size at the end.

    Raises:
        AskPerson: `no-space`, `permission-denied`.
        TryLater: `disk-error`.
    """

    def __init__(self, path: Path, file: FileEntry, secret: bytes, disk: Disk) -> None:
        self.path: Final = path
        self._file = file
        self._disk = disk
        self._frames = frame_count(file.size_bytes)
        self._frame = 0
        self._pending = bytearray()
        disk.make_directory(path.parent)
        self._descriptor = disk.open_file(path, kind="slot file")
        try:
            self._cipher = self._go_on(secret) or self._begin(secret)
        except BaseException:
            self.close()
            raise

    def _begin(self, secret: bytes) -> FrameCipher:
        cipher = FrameCipher.fresh(secret, object_id(self._file.digest))
        self._disk.truncate(self._descriptor, 0, self.path)
        self._disk.write_at(self._descriptor, 0, cipher.header, self.path)
        return cipher

    def _go_on(self, secret: bytes) -> FrameCipher | None:
        name = object_id(self._file.digest)
        with disk_errors(self.path):
            header = os.pread(self._descriptor, HEADER_BYTES, 0)
            try:
                cipher = FrameCipher.of(header, secret, name)
                reader = SealedReader(self._descriptor, secret, name, self._file.size_bytes)
            except RefuseContent:
                return None
            while self._frame < self._frames:
                try:
                    reader.frame(self._frame)
                except RefuseContent:
                    break
                self._frame += 1
        return cipher

    @property
    def position(self) -> int:
        """Plain bytes that are sealed and written."""
        return min(self._frame * FRAME_BYTES, self._file.size_bytes)

    @property
    def complete(self) -> bool:
        """Whether every frame is written; an empty file has one, too."""
        return self._frame == self._frames

    def write(self, plain: memoryview) -> None:
        """Seal and write the next plain bytes; what fills no frame yet waits."""
        while plain:
            room = FRAME_BYTES - len(self._pending)
            self._pending += plain[:room]
            plain = plain[room:]
            if len(self._pending) == FRAME_BYTES:
                self._seal()

    def end(self) -> None:
        """Seal what waits as the last frame, and make the file durable."""
        if not self.complete:
            self._seal()
        self._disk.truncate(self._descriptor, sealed_size(self._file.size_bytes), self.path)
        self.sync()

    def _seal(self) -> None:
        last = self._frame == self._frames - 1
        sealed = self._cipher.seal(self._frame, bytes(self._pending), last=last)
        self._disk.write_at(self._descriptor, HEADER_BYTES + self._frame * (FRAME_BYTES + TAG_BYTES), sealed, self.path)
        self._frame += 1
        self._pending.clear()

    def sync(self) -> None:
        """Make what was written durable."""
        self._disk.sync(self._descriptor, self.path)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
