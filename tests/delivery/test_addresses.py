"""Tests of modelota.delivery.addresses."""

import pytest

from modelota.delivery.addresses import is_loopback, parse_address
from modelota.errors import AskPerson, RefuseContent


@pytest.mark.parametrize(
    ("url", "kind", "loopback_only"),
    [
        ("https://models.example/repo", "http", False),
        ("http://127.0.0.1:8000/", "http", True),
        ("http://127.9.9.9/", "http", True),
        ("http://[::1]:8000/", "http", True),
        ("http://LOCALHOST/x", "http", True),
        ("file:///media/usb/repo", "file", False),
        ("/srv/repo", "file", False),
        ("relative/repo", "file", False),
        ("s3://bucket/prefix", "bucket", False),
        ("gs://bucket", "bucket", False),
        ("az://account/container", "bucket", False),
        ("memory://", "memory", False),
    ],
)
def test_understood_addresses(url: str, kind: str, *, loopback_only: bool) -> None:
    """Each kind of store is recognised, and plain http is confined to this machine."""
    address = parse_address(url)
    assert (address.kind, address.loopback_only) == (kind, loopback_only)


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/",
        "http://127.0.0.1.models.example/",
        "http://127.0.0.1@models.example/",
        "http://user@127.0.0.1/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f000001/",
        "http://localhost.models.example/",
        "http://0.0.0.0/",
        "http://[::ffff:203.0.113.5]/",
        "HTTP://models.example/",
    ],
)
def test_plain_http_elsewhere_is_refused(url: str) -> None:
    """Plain http to anything but a literal loopback address or localhost is insecure-url."""
    with pytest.raises(RefuseContent) as caught:
        parse_address(url)
    assert caught.value.code == "insecure-url"


@pytest.mark.parametrize(
    "url",
    [
        "ftp://models.example/",
        "https:///path",
        "https://models.example/?query",
        "https://models.example/#fragment",
        "http://evil.example\\@127.0.0.1/",
        "https://models.example/a b",
        "https://models.example:port/",
        "https://[::1/",
        "file://otherhost/share",
    ],
)
def test_what_is_no_store_is_refused(url: str) -> None:
    """Text that is no store's URL, or that parsers read differently, is argument-invalid."""
    with pytest.raises(AskPerson) as caught:
        parse_address(url)
    assert caught.value.code == "argument-invalid"


def test_credentials_are_not_shown() -> None:
    """User name and password stay out of what messages show."""
    address = parse_address("https://alice:secret@models.example/repo")
    assert address.shown == "https://models.example/repo"
    assert "secret" in address.url


def test_loopback_of_nothing() -> None:
    """No host is not this machine."""
    assert not is_loopback(None)
