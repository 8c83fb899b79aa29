"""A directory as one stream of bytes, and back: a pax archive (POSIX.1-2001) of what a copy can hold.

Regular files, directories and symbolic links that stay inside, with names, permissions and modification times. A hard
link becomes a file of its own. Owners, extended attributes and access control lists are not in it; sockets, FIFOs,
devices and links that lead outside are left out and named. The same tree gives the same bytes.

What is read back is treated as hostile: an archive may come from anywhere.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tarfile
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from modelota.errors import AskPerson, RefuseContent
from modelota.spec.limits import MIB
from modelota.storage.durable import Disk, disk_errors

BLOCK_BYTES: Final = tarfile.BLOCKSIZE
TREE_MAX_BYTES: Final = 64 * 1024 * MIB
TREE_MAX_ENTRIES: Final = 200_000
NAME_MAX_BYTES: Final = 4096
DEPTH_MAX: Final = 128
_EXTENDED_MAX_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = MIB
EMPTY: Final = bytes(2 * BLOCK_BYTES)  # the archive of an empty directory; and the end of any
_RECORD: Final = re.compile(rb"(\d{1,6}) ([^=\0]{1,64})=")
_TIME: Final = re.compile(r"-?\d{1,11}(\.\d{1,9})?", re.ASCII)
_NS: Final = 1_000_000_000


class TreeSize(NamedTuple):
    """What packing a directory would have to read: entries, and bytes as file sizes say (holes count)."""

    entries: int
    size_bytes: int


class TreePacker:
    """Turns `directory` into an archive.

    Attributes:
        skipped: path -> why it is not in the archive: `socket`, `fifo`, `device`, `link-outside`.
        changed: files that changed while they were read: their bytes in the archive are of no single moment.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.skipped: dict[str, str] = {}
        self.changed: list[str] = []

    def measure(self) -> TreeSize:
        """Look at every entry.

        Raises:
            AskPerson: `user-data-too-large`; `permission-denied`.
            TryLater: `disk-error`.
        """
        entries = size_bytes = 0
        for _, found, _, _ in self._walk():
            entries += 1
            size_bytes += found.st_size if stat.S_ISREG(found.st_mode) else 0
            if entries > TREE_MAX_ENTRIES or size_bytes > TREE_MAX_BYTES:
                raise AskPerson(
                    "user-data-too-large", path=str(self._directory), entries=entries, size_bytes=size_bytes
                )
        return TreeSize(entries, size_bytes)

    def chunks(self) -> Iterator[bytes]:
        """The archive, piece by piece.

        Raises:
            AskPerson: `permission-denied`.
            TryLater: `disk-error`.
        """
        self.skipped.clear()
        self.changed.clear()
        for name, found, parent, base in self._walk():
            kind = _kind(found.st_mode)
            target = os.readlink(base, dir_fd=parent) if kind == "link" else ""
            if kind == "link" and not _stays_inside(name, target):
                kind = "link-outside"
            if kind not in {"file", "directory", "link"}:
                self.skipped[name] = kind
            elif kind == "file":
                yield from self._file(name, parent, base)
            else:
                yield _header(name, found, target)
        yield EMPTY

    def _walk(self) -> Iterator[tuple[str, os.stat_result, int, str]]:
        """Every entry in a fixed order: path, status, descriptor of its directory, name in it. Follows no link."""

        def fail(error: OSError) -> None:
            raise error

        with disk_errors(self._directory):
            for folder, folders, files, parent in os.fwalk(self._directory, onerror=fail, follow_symlinks=False):
                folders.sort()
                within = Path(folder).relative_to(self._directory)
                for base in sorted((*folders, *files)):
                    try:
                        found = os.stat(base, dir_fd=parent, follow_symlinks=False)
                    except FileNotFoundError:  # removed since it was listed
                        continue
                    yield (within / base).as_posix(), found, parent, base

    def _file(self, name: str, parent: int, base: str) -> Iterator[bytes]:
        try:
            # O_NONBLOCK: what was a file a moment ago may be a FIFO now, and opening one waits for a writer
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            descriptor = os.open(base, flags, dir_fd=parent)
        except FileNotFoundError:
            return
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                self.skipped[name] = _kind(before.st_mode)
                return
            yield _header(name, before, "")
            left = before.st_size
            while left:
                piece = os.read(descriptor, min(left, _PIECE_BYTES))
                if not piece:  # cut shorter meanwhile: its length is promised already
                    piece = bytes(min(left, _PIECE_BYTES))
                left -= len(piece)
                yield piece
            yield bytes(-before.st_size % BLOCK_BYTES)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            self.changed.append(name)


