"""Addresses of stores: which are understood, and which are safe to use."""

from __future__ import annotations

import ipaddress
from typing import Final, Literal, NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from modelota.errors import AskPerson, RefuseContent

Kind = Literal["file", "http", "bucket", "memory"]

_BUCKETS: Final = frozenset({"s3", "s3a", "gs", "az", "adl", "azure", "abfs", "abfss"})


class Address(NamedTuple):
    """A checked address.

    Attributes:
        kind: which sort of store it is.
        url: what to open.
        shown: the same without user name and password, for messages.
        loopback_only: plain http to this machine.
    """

    kind: Kind
    url: str
    shown: str
    loopback_only: bool = False


def is_loopback(host: str | None) -> bool:
    """Whether `host` is this machine: `localhost`, or a literal address in 127.0.0.0/8 or ::1.

    Other spellings of such addresses (`127.1`, `0x7f000001`) are not taken, because readers differ on them.
    """
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_address(url: str) -> Address:
    """Check the URL of a store; text without a scheme is a directory.

    Raises:
        AskPerson: `argument-invalid`: not a URL of a store.
        RefuseContent: `insecure-url`: plain http to another machine.
    """
    if "://" not in url:
        return Address("file", url, url)
    parts = _split(url)
    scheme = parts.scheme.lower()
    shown = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    if scheme == "file":
        if parts.hostname not in {None, "", "localhost"}:
            raise _invalid("host of a file URL")
        return Address("file", url, shown)
    if scheme in {"http", "https"}:
        return _web_address(parts, url, shown)
    if scheme in _BUCKETS:
        return Address("bucket", url, shown)
    if scheme == "memory":
        return Address("memory", url, shown)
    raise _invalid(f"scheme {scheme[:20]}")


def _split(url: str) -> SplitResult:
    # A URL that one parser reads differently from another is how a check of the host is fooled (RFC 3986 has no
    # backslash; browsers' parsers, obstore's among them, take it for a slash).
    if any(char == "\\" or char.isspace() or not char.isprintable() for char in url):
        raise _invalid("characters")
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port  # both raise if they are malformed
    except ValueError as error:
        raise _invalid(str(error)[:100]) from error
    if parts.query or parts.fragment:
        raise _invalid("query")
    return parts


def _web_address(parts: SplitResult, url: str, shown: str) -> Address:
    plain = parts.scheme.lower() == "http"
    if not parts.hostname:
        raise _invalid("host")
    if plain and (not is_loopback(parts.hostname) or parts.username is not None):
        raise RefuseContent("insecure-url", url=shown)
    return Address("http", url, shown, loopback_only=plain)


def _invalid(detail: str) -> AskPerson:
    return AskPerson("argument-invalid", argument="url", detail=detail)
