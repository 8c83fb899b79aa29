"""Reaching a file by its path without following any link: whoever swaps a directory for a link gains nothing."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from modelota.content.digest import Digester, digest_bytes

_DIRECTORY: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PASSING: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not make us wait
_BUFFER_BYTES: Final = 1 << 20


@contextmanager
def directory_of(path: str) -> Iterator[tuple[int, str]]:
    """The open directory that holds `path`, and the last name of `path`.

    Raises:
        OSError: `ENOENT` when part of the way is gone, `ELOOP` or `ENOTDIR` when part of it is a link.
    """
    *folders, name = path.split("/")[1:]
    if not path.startswith("/") or not name or ".." in (*folders, name):
        raise OSError(errno.EINVAL, "not an absolute path", path)
    descriptor = os.open("/", _PASSING)
    try:
        for folder in folders:
            if folder in {"", "."}:
                continue
            below = os.open(folder, _PASSING, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor, name
    finally:
        os.close(descriptor)


@contextmanager
def readable(directory: int, name: str, seen: os.stat_result) -> Iterator[int]:
    """Open the regular file `name` for reading; it must be the one that `seen` describes.

    Raises:
        OSError: it cannot be opened, or (`ESTALE`) is another file now.
    """
    descriptor = _open_quietly(directory, name)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or (found.st_dev, found.st_ino) != (seen.st_dev, seen.st_ino):
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE), name)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def attributes_of(directory: int, name: str) -> Iterator[str]:
    """A path through which extended attributes of `name`, whatever it is, are read and written; no link is followed.

    Raises:
        OSError: it is gone.
    """
    descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _open_quietly(directory: int, name: str) -> int:
    """Open without leaving a trace in the time of last access, where that is allowed (open(2), O_NOATIME)."""
    try:
        return os.open(name, _FILE | os.O_NOATIME, dir_fd=directory)
    except PermissionError:
        return os.open(name, _FILE, dir_fd=directory)


def digest_of_open(descriptor: int) -> str:
    """BLAKE3 of an open file from its start. One thread: this is work in the background."""
    digester, offset = Digester(), 0
    while data := os.pread(descriptor, _BUFFER_BYTES, offset):
        digester.update(data)
        offset += len(data)
    return digester.hexdigest()


def digest_at(directory: int, name: str, seen: os.stat_result) -> str | None:
    """BLAKE3 of a regular file's content or of a link's target; None for anything else.

    Raises:
        OSError: as `readable`.
    """
    if stat.S_ISLNK(seen.st_mode):
        return digest_bytes(os.fsencode(os.readlink(name, dir_fd=directory)))
    if not stat.S_ISREG(seen.st_mode):
        return None
    with readable(directory, name, seen) as descriptor:
        return digest_of_open(descriptor)


def lstat_at(directory: int, name: str) -> os.stat_result:
    """lstat(2) of a name in an open directory."""
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def sync_directory(path: str) -> None:
    """Flush a directory, so that removed names stay removed.

    Raises:
        OSError: it is gone, or cannot be flushed.
    """
    with directory_of(path) as (descriptor, name):
        opened = os.open(name, _DIRECTORY, dir_fd=descriptor)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)