class _Entry(NamedTuple):
    """One entry of an archive that is read back, checked."""

    path: PurePosixPath
    kind: str  # `file`, `directory`, `link`
    mode: int
    mtime_ns: int
    size_bytes: int
    target: str


class TreeUnpacker(io.RawIOBase):
    """Takes an archive through `write` and rebuilds it below `directory`, which must be new and ours.

    Nothing of it may be used before `finish` returned; after an error the directory must be removed.

    Args:
        directory: empty.
        disk: the writer; its roots hold `directory`.
        name: of the archive, for errors.
        max_bytes: the most that its files may hold together.
    """

    def __init__(self, directory: Path, disk: Disk, name: str, *, max_bytes: int = TREE_MAX_BYTES) -> None:
        super().__init__()
        self._directory = directory
        self._disk = disk
        self._name = name
        self._max_bytes = max_bytes
        self._size_bytes = 0
        self._buffer = bytearray()
        self._seen: dict[PurePosixPath, str] = {}
        self._folders: list[_Entry] = []
        self._links: list[_Entry] = []
        self._ended = False
        self._failed = False
        self._steps = self._unpack()
        self._need = next(self._steps)

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Take the next bytes; returns how many they were.

        Raises:
            RefuseContent: `archive-invalid`, `unsafe-path`.
            AskPerson: `user-data-too-large`, `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        view = memoryview(data)  # type: ignore[arg-type]  # the base class takes any buffer and says so by no type
        if self._failed:  # what a buffer in front still flushes when it goes changes nothing any more
            return len(view)
        self._buffer += view
        start = 0
        self._failed = True
        while len(self._buffer) - start >= self._need:
            piece = bytes(self._buffer[start : start + self._need])
            start += self._need
            self._need = self._steps.send(piece)
        self._failed = False
        del self._buffer[:start]
        return len(view)

    def finish(self) -> TreeSize:
        """Make links, set permissions and times of directories, flush; returns what was rebuilt.

        Raises:
            RefuseContent: `archive-invalid`: the archive did not come to its end.
            AskPerson: `no-space`, `permission-denied`.
            TryLater: `disk-error`.
        """
        if self._failed or not self._ended or self._buffer:
            raise self._invalid("cut off")
        for link in self._links:  # last: no file was written through one
            self._disk.switch_link(self._directory / link.path, link.target)
        for folder in sorted(self._folders, key=lambda entry: len(entry.path.parts), reverse=True):
            path = self._directory / folder.path
            self._disk.sync_directory(path)
            self._disk.set_mode(path, folder.mode)
            self._disk.set_times(path, folder.mtime_ns)
        self._disk.sync_directory(self._directory)
        return TreeSize(len(self._seen), self._size_bytes)

    def _invalid(self, detail: str) -> RefuseContent:
        return RefuseContent("archive-invalid", object=self._name, detail=detail)

    def _unpack(self) -> Generator[int, bytes, None]:
        """Asks, with each yield, for so many bytes."""
        extended: dict[str, str] = {}
        while True:
            block = yield BLOCK_BYTES
            if not any(block):
                break
            header = self._parse(block)
            if header.type == tarfile.XHDTYPE:
                if not 0 < header.size <= _EXTENDED_MAX_BYTES:
                    raise self._invalid("extended header too long")
                extended = self._records((yield header.size))
                yield from self._padding(header.size)
                continue
            entry = self._checked(header, extended)
            extended = {}
            if entry.kind == "file":
                yield from self._write_file(entry)
            elif entry.kind == "directory":
                self._disk.make_directory(self._directory / entry.path)
                self._folders.append(entry)
            else:
                self._links.append(entry)
        self._ended = True
        while True:  # an archive ends with empty blocks, and nothing follows them
            if any((yield BLOCK_BYTES)):
                raise self._invalid("something follows its end")

    def _parse(self, block: bytes) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise self._invalid("not a header") from error

    def _padding(self, size_bytes: int) -> Generator[int, bytes, None]:
        if size_bytes % BLOCK_BYTES:
            yield BLOCK_BYTES - size_bytes % BLOCK_BYTES

    def _records(self, data: bytes) -> dict[str, str]:
        """Records of an extended header: length (counting itself), space, key, `=`, value, end of line."""
        records: dict[str, str] = {}
        while data:
            match = _RECORD.match(data)
            length = int(match.group(1)) if match else 0
            if match is None or not match.end() < length <= len(data) or data[length - 1 : length] != b"\n":
                raise self._invalid("extended header")
            key = match.group(2).decode("utf-8", "surrogateescape")
            records[key] = data[match.end() : length - 1].decode("utf-8", "surrogateescape")
            data = data[length:]
        return records

    def _checked(self, header: tarfile.TarInfo, extended: dict[str, str]) -> _Entry:
        """What an entry asks for, or the reason why it is refused."""
        kinds = {
            tarfile.REGTYPE: "file",
            tarfile.AREGTYPE: "file",
            tarfile.DIRTYPE: "directory",
            tarfile.SYMTYPE: "link",
        }
        kind = kinds.get(header.type)
        path = _safe(extended.get("path", header.name).rstrip("/"))
        if kind is None or path is None:
            raise RefuseContent("unsafe-path", path=ascii(extended.get("path", header.name))[:200])
        size = extended.get("size", str(header.size))
        time = extended.get("mtime", str(int(header.mtime)))
        if not (size.isascii() and size.isdigit() and len(size) < 16 and _TIME.fullmatch(time)):
            raise self._invalid("size or time")
        size_bytes = int(size) if kind == "file" else 0
        target = extended.get("linkpath", header.linkname)
        if kind == "link" and not _stays_inside(path.as_posix(), target):
            raise RefuseContent("unsafe-path", path=ascii(target)[:200])
        if path in self._seen or any(self._seen.get(parent, "directory") != "directory" for parent in path.parents):
            raise RefuseContent("unsafe-path", path=ascii(str(path))[:200])
        self._seen[path] = kind
        self._size_bytes += size_bytes
        if self._size_bytes > self._max_bytes or len(self._seen) > TREE_MAX_ENTRIES:
            raise AskPerson(
                "user-data-too-large", path=str(self._directory), entries=len(self._seen), size_bytes=self._size_bytes
            )
        whole, _, fraction = time.partition(".")
        nanoseconds = abs(int(whole)) * _NS + int(fraction.ljust(9, "0") or 0)
        nanoseconds = -nanoseconds if time.startswith("-") else nanoseconds
        return _Entry(path, kind, header.mode & 0o777, nanoseconds, size_bytes, target)

    def _write_file(self, entry: _Entry) -> Generator[int, bytes, None]:
        path = self._directory / entry.path
        self._disk.make_directory(path.parent)
        descriptor = self._disk.create_file(path)
        try:
            offset = 0
            while offset < entry.size_bytes:
                piece = yield min(entry.size_bytes - offset, _PIECE_BYTES)
                self._disk.write_at(descriptor, offset, piece, path)
                offset += len(piece)
            yield from self._padding(entry.size_bytes)
            self._disk.sync(descriptor, path)
        finally:
            os.close(descriptor)
        self._disk.set_mode(path, entry.mode)
        self._disk.set_times(path, entry.mtime_ns)


def _kind(mode: int) -> str:
    for name, is_it in (
        ("file", stat.S_ISREG),
        ("directory", stat.S_ISDIR),
        ("link", stat.S_ISLNK),
        ("socket", stat.S_ISSOCK),
        ("fifo", stat.S_ISFIFO),
    ):
        if is_it(mode):
            return name
    return "device"


def _safe(name: str) -> PurePosixPath | None:
    """The path that `name` asks for, or None for one that leaves its directory or names nothing."""
    parts = name.split("/")
    if not name or "\0" in name or len(name) > NAME_MAX_BYTES or len(parts) > DEPTH_MAX:
        return None
    if any(part in {"", ".", ".."} for part in parts):
        return None
    return PurePosixPath(name)


def _stays_inside(name: str, target: str) -> bool:
    """Whether a link at `name` with `target` leads to a place below the top.

    `..` counts only before the first name: after a name that is itself a link it would lead elsewhere than it says.
    """
    if not target or target.startswith("/") or "\0" in target or len(target) > NAME_MAX_BYTES:
        return False
    depth, named = name.count("/"), False
    for part in target.split("/"):
        if part == "..":
            depth -= 1
            if named or depth < 0:
                return False
        named = named or part not in {"", ".", ".."}
    return True


def _header(name: str, found: os.stat_result, target: str) -> bytes:
    info = tarfile.TarInfo(name)
    if stat.S_ISLNK(found.st_mode):  # its own permissions and times mean nothing
        info.type, info.linkname, info.mode = tarfile.SYMTYPE, target, 0o777
        return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    info.mode = stat.S_IMODE(found.st_mode) & 0o777
    seconds, nanoseconds = divmod(found.st_mtime_ns, _NS)
    info.mtime = max(0, seconds)
    if nanoseconds or seconds < 0:
        sign, whole, rest = ("-", *divmod(-found.st_mtime_ns, _NS)) if seconds < 0 else ("", seconds, nanoseconds)
        info.pax_headers = {"mtime": f"{sign}{whole}.{rest:09d}"}
    if stat.S_ISREG(found.st_mode):
        info.size = found.st_size
    else:
        info.type = tarfile.DIRTYPE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
