"""An engine's process opens the files of its slot: verified, or known to be unchanged since; sealed ones into memory.

Each file is opened once, and verified, stamped and handed on through that descriptor, so exchanging a file between
check and use changes nothing. A sealed file is opened into an anonymous memory file that nobody can write any more.
"""

from __future__ import annotations

import fcntl
import os
import resource
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final, NamedTuple

import blake3

from modelota.runtime.protocol import EngineFile, EngineSpec, FileStamp

_READ_BYTES: Final = 4 << 20
_AT_ONCE_MAX: Final = 4  # files; a large one is hashed by all cores anyway
_SETTLED_NS: Final = 20_000_000  # two ticks of a kernel that counts a hundred a second
_SETTLED_COARSE_NS: Final = 2_000_000_000  # file systems that keep whole seconds, or every other one


class DamagedFileError(Exception):
    """A file is not what its manifest promised.

    Args:
        path: as the specification has it.
        detail: what was expected and what was found.
    """

    def __init__(self, path: str, detail: str) -> None:
        super().__init__(path, detail)
        self.path = path
        self.detail = detail


class OpenedFile(NamedTuple):
    """A descriptor to read plain bytes from, and the file's stamp, or None if it can't serve as one."""

    descriptor: int
    stamp: FileStamp | None


def open_files(spec: EngineSpec) -> dict[str, OpenedFile]:
    """Open every file of `spec`, several at once; by its path.

    Raises:
        DamagedFileError: of the first file that is not what it should be; others may still be read meanwhile.
    """
    _allow_descriptors(len(spec.files))
    secret = None
    if spec.secret is not None:
        secret = spec.secret.value
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a dump of this process would be the model in plain text
    # not as a context: that would wait for all of them when one is damaged
    pool = ThreadPoolExecutor(max_workers=min(_AT_ONCE_MAX, os.cpu_count() or 1, len(spec.files)))
    waiting = {pool.submit(_open, file, secret): file.path for file in spec.files}
    opened = {waiting[future]: future.result() for future in as_completed(waiting)}
    pool.shutdown()
    return opened


def _allow_descriptors(count: int) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < count + 256 and (hard == resource.RLIM_INFINITY or soft < hard):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _open(file: EngineFile, secret: bytes | None) -> OpenedFile:
    try:
        # Not through a link: the slot was written by us and has none.
        descriptor = os.open(file.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        before = stamp_of(descriptor)
        unchanged = before == file.stamp
        if secret is not None:
            return _open_sealed(file, secret, descriptor, before, unchanged=unchanged)
        if unchanged and before.size_bytes == file.size_bytes:
            return OpenedFile(descriptor, before)
        _check(file, *_digest(_blocks(descriptor)))
        return OpenedFile(descriptor, _settled(before, descriptor))
    except OSError as error:
        raise DamagedFileError(file.path, f"cannot be read: {type(error).__name__}") from error


def _open_sealed(file: EngineFile, secret: bytes, descriptor: int, before: FileStamp, *, unchanged: bool) -> OpenedFile:
    # only for sealed slots: other engines do without the library behind it
    from modelota.content.local_seal import SealedReader  # noqa: PLC0415  as said above
    from modelota.errors import ModelotaError  # noqa: PLC0415  as said above
    from modelota.storage.sealed_file import object_id  # noqa: PLC0415  as said above

    memory = os.memfd_create("modelota", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        reader = SealedReader(descriptor, secret, object_id(file.digest), file.size_bytes)
        if unchanged:  # its digest was right; that its frames are the same, their tags say
            for block in reader.frames():
                _write(memory, block)
        else:
            _check(file, *_digest(_written(memory, reader.frames())))
    except ModelotaError as error:
        raise DamagedFileError(file.path, error.code) from error
    stamp = _settled(before, descriptor)
    os.close(descriptor)
    fcntl.fcntl(
        memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
    )
    return OpenedFile(memory, stamp)


def _written(descriptor: int, blocks: Iterator[bytes]) -> Iterator[bytes]:
    for block in blocks:
        _write(descriptor, block)
        yield block


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _check(file: EngineFile, size_bytes: int, digest: str) -> None:
    if size_bytes != file.size_bytes or digest != file.digest:
        raise DamagedFileError(file.path, f"expected {file.size_bytes} {file.digest}, found {size_bytes} {digest}")


def _digest(blocks: Iterator[memoryview] | Iterator[bytes]) -> tuple[int, str]:
    """Size and BLAKE3, computed by all cores."""
    hasher = blake3.blake3(max_threads=blake3.blake3.AUTO)
    size_bytes = 0
    for block in blocks:
        hasher.update(block)
        size_bytes += len(block)
    return size_bytes, hasher.hexdigest()


def _blocks(descriptor: int) -> Iterator[memoryview]:
    """A file's bytes. Read, not mapped: a file cut short meanwhile must not end this process with SIGBUS."""
    if hasattr(os, "posix_fadvise"):  # the next block is read from the disk while this one is hashed
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_SEQUENTIAL)
    buffer = bytearray(_READ_BYTES)
    view = memoryview(buffer)
    with os.fdopen(os.dup(descriptor), "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            yield view[:count]


def stamp_of(descriptor: int) -> FileStamp:
    """The stamp of an open file as it is now."""
    found = os.fstat(descriptor)
    return FileStamp(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def _settled(before: FileStamp, descriptor: int) -> FileStamp | None:
    """The stamp, if the file did not change while it was read, and a change from now on would show."""
    coarse = before.ctime_ns % 1_000_000_000 == 0
    age_ns = time.time_ns() - before.ctime_ns
    settled = age_ns >= (_SETTLED_COARSE_NS if coarse else _SETTLED_NS)
    return before if settled and stamp_of(descriptor) == before else None
