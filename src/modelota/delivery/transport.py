"""What obstore says went wrong, as errors of ours.

obstore keeps the cause in the text of its exceptions only: a message and a Rust debug print. The phrases below are
those of obstore 0.12 (object_store, reqwest, hyper); `tests/delivery/test_stores.py` provokes each of them with a real
server, so an upgrade that changes one fails there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from obstore import exceptions

from modelota.errors import AskPerson, ModelotaError, OurBug, RefuseContent, TryLater
from modelota.storage.durable import disk_error

# A proxy that cannot exist: port 0 is never listened on. A store confined to this machine is given it for all other
# hosts, so that a redirect away from here goes nowhere.
CLOSED_DOOR: Final = "127.0.0.1:0"

_STATUS: Final = re.compile(r"\bstatus: (\d{3})\b")
_GOT_RANGE: Final = re.compile(r"Requested (\d+)\.\.(\d+), got (\d+)\.\.(\d+)")
_OS_CODE: Final = re.compile(r"\bcode: (\d+)")
_REDIRECT_TO: Final = re.compile(r'url: "([^"]{1,2000})"')


def translate_network(error: Exception, url: str) -> ModelotaError | None:
    """The error for a failed exchange with a server.

    Returns `TryLater` `network-unreachable`, `network-interrupted`, `object-missing` or `server-error`,
    `RefuseContent` `insecure-url`, `server-ignores-ranges` or `server-lies-about-size`, `TryLater` `publish-conflict`;
    None for an exception that is not obstore's.
    """
    text = str(error)
    if isinstance(error, FileNotFoundError):
        return TryLater("object-missing", url=url)
    if not isinstance(error, exceptions.BaseError):
        return None
    if isinstance(error, exceptions.AlreadyExistsError | exceptions.PreconditionError):
        return TryLater("publish-conflict", path=url)
    if isinstance(error, exceptions.UnauthenticatedError):
        return TryLater("server-error", url=url, status=401)
    if isinstance(error, exceptions.PermissionDeniedError):
        return TryLater("server-error", url=url, status=403)
    return _ranges(text, url) or _redirects(text, url) or _exchange(text, url)


def _ranges(text: str, url: str) -> ModelotaError | None:
    if "RangeNotSupported" in text:
        return RefuseContent("server-ignores-ranges", url=url)
    got = _GOT_RANGE.search(text)
    if got is not None:
        start, end, found_start, found_end = map(int, got.groups())
        expected_bytes, found_bytes = end - start, max(found_end - found_start, 0)
        return RefuseContent("server-lies-about-size", url=url, expected_bytes=expected_bytes, found_bytes=found_bytes)
    if "Content-Length" in text or "ContentLength" in text:  # a body of unstated length: obstore takes none
        return RefuseContent("server-lies-about-size", url=url, expected_bytes=None, found_bytes=None)
    if "StartTooLarge" in text or "status: 416" in text:
        return RefuseContent("server-lies-about-size", url=url, expected_bytes=None, found_bytes=0)
    if "ContentRange" in text or "Content-Range" in text:
        return RefuseContent("server-ignores-ranges", url=url)
    return None


def _redirects(text: str, url: str) -> ModelotaError | None:
    if CLOSED_DOOR in text:
        return RefuseContent("insecure-url", url=url)
    if "BadScheme" in text:
        target = _REDIRECT_TO.search(text)
        return RefuseContent("insecure-url", url=target[1] if target is not None else url)
    if "TooManyRedirects" in text:
        return TryLater("server-error", url=url, status=302)
    return None


def _exchange(text: str, url: str) -> ModelotaError:
    status = _STATUS.search(text)
    if status is not None:
        return TryLater("server-error", url=url, status=int(status[1]))
    request_failed = "error sending request" in text
    if request_failed and ("kind: Connect" in text or "kind: Timeout" in text):
        return TryLater("network-unreachable", url=url, detail=_reason(text))
    return TryLater("network-interrupted", url=url, detail=_reason(text))


def _reason(text: str) -> str:
    """One word: which step failed. `modelota.i18n` has a sentence for each."""
    signs = {
        "dns error": "dns",
        "InvalidCertificate": "tls",
        "certificate": "tls",
        "TimedOut": "timeout",
        "tcp connect error": "refused",
    }
    return next((reason for sign, reason in signs.items() if sign in text), "connection")


def translate_local(error: Exception, path: str, file: Path) -> ModelotaError | None:
    """The error for a failed operation on a directory.

    Returns what `translate_network` or `modelota.storage.durable.disk_error` would; None for other exceptions.
    """
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return TryLater("object-missing", url=path)
    if isinstance(error, OSError):
        return disk_error(error, file)
    if not isinstance(error, exceptions.BaseError):
        return None
    if isinstance(error, exceptions.AlreadyExistsError):
        return TryLater("publish-conflict", path=path)
    text = str(error)
    if isinstance(error, exceptions.PermissionDeniedError):
        return AskPerson("permission-denied", path=str(file))
    ranges = _ranges(text, path)
    if ranges is not None:
        return ranges
    code = _OS_CODE.search(text)
    if code is not None:
        return disk_error(OSError(int(code[1]), text[:200]), file)
    return OurBug("unexpected", kind=type(error).__name__, detail=text[:300])
