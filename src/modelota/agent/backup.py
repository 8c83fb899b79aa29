"""The owner's backup of a model's user data: one encrypted file (`docs/formats/backup.md`).

It opens with its passphrase on any device, this one or another. Runs in the worker, which is told the passphrase on its
standard input and keeps it nowhere.
"""

from __future__ import annotations

import io
import os
import struct
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Final

import msgspec
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from msgspec import Meta

from modelota.agent.user_data import UserData
from modelota.content.local_seal import open_stream, seal_stream
from modelota.errors import AskPerson, ModelotaError, RefuseContent
from modelota.spec.manifest import ModelName
from modelota.storage.durable import Disk, disk_errors, free_bytes
from modelota.storage.ledger import NoLedger
from modelota.storage.pieces import reader
from modelota.storage.sequential import SequentialFile
from modelota.storage.tree_stream import TreePacker

MAGIC: Final = b"\x89MOTABK\n"
FORMAT: Final = 1
SALT_BYTES: Final = 32
LOG_N: Final = 16  # scrypt: 64 MiB and a tenth of a second or two
_LOG_N_READ: Final = range(14, 19)  # what a file may ask of the device that opens it: at most 256 MiB
_BLOCK_SIZE: Final = 8
_PARALLEL: Final = 1
_HEAD: Final = struct.Struct(f">8sHBBBB{SALT_BYTES}s")  # magic, format, log2 n, r, p, flags, salt
_LENGTH: Final = struct.Struct(">I")
_ABOUT_MAX_BYTES: Final = 64 * 1024
PASSPHRASE_MIN_CHARS: Final = 8


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup is of; the first thing in it."""

    model: ModelName
    version: str | None
    user_data_schema: Annotated[int, Meta(ge=1, le=1_000_000)]
    made_at: str


def export_backup(
    data: UserData, path: Path, passphrase: str, about: About, *, uid: int | None = None
) -> dict[str, Any]:
    """Write the user's data to a new encrypted file, and open it once to see that it does.

    Args:
        data: of the model.
        path: of the file; absolute.
        passphrase: at least `PASSPHRASE_MIN_CHARS` characters.
        about: written into it.
        uid: who asked, when that is another user than this agent's: the file becomes theirs, in a directory of theirs.

    Returns:
        `path`, `size_bytes` (of the file), `entries`, and `skipped` as far as anything was left out.

    Raises:
        AskPerson: `file-exists`, `argument-invalid` (the passphrase is too short, the path not absolute),
            `permission-denied`, `no-space`, `user-data-too-large`.
        TryLater: `disk-error`.
        RefuseContent: `object-damaged`: what was written does not read back; it is removed.
    """
    if len(passphrase) < PASSPHRASE_MIN_CHARS:
        detail = f"shorter than {PASSPHRASE_MIN_CHARS} characters"
        raise AskPerson("argument-invalid", argument="passphrase", detail=detail)
    if not path.is_absolute():
        raise AskPerson("argument-invalid", argument="path", detail="not absolute")
    with disk_errors(path):
        if path.is_symlink() or path.exists():
            raise AskPerson("file-exists", path=str(path))
        owner = path.parent.stat().st_uid
    if uid not in {None, 0, os.geteuid(), owner}:  # nobody has this agent write where they may not themselves
        raise AskPerson("permission-denied", path=str(path))
    packer = TreePacker(data.place())
    size = packer.measure()
    free = free_bytes(path)
    if free is not None and size.size_bytes > free:
        raise AskPerson("no-space", path=str(path), need_bytes=size.size_bytes, free_bytes=free)
    head = _HEAD.pack(MAGIC, FORMAT, LOG_N, _BLOCK_SIZE, _PARALLEL, 0, os.urandom(SALT_BYTES))
    secret = _secret(passphrase, head)
    description = msgspec.json.encode(about)
    disk = Disk((path.parent,), NoLedger())  # the file is its owner's, not ours to clean up
    try:
        with SequentialFile(path, disk, kind="backup") as file:
            out = file.buffered()
            out.write(head)
            pieces = (
                piece for part in ([_LENGTH.pack(len(description)) + description], packer.chunks()) for piece in part
            )
            seal_stream(reader(pieces, len), out, secret, _object(head))
            out.flush()
            out.detach()
            size_bytes = file.settle()
        with path.open("rb") as source:
            source.seek(len(head))
            open_stream(source, io.BufferedWriter(_Nowhere()), secret, _object(head))
        if uid is not None and uid != os.geteuid():
            disk.give(path, uid)
    except (ModelotaError, OSError) as error:
        disk.remove(path)
        if isinstance(error, OSError):
            raise AskPerson("permission-denied", path=str(path)) from error
        raise
    return {"path": str(path), "size_bytes": size_bytes, "entries": size.entries, "skipped": packer.skipped}


def import_backup(
    data: UserData, path: Path, passphrase: str, *, model: str, schema: int | None, left_version: str
) -> dict[str, Any]:
    """Put the data of an encrypted file in place; what lies there is kept beside.

    Args:
        data: of the model.
        path: of the file.
        passphrase: it was made with.
        model: whose data they must be.
        schema: the layout of data that the version in use has; None when none is in use.
        left_version: names the directory that the present data are kept in.

    Returns:
        as `UserData.take_in`, and `version`, `made_at` of the backup.

    Raises:
        AskPerson: `backup-not-opened`, `backup-of-other-model`, `backup-newer-data`, `permission-denied`, `no-space`,
            `user-data-too-large`.
        RefuseContent: `archive-invalid`, `unsafe-path`, `document-needs-newer`.
        TryLater: `disk-error`.
    """
    with disk_errors(path):
        source = path.open("rb")
    with source:
        with disk_errors(path):
            head = source.read(_HEAD.size)
        if len(head) < _HEAD.size or not head.startswith(MAGIC):
            raise AskPerson("backup-not-opened", path=str(path))
        _, number, log_n, block_size, parallel, flags, _ = _HEAD.unpack(head)
        if number != FORMAT or flags or log_n not in _LOG_N_READ or (block_size, parallel) != (_BLOCK_SIZE, _PARALLEL):
            raise RefuseContent("document-needs-newer", document="backup", field=f"format {number}")
        secret = _secret(passphrase, head)
        contents = _Contents(path, model, schema)

        def fill(out: BinaryIO) -> int:
            contents.out = out
            sink = io.BufferedWriter(contents)
            try:
                with disk_errors(path):
                    open_stream(source, sink, secret, _object(head))
                sink.flush()
            except RefuseContent as error:
                if error.code == "object-damaged":
                    raise AskPerson("backup-not-opened", path=str(path)) from error
                raise
            return contents.known().user_data_schema

        facts = data.take_in(fill, left_version=left_version)
    about = contents.known()
    return {**facts, "version": about.version, "made_at": about.made_at}


def _secret(passphrase: str, head: bytes) -> bytes:
    _, _, log_n, block_size, parallel, _, salt = _HEAD.unpack(head)
    return Scrypt(salt=salt, length=32, n=1 << log_n, r=block_size, p=parallel).derive(passphrase.encode())


def _object(head: bytes) -> str:
    """Binds every frame to the header, so that a changed header opens nothing."""
    return f"modelota backup {head.hex()}"


class _Contents(io.RawIOBase):
    """Takes the opened backup: its description first, then the archive, which goes on to `out`."""

    def __init__(self, path: Path, model: str, schema: int | None) -> None:
        super().__init__()
        self._path = path
        self._model = model
        self._schema = schema
        self._start = b""
        self._about: About | None = None
        self.out: BinaryIO = io.BytesIO()

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Take the next bytes."""
        view = memoryview(data)  # type: ignore[arg-type]  # the base class takes any buffer, by no type
        rest = bytes(view)
        if self._about is None:
            self._start += rest
            if len(self._start) < _LENGTH.size:
                return len(view)
            (length,) = _LENGTH.unpack_from(self._start)
            if not 0 < length <= _ABOUT_MAX_BYTES:
                raise RefuseContent("archive-invalid", object=self._path.name, detail="description")
            if len(self._start) < _LENGTH.size + length:
                return len(view)
            self._about = self._read(self._start[_LENGTH.size : _LENGTH.size + length])
            rest, self._start = self._start[_LENGTH.size + length :], b""
        self.out.write(rest)
        return len(view)

    def _read(self, data: bytes) -> About:
        try:
            about = msgspec.json.decode(data, type=About)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise RefuseContent("archive-invalid", object=self._path.name, detail="description") from error
        if about.model != self._model:
            raise AskPerson("backup-of-other-model", path=str(self._path), found=about.model, need=self._model)
        if self._schema is not None and about.user_data_schema > self._schema:
            raise AskPerson("backup-newer-data", path=str(self._path), found=about.user_data_schema, known=self._schema)
        return about

    def known(self) -> About:
        """What the backup is of.

        Raises:
            RefuseContent: `archive-invalid`: it ended before it said so.
        """
        if self._about is None:
            raise RefuseContent("archive-invalid", object=self._path.name, detail="description")
        return self._about


class _Nowhere(io.RawIOBase):
    """Takes everything and keeps nothing."""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: object) -> int:
        """Forget it."""
        return memoryview(data).nbytes  # type: ignore[arg-type]  # the base class takes any buffer, by no type
