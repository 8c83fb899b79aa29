"""The only writer: everything that the device keeps is created, changed and removed here.

A `Disk` writes below its own roots and nowhere else (requirement 5.1-a), tells the ledger before it creates anything,
and passes a named fail point before each step. The pattern of `write_file` is: temporary file in the same directory,
write, fsync, rename, fsync of the directory.

What it cannot promise: POSIX says nothing about power failures, and a disk that acknowledges a flush it did not do
loses data under every pattern. Everything written here is therefore also verified by digest when it is read back.
"""

from __future__ import annotations

import ctypes
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from modelota import faults
from modelota.errors import AskPerson, ModelotaError, OurBug, TryLater

_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PERMISSION = {errno.EACCES, errno.EPERM, errno.EROFS}


class Ledger(Protocol):
    """Remembers, durably, every path the agent is about to create."""

    def will_create(self, path: Path, kind: str) -> None:
        """Note `path` before it exists; noting it again changes nothing."""
        ...

    def removed(self, path: Path) -> None:
        """Note that `path`, and everything below it, is gone."""
        ...


def disk_error(error: OSError, path: Path) -> ModelotaError:
    """What an operating-system error at `path` means to the caller."""
    if error.errno in _NO_SPACE:
        return AskPerson("no-space", path=str(path), need_bytes=None, free_bytes=free_bytes(path))
    if error.errno in _NO_PERMISSION:
        return AskPerson("permission-denied", path=str(path))
    return TryLater("disk-error", path=str(path), detail=error.strerror or type(error).__name__)


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` inside the block into `no-space`, `permission-denied` or `disk-error` for `path`."""
    try:
        yield
    except OSError as error:
        raise disk_error(error, path) from error


def free_bytes(path: Path) -> int | None:
    """Bytes that an unprivileged process may still write where `path` is or will be; None when it can't be told."""
    for candidate in (path, *path.parents):
        try:
            figures = os.statvfs(candidate)
        except OSError:
            continue
        return figures.f_bavail * figures.f_frsize
    return None


def check_ours(directory: Path, root: Path) -> None:
    """Check that nobody else can put anything into `directory`: one in a shared place may have been made by another.

    Args:
        directory: to be checked.
        root: the device root; whoever owns it may own the directory too.

    Raises:
        AskPerson: `root-not-private` with the path and its mode; `permission-denied`.
        TryLater: `disk-error`.
    """
    with disk_errors(directory):
        found, owners = directory.lstat(), {os.geteuid(), root.stat().st_uid}
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in owners or found.st_mode & 0o022:
        raise AskPerson("root-not-private", path=str(directory), mode=oct(stat.S_IMODE(found.st_mode)))


class Disk:
    """Writes below `roots`, and notes in `ledger` what it creates.

    Args:
        roots: directories the agent owns. A path outside all of them, also through a symbolic link, is refused.
        ledger: told before anything is created.

    All methods raise `AskPerson` `no-space` or `permission-denied`, or `TryLater` `disk-error`; a path outside the
    roots is `OurBug` `invariant-broken`.
    """

    def __init__(self, roots: Iterable[Path], ledger: Ledger) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._ledger = ledger

    def _inside(self, path: Path) -> Path:
        parent = path.parent.resolve()
        if not any(parent == root or root in parent.parents or parent / path.name == root for root in self._roots):
            raise OurBug("invariant-broken", detail=f"write outside the agent's roots: {path}")
        return parent / path.name

    def make_directory(self, path: Path, *, mode: int = 0o700) -> Path:
        """Create a directory and its missing parents; an existing one is left as it is."""
        with disk_errors(path):
            missing = [path, *path.parents]
            for directory in reversed([candidate for candidate in missing if not candidate.exists()]):
                target = self._inside(directory)
                self._ledger.will_create(target, "directory")
                target.mkdir(mode=mode, exist_ok=True)
                self.sync_directory(target.parent)
        return path

    def write_file(self, path: Path, data: bytes, *, mode: int = 0o600, kind: str = "file") -> None:
        """Replace `path` with `data`, atomically and durably."""
        target = self._inside(path)
        temporary = target.parent / f".{target.name}.{secrets.token_hex(4)}.tmp"
        self._ledger.will_create(target, kind)
        self._ledger.will_create(temporary, "temporary")  # a kill may leave it
        with disk_errors(path):
            try:
                faults.point("durable.write")
                with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                    file.write(data)
                    file.flush()
                    self._sync(file.fileno())
                faults.point("durable.rename")
                temporary.replace(target)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self.sync_directory(target.parent)
        self._ledger.removed(temporary)

    def open_file(self, path: Path, *, kind: str = "file", mode: int = 0o600) -> int:
        """Open `path` for reading and writing at offsets, creating it when missing; returns the descriptor.

        The name becomes durable with the next `sync_directory` of its parent; the data with `sync`.
        """
        target = self._inside(path)
        with disk_errors(path):
            if not target.exists():
                self._ledger.will_create(target, kind)
            return os.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def write_at(self, descriptor: int, offset: int, data: bytes | memoryview, path: Path) -> None:
        """Write all of `data` at `offset`."""
        view = memoryview(data)
        with disk_errors(path):
            faults.point("durable.write")
            while view:
                written = os.pwrite(descriptor, view, offset)
                view = view[written:]
                offset += written

    def truncate(self, descriptor: int, size_bytes: int, path: Path) -> None:
        """Give a file of ours its size."""
        with disk_errors(path):
            os.ftruncate(descriptor, size_bytes)

    def reserve(self, descriptor: int, offset: int, length_bytes: int, path: Path) -> None:
        """Have the file system set blocks aside for a range, so that a later write there can't find the disk full."""
        with disk_errors(path):
            try:
                os.posix_fallocate(descriptor, offset, length_bytes)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV}:
                    raise

    def sync(self, descriptor: int, path: Path) -> None:
        """Flush a file's data."""
        with disk_errors(path):
            self._sync(descriptor)

    def _sync(self, descriptor: int) -> None:
        faults.point("durable.fsync")
        os.fdatasync(descriptor) if hasattr(os, "fdatasync") else os.fsync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Flush a directory, so that names created, renamed or removed in it survive power loss."""
        with disk_errors(path):
            faults.point("durable.fsync-dir")
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def rename(self, source: Path, target: Path, *, kind: str = "file") -> None:
        """Give `source` its final name, durably. A directory must not exist at `target`."""
        inside = self._inside(target)
        self._ledger.will_create(inside, kind)
        with disk_errors(target):
            faults.point("durable.rename")
            self._inside(source).rename(inside)
            self.sync_directory(inside.parent)
            if source.parent.resolve() != inside.parent:
                self.sync_directory(source.parent)
        self._ledger.removed(source)

    def exchange(self, source: Path, target: Path, *, kind: str = "file") -> None:
        """Give `source` the name `target`, which exists, and the other way round, in one step; durable.

        Raises:
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`, also where the file system cannot exchange names (renameat2(2)).
        """
        inside, other = self._inside(target), self._inside(source)
        self._ledger.will_create(inside, kind)
        with disk_errors(target):
            faults.point("durable.rename")
            _exchange(other, inside)
            self.sync_directory(inside.parent)
            self.sync_directory(other.parent)

    def switch_link(self, link: Path, target: str) -> None:
        """Point the symbolic link `link` at `target` (relative), atomically and durably: the commit point."""
        inside = self._inside(link)
        temporary = inside.parent / f".{inside.name}.tmp"
        self._ledger.will_create(inside, "link")
        self._ledger.will_create(temporary, "temporary")
        with disk_errors(link):
            temporary.unlink(missing_ok=True)  # what a kill left
            temporary.symlink_to(target)
            try:
                faults.point("durable.switch")
                temporary.replace(inside)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise
            self.sync_directory(inside.parent)

    def set_mode(self, path: Path, mode: int) -> None:
        """Change permissions of a file or directory of ours."""
        with disk_errors(path):
            self._inside(path).chmod(mode, follow_symlinks=True)

    def share_directory(self, path: Path, group: int) -> None:
        """Let members of `group` pass through a directory of ours, to what they know the name of; not list it."""
        with disk_errors(path):
            inside = self._inside(path)
            os.chown(inside, -1, group, follow_symlinks=False)
            inside.chmod(0o710)

    def remove(self, path: Path) -> None:
        """Remove a file, link or whole directory, never following a link; a missing one is fine."""
        target = self._inside(path)
        with disk_errors(path):
            faults.point("durable.remove")
            try:
                information = target.lstat()
            except FileNotFoundError:
                self._ledger.removed(target)
                return
            if stat.S_ISDIR(information.st_mode):
                _make_removable(target)
                shutil.rmtree(target)
            else:
                target.unlink()
            self.sync_directory(target.parent)
        self._ledger.removed(target)


def _exchange(one: Path, other: Path) -> None:
    """renameat2 with RENAME_EXCHANGE, which the standard library does not offer."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(-100, os.fsencode(one), -100, os.fsencode(other), 2) != 0:  # AT_FDCWD, RENAME_EXCHANGE
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(one))


def _make_removable(directory: Path) -> None:
    """Give the owner write permission on the directories of a read-only slot, so that it can be emptied."""
    for folder, _, _ in os.walk(directory):
        Path(folder).chmod(0o700)
