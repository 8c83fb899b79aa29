"""BLAKE3 digests of bytes, streams and files, in constant memory.

Files are read into one reused buffer, not mapped: a mapped file that another process truncates, or that lies on a
failing disk, would end this process with SIGBUS, whereas a read gives an `OSError` or a size that can be compared.
"""

from __future__ import annotations

import os
from io import FileIO
from pathlib import Path
from typing import Final

from blake3 import blake3

from modelota.spec.limits import MIB

Octets = bytes | bytearray | memoryview

BUFFER_BYTES: Final = 4 * MIB
# Below this, starting threads costs more than it saves; and a process that only digests chunks starts no threads.
PARALLEL_FROM_BYTES: Final = 32 * MIB


def digest_bytes(data: Octets) -> str:
    """The BLAKE3 digest of `data`: 64 lower-case hexadecimal digits. One thread."""
    return blake3(data).hexdigest()


class Digester:
    """A BLAKE3 digest that is fed piece by piece. One thread; not to be shared between threads.

    Attributes:
        size_bytes: how much was fed so far.
    """

    def __init__(self) -> None:
        self._state = blake3()
        self.size_bytes = 0

    def update(self, data: Octets) -> None:
        """Feed the next piece."""
        view = memoryview(data)
        self._state.update(view)
        self.size_bytes += view.nbytes

    def hexdigest(self) -> str:
        """The digest of what was fed so far: 64 lower-case hexadecimal digits. More may be fed afterwards."""
        return self._state.hexdigest()


def digest_file(path: Path) -> tuple[str, int]:
    """The BLAKE3 digest of a file, and how many bytes were read for it.

    Uses all cores from `PARALLEL_FROM_BYTES` on. Peak anonymous memory is `BUFFER_BYTES` and small change, whatever the
    file's size.

    Raises:
        OSError: the file cannot be opened or read; what that means, the caller knows.
    """
    with path.open("rb", buffering=0) as file:
        return _digest_raw(file)


def digest_fd(fd: int) -> tuple[str, int]:
    """Like `digest_file` for an open, seekable descriptor: reads from the start, then restores its offset.

    The descriptor's offset moves meanwhile, so nobody else may read through it at the same time.

    Raises:
        OSError: reading or seeking fails.
    """
    with FileIO(fd, "rb", closefd=False) as file:
        offset = file.tell()
        file.seek(0)
        try:
            return _digest_raw(file)
        finally:
            file.seek(offset)


def _digest_raw(file: FileIO) -> tuple[str, int]:
    # blake3's own thread pool does not survive fork(): a program that forks workers must not digest large files before.
    large = os.fstat(file.fileno()).st_size >= PARALLEL_FROM_BYTES
    state = blake3(max_threads=blake3.AUTO if large else 1)
    buffer = memoryview(bytearray(BUFFER_BYTES))
    size_bytes = 0
    while count := file.readinto(buffer):
        state.update(buffer[:count])
        size_bytes += count
    return state.hexdigest(), size_bytes
