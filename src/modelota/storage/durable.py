"""The only writer: everything that the device keeps is created, changed and removed here.

A `Disk` writes below its own roots and nowhere else (requirement 5.1-a), tells the ledger before it creates anything,
and passes a named fail point before each step. The pattern of `write_file` is: temporary file in the same directory,
write, fsync, rename, fsync of the directory.

What it cannot promise: POSIX says nothing about power failures, and a disk that acknowledges a flush it did not do
loses data under every pattern. Everything written here is therefore also verified by digest when it is read back.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from modelota import faults
from modelota.errors import AskPerson, ModelotaError, OurBug, TryLater
from modelota.storage.system_calls import SystemCalls

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
        calls: the operating system's; a simulated disk in tests.

    All methods raise `AskPerson` `no-space` or `permission-denied`, or `TryLater` `disk-error`; a path outside the
    roots is `OurBug` `invariant-broken`.
    """

    def __init__(self, roots: Iterable[Path], ledger: Ledger, calls: SystemCalls | None = None) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._ledger = ledger
        self._calls = calls or SystemCalls()

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
                self._calls.make_directory(target, mode)
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
                descriptor = self._calls.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
                try:
                    self._write(descriptor, 0, data)
                    self._sync(descriptor)
                finally:
                    os.close(descriptor)
                faults.point("durable.rename")
                self._calls.rename(temporary, target)
            except OSError:
                self._calls.unlink(temporary)
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
            return self._calls.open(target, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, mode)

    def create_file(self, path: Path, *, kind: str = "file", mode: int = 0o600) -> int:
        """Make a file that is not there yet, as `open_file` does otherwise; one that is there is an error."""
        target = self._inside(path)
        with disk_errors(path):
            self._ledger.will_create(target, kind)
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            return self._calls.open(target, flags, mode)

    def write_at(self, descriptor: int, offset: int, data: bytes | memoryview, path: Path) -> None:
        """Write all of `data` at `offset`."""
        with disk_errors(path):
            faults.point("durable.write")
            self._write(descriptor, offset, data)

    def _write(self, descriptor: int, offset: int, data: bytes | memoryview) -> None:
        view = memoryview(data)
        while view:
            written = self._calls.write(descriptor, view, offset)
            view = view[written:]
            offset += written

    def clone_range(
        self, source: Path, source_offset: int, size_bytes: int, descriptor: int, offset: int, path: Path
    ) -> bool:
        """Let `path`, open as `descriptor`, share blocks of `source` until one of them is written (a reflink).

        Not a link: each file has an inode of its own. Returns False, and changes nothing, where the file system can't.
        """
        with disk_errors(path):
            faults.point("durable.write")
            try:
                other = os.open(source, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            except OSError:  # it went meanwhile: then there is nothing to share
                return False
            try:
                self._calls.clone_range(other, source_offset, size_bytes, descriptor, offset)
            except OSError as error:
                if error.errno in _NO_SPACE:
                    raise
                return False
            finally:
                os.close(other)
        return True

    def truncate(self, descriptor: int, size_bytes: int, path: Path) -> None:
        """Give a file of ours its size."""
        with disk_errors(path):
            self._calls.truncate(descriptor, size_bytes)

    def reserve(self, descriptor: int, offset: int, length_bytes: int, path: Path) -> None:
        """Have the file system set blocks aside for a range, so that a later write there can't find the disk full."""
        with disk_errors(path):
            faults.point("durable.reserve")
            try:
                self._calls.allocate(descriptor, offset, length_bytes)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENODEV}:
                    raise

    def sync(self, descriptor: int, path: Path) -> None:
        """Flush a file's data."""
        with disk_errors(path):
            self._sync(descriptor)

    def _sync(self, descriptor: int) -> None:
        faults.point("durable.fsync")
        self._calls.sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Flush a directory, so that names created, renamed or removed in it survive power loss."""
        with disk_errors(path):
            faults.point("durable.fsync-dir")
            self._calls.sync_directory(path)

    def rename(self, source: Path, target: Path, *, kind: str = "file") -> None:
        """Give `source` its final name, durably. A directory must not exist at `target`."""
        inside = self._inside(target)
        self._ledger.will_create(inside, kind)
        with disk_errors(target):
            faults.point("durable.rename")
            self._calls.rename(self._inside(source), inside)
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
            self._calls.exchange(other, inside)
            self.sync_directory(inside.parent)
            self.sync_directory(other.parent)

    def switch_link(self, link: Path, target: str) -> None:
        """Point the symbolic link `link` at `target` (relative), atomically and durably: the commit point."""
        inside = self._inside(link)
        temporary = inside.parent / f".{inside.name}.tmp"
        self._ledger.will_create(inside, "link")
        self._ledger.will_create(temporary, "temporary")
        with disk_errors(link):
            self._calls.unlink(temporary)  # what a kill left
            self._calls.symlink(temporary, target)
            try:
                faults.point("durable.switch")
                self._calls.rename(temporary, inside)
            except OSError:
                self._calls.unlink(temporary)
                raise
            self.sync_directory(inside.parent)
        with suppress(ModelotaError):  # the switch is done; a row too many costs one look at the next start
            self._ledger.removed(temporary)

    def set_mode(self, path: Path, mode: int) -> None:
        """Change permissions of a file or directory of ours."""
        with disk_errors(path):
            self._calls.chmod(self._inside(path), mode)

    def set_times(self, path: Path, mtime_ns: int) -> None:
        """Set when a file or directory of ours was last changed; a link is not followed."""
        with disk_errors(path):
            self._calls.set_times(self._inside(path), mtime_ns)

    def tag(self, path: Path, name: str, value: bytes) -> None:
        """Set an extended attribute of a file of ours; where the file system keeps none, nothing happens.

        A read-only file is made writable meanwhile: the kernel asks for that (xattr(7)).
        """
        with disk_errors(path):
            inside = self._inside(path)
            mode = stat.S_IMODE(inside.stat().st_mode)
            if not mode & stat.S_IWUSR:
                inside.chmod(mode | stat.S_IWUSR)
            try:
                os.setxattr(inside, name, value)
            except OSError as error:
                if error.errno != errno.ENOTSUP:
                    raise
            finally:
                inside.chmod(mode)

    def give(self, path: Path, uid: int) -> None:
        """Make a file of ours another user's; a link is not followed."""
        with disk_errors(path):
            os.chown(self._inside(path), uid, -1, follow_symlinks=False)

    def share_directory(self, path: Path, group: int) -> None:
        """Let members of `group` pass through a directory of ours, to what they know the name of; not list it."""
        with disk_errors(path):
            inside = self._inside(path)
            self._calls.chown(inside, group)
            self._calls.chmod(inside, 0o710)

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
                self._make_removable(target)
                self._calls.remove_tree(target)
            else:
                self._calls.unlink(target)
            self.sync_directory(target.parent)
        self._ledger.removed(target)

    def _make_removable(self, directory: Path) -> None:
        """Give the owner write permission on the directories of a read-only slot, so that it can be emptied."""
        for folder, _, _ in os.walk(directory):
            self._calls.chmod(Path(folder), 0o700)
