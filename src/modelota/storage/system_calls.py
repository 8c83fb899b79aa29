"""The system calls of the only writer, one method each: a narrow seam, where a simulated disk can record them.

Only `modelota.storage.durable` uses it. What each call promises is said in its manual page; what the writer makes of
them together is said there.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import struct
import sys
from pathlib import Path
from typing import Final

_FICLONERANGE: Final = 0x4020940D  # _IOW(0x94, 13, struct file_clone_range), the same on x86-64 and aarch64
_CLONE_RANGE: Final = struct.Struct("=qQQQ")


class SystemCalls:
    """The operating system's own. Every method raises `OSError`."""

    def open(self, path: Path, flags: int, mode: int) -> int:
        """Open a file; returns the descriptor."""
        return os.open(path, flags, mode)

    def write(self, descriptor: int, data: bytes | memoryview, offset: int) -> int:
        """As pwrite(2); returns how many bytes were written."""
        return os.pwrite(descriptor, data, offset)

    def truncate(self, descriptor: int, size_bytes: int) -> None:
        """Set a size: ftruncate(2)."""
        os.ftruncate(descriptor, size_bytes)

    def allocate(self, descriptor: int, offset: int, length_bytes: int) -> None:
        """Set blocks aside: posix_fallocate(3)."""
        os.posix_fallocate(descriptor, offset, length_bytes)

    def clone_range(self, source: int, source_offset: int, size_bytes: int, target: int, offset: int) -> None:
        """Share blocks of an open file with another: FICLONERANGE (ioctl_ficlonerange(2)); Linux only."""
        if sys.platform != "linux":
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        import fcntl  # noqa: PLC0415  Windows has none

        fcntl.ioctl(target, _FICLONERANGE, _CLONE_RANGE.pack(source, source_offset, size_bytes, offset))

    def sync(self, descriptor: int) -> None:
        """Flush a file: fdatasync(2), or fsync(2) where there is none."""
        os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Flush a directory: fsync(2)."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def make_directory(self, path: Path, mode: int) -> None:
        """As mkdir(2); one that is there is fine."""
        path.mkdir(mode=mode, exist_ok=True)

    def symlink(self, path: Path, target: str) -> None:
        """Make a symbolic link."""
        path.symlink_to(target)

    def rename(self, source: Path, target: Path) -> None:
        """Give a new name; a file at `target` is replaced in the same step."""
        source.replace(target)

    def exchange(self, one: Path, other: Path) -> None:
        """As renameat2(2) with RENAME_EXCHANGE, which the standard library does not offer."""
        library = ctypes.CDLL(None, use_errno=True)
        if library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:  # AT_FDCWD, RENAME_EXCHANGE
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(one))

    def unlink(self, path: Path) -> None:
        """Remove a name; one that is not there is fine."""
        path.unlink(missing_ok=True)

    def remove_tree(self, directory: Path) -> None:
        """As unlink(2) and rmdir(2), from the leaves to the top; no link is followed."""
        shutil.rmtree(directory)

    def chmod(self, path: Path, mode: int) -> None:
        """Set permissions."""
        path.chmod(mode)

    def chown(self, path: Path, group: int) -> None:
        """Give a file to a group: lchown(2)."""
        os.chown(path, -1, group, follow_symlinks=False)

    def set_times(self, path: Path, mtime_ns: int) -> None:
        """Set when it was changed: utimensat(2), of a link itself."""
        os.utime(path, ns=(mtime_ns, mtime_ns), follow_symlinks=False)
