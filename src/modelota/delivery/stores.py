"""Object stores: a directory, a web server and a bucket behind one interface, on the device and at the publisher.

All stand on obstore. Transport security: https, or plain http to this machine only. obstore follows redirects; one
from https to plain http ends in `insecure-url`, and so does one that leads a plain-http store away from this machine.

obstore's own retries are off: they repeat a request without telling anyone, and the caller pays for bytes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
import obstore.store as backends

from modelota.delivery.addresses import Address, is_loopback, parse_address
from modelota.delivery.objects import ObjectInfo, ObjectStore, Span, check_path
from modelota.delivery.transport import CLOSED_DOOR, translate_local, translate_network
from modelota.errors import AskPerson, ModelotaError, RefuseContent

if TYPE_CHECKING:  # obstore has these in its stubs only
    from obstore.store import ClientConfig, RetryConfig

__all__ = ["ObjectInfo", "ObjectStore", "ObstoreStore", "check_path", "open_store"]

_CONNECT_TIMEOUT: Final = timedelta(seconds=10)
_STALL_TIMEOUT: Final = timedelta(seconds=30)  # nothing arrived for so long
_REQUEST_TIMEOUT: Final = timedelta(minutes=10)  # 4 MiB at 56 kbit/s
_PIECE_MIN_BYTES: Final = 1  # hand on whatever arrived: then the count of bytes received is exact
_LOCAL_PIECE_MIN_BYTES: Final = 256 * 1024  # nobody pays for local bytes, and each piece costs a switch of threads
_LIST_PAGE: Final = 1000
_PARTIAL_SUFFIX: Final = ".part"


def open_store(
    url: str,
    *,
    writable: bool = False,
    ca_pem: bytes | None = None,
    stall_timeout: timedelta = _STALL_TIMEOUT,
    proxy: str | None = None,
) -> ObjectStore:
    """Open the store at `url`.

    Args:
        url: `https://…`, `http://` to this machine, `file:///…` or a directory's path, `s3://…`, `gs://…`, `az://…`;
            `memory://` is a new, empty store. Buckets take credentials and endpoints from the environment.
        writable: for publishing; a missing directory is created. Web servers cannot be written.
        ca_pem: certificate of a private authority, trusted besides the system's.
        stall_timeout: give up when a server sends nothing for so long.
        proxy: an HTTP proxy for everything but plain http to this machine; None: as the environment says.

    Raises:
        AskPerson: `argument-invalid` (not a URL of a store, or one that cannot be written), `permission-denied`.
        RefuseContent: `insecure-url`; `repository-not-found` (the directory is missing).
    """
    address = parse_address(url)
    if address.kind == "file":
        return _open_directory(address, writable=writable)
    if address.kind == "memory":
        return ObstoreStore(address.shown, backends.MemoryStore(), writable=writable)
    options = _client_options(address, ca_pem, stall_timeout)
    if proxy is not None and not address.loopback_only:
        options["proxy_url"] = proxy
    retries: RetryConfig = {"max_retries": 0}
    if address.kind == "http":
        if writable:
            raise AskPerson("argument-invalid", argument="url", detail="a web server cannot be written")
        http = backends.HTTPStore(address.url, client_options=options, retry_config=retries)
        return ObstoreStore(address.shown, http, can_list=False)
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT")
    if endpoint is not None and address.url.startswith("s3") and endpoint.startswith("http://"):
        if not is_loopback(urlsplit(endpoint).hostname):
            raise RefuseContent("insecure-url", url=endpoint)
        options.update(_confined())
    try:
        bucket = backends.from_url(address.url, client_options=options, retry_config=retries)
    except (obstore.exceptions.BaseError, ValueError) as error:
        raise AskPerson("argument-invalid", argument="url", detail=str(error)[:200]) from error
    return ObstoreStore(address.shown, bucket, writable=writable)


def _client_options(address: Address, ca_pem: bytes | None, stall_timeout: timedelta) -> ClientConfig:
    options: ClientConfig = {
        "allow_http": False,
        "connect_timeout": _CONNECT_TIMEOUT,
        "read_timeout": stall_timeout,
        "timeout": _REQUEST_TIMEOUT,
        "user_agent": "modelota",
    }
    if ca_pem is not None:
        options["root_certificate"] = ca_pem
    if address.loopback_only:
        options.update(_confined())
    return options


def _confined() -> ClientConfig:
    # Naming a proxy also switches off the environment's: plain text to this machine must not go through another.
    return {
        "allow_http": True,
        "proxy_url": f"http://{CLOSED_DOOR}",
        "proxy_excludes": "127.0.0.0/8,::1,localhost",
    }


class ObstoreStore(ObjectStore):
    """A web server, a bucket, or memory."""

    _piece_min_bytes: int = _PIECE_MIN_BYTES

    def __init__(self, url: str, backend: Any, *, writable: bool = False, can_list: bool = True) -> None:  # noqa: ANN401  obstore's stores share no public base class
        super().__init__(url, writable=writable)
        self._backend = backend
        self._can_list = can_list

    def _translate(self, error: Exception, path: str) -> ModelotaError | None:
        return translate_network(error, self.address(path))

    def _read(self, path: str, span: Span | None) -> Iterator[bytes]:
        result = obstore.get(self._backend, path, options=_options(span))
        self._compare(path, span, result.range)
        yield from result.stream(min_chunk_size=self._piece_min_bytes)

    async def _aread(self, path: str, span: Span | None) -> AsyncIterator[bytes]:
        result = await obstore.get_async(self._backend, path, options=_options(span))
        self._compare(path, span, result.range)
        async for piece in result.stream(min_chunk_size=self._piece_min_bytes):
            yield piece

    def _compare(self, path: str, span: Span | None, found: tuple[int, int]) -> None:
        """Refuse before the body is read: what is coming is not what was asked for."""
        if span is not None and found != (span[0], span[0] + span[1]):
            raise self._lies(path, span[1], found[1] - found[0])

    def _size(self, path: str) -> int:
        return int(obstore.head(self._backend, path)["size"])

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        if not self._can_list:
            raise AskPerson("argument-invalid", argument="url", detail="a web server cannot list")
        for page in obstore.list(self._backend, prefix or None, chunk_size=_LIST_PAGE):
            for entry in page:
                yield ObjectInfo(entry["path"], entry["size"])

    def _put(self, path: str, data: bytes | Path, *, create_only: bool) -> None:
        # Part by part, creation cannot be made conditional; the objects that need it are small.
        multipart = False if create_only else None
        mode: Literal["create", "overwrite"] = "create" if create_only else "overwrite"
        obstore.put(self._backend, path, data, mode=mode, use_multipart=multipart)

    def _delete(self, path: str) -> None:
        obstore.delete(self._backend, path)


def _options(span: Span | None) -> Any:  # noqa: ANN401  a TypedDict that exists for type checkers only
    return None if span is None else {"range": (span[0], span[0] + span[1])}


def _open_directory(address: Address, *, writable: bool) -> ObjectStore:
    text = url2pathname(urlsplit(address.url).path) if "://" in address.url else address.url
    if not text:
        raise AskPerson("argument-invalid", argument="url", detail="path")
    root = Path(text).expanduser().absolute()
    try:
        if writable:
            root.mkdir(parents=True, exist_ok=True)
        elif not root.is_dir():
            raise RefuseContent("repository-not-found", url=address.shown)
        return DirectoryStore(address.shown, root.resolve(), writable=writable)
    except OSError as error:
        translated = translate_local(error, address.shown, root)
        assert translated is not None  # an OSError always has a translation
        raise translated from error


class DirectoryStore(ObstoreStore):
    """A directory: a local repository, a mounted share, a USB stick.

    Symbolic links are followed inside the directory and refused when they lead out of it. Only regular files are
    objects: a device or a pipe on a hostile stick could block or never end.
    """

    _piece_min_bytes = _LOCAL_PIECE_MIN_BYTES

    def __init__(self, url: str, root: Path, *, writable: bool = False) -> None:
        super().__init__(url, backends.LocalStore(root), writable=writable)
        self._root = root

    def _translate(self, error: Exception, path: str) -> ModelotaError | None:
        return translate_local(error, self.address(path), self._root / path)

    def _locate(self, path: str) -> Path:
        file = self._root / path
        if not file.resolve().is_relative_to(self._root):
            raise RefuseContent("unsafe-path", path=path)
        return file

    def _check_regular(self, path: str) -> None:
        if not stat.S_ISREG(self._locate(path).stat().st_mode):
            raise FileNotFoundError(path)

    def _read(self, path: str, span: Span | None) -> Iterator[bytes]:
        self._check_regular(path)
        yield from super()._read(path, span)

    async def _aread(self, path: str, span: Span | None) -> AsyncIterator[bytes]:
        self._check_regular(path)
        async for piece in super()._aread(path, span):
            yield piece

    def _size(self, path: str) -> int:
        self._check_regular(path)
        return super()._size(path)

    def _list(self, prefix: str) -> Iterator[ObjectInfo]:
        self._locate(prefix or ".")
        for entry in super()._list(prefix):
            if not _is_partial(entry.path):
                yield entry

    def _put(self, path: str, data: bytes | Path, *, create_only: bool) -> None:
        # obstore does not flush. So: write under a hidden name, flush, give it its name, flush the directories.
        target = self._locate(path)
        partial = f"{path.rpartition('/')[0]}/.{secrets.token_hex(8)}{_PARTIAL_SUFFIX}".lstrip("/")
        try:
            obstore.put(self._backend, partial, data)
            _flush(self._root / partial)
            obstore.rename(self._backend, partial, path, overwrite=not create_only)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                (self._root / partial).unlink(missing_ok=True)
            raise
        for directory in target.parents:
            _flush(directory)
            if directory == self._root:
                break

    def _delete(self, path: str) -> None:
        self._locate(path)
        super()._delete(path)


def _is_partial(path: str) -> bool:
    name = path.rpartition("/")[2]
    return name.startswith(".") and name.endswith(_PARTIAL_SUFFIX)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
